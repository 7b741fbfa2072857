"""Whose activity will fall: leak-free, calibrated, explained; a shop of known law."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.isotonic import IsotonicRegression
from typer.testing import CliRunner

import nextbest
from nextbest.cli import app
from nextbest.errors import UsageError
from nextbest.models import activity
from nextbest.models.activity import Model, Table, folds
from nextbest.models.base import log_odds
from nextbest.services.activity import TRUSTED, predict, read_activity, train_activity
from nextbest.services.judging import judge
from nextbest.services.progress import silent

FEW = {"linear": [{"C": 1.0}], "extra_trees": [{"min_samples_leaf": 3, "max_features": 0.7}]}


def shop(folder, customers=260, seed=0, label=True):
    """Who sees few pages and waits for promotions falls."""
    chance = np.random.default_rng(seed)
    pages, promo = chance.integers(1, 15, customers), chance.uniform(0, 1, customers).round(2)
    falls = chance.random(customers) < 1 / (1 + np.exp(-(0.6 * (7 - pages) + 3 * (promo - 0.5))))
    people = pd.DataFrame(
        {
            "id": np.arange(1, customers + 1),
            "Покупательская активность": np.where(falls, "Снизилась", "Прежний уровень") if label else "",
            "Тип сервиса": chance.choice(["премиум", "стандарт", "стандартт"], customers),
            "Разрешить сообщать": chance.choice(["да", "нет"], customers),
            "Маркет_актив_6_мес": chance.uniform(2, 6, customers).round(1),
            "Маркет_актив_тек_мес": chance.integers(3, 6, customers),
            "Длительность": chance.integers(100, 1000, customers),
            "Акционные_покупки": promo,
            "Популярная_категория": chance.choice(["Товары для детей", "Кухонная посуда"], customers),
            "Средний_просмотр_категорий_за_визит": chance.integers(1, 6, customers),
            "Неоплаченные_продукты_штук_квартал": chance.integers(0, 10, customers),
            "Ошибка_сервиса": chance.integers(0, 9, customers),
            "Страниц_за_визит": pages,
        }
    )
    months = ["текущий_месяц", "предыдущий_месяц", "препредыдущий_месяц"]
    money = people[["id"]].merge(pd.DataFrame({"Период": months}), how="cross")
    money["Выручка"] = chance.uniform(3000, 6000, len(money)).round(1)
    time = people[["id"]].merge(pd.DataFrame({"Период": ["текущий_месяц", "предыдцщий_месяц"]}), how="cross")
    time["минут"] = chance.integers(5, 22, len(time))
    folder.mkdir(exist_ok=True)
    for name, table in {"market_file": people, "market_money": money, "market_time": time}.items():
        table.to_csv(folder / f"{name}.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A small search of small forests: the wide one is the same code many times over."""
    folder = tmp_path_factory.mktemp("activity")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(activity, "FAMILIES", FEW)
        patch.setattr(activity, "TREES", 60)
        found = train_activity(shop(folder / "shop"), out=folder / "model")
    predict(folder / "shop", folder / "model", out=folder / "known.parquet")
    return folder, found


def test_the_card_tells_figures_of_customers_not_seen(trained):
    folder, found = trained
    card = json.loads((folder / "model" / "card.json").read_text())
    assert card["figures"]["roc_auc"]["mean"] > 0.85 and card["figures"]["brier"]["mean"] < 0.17 and len(found.judged.folds) == 5
    assert card["figures"]["threshold"] == pytest.approx(240 / 500)
    assert not {"id", "activity"} & {*card["numbers"], *card["words"]}


def test_a_page_shows_what_the_model_leans_on(trained):
    folder, found = trained
    page = (folder / "model" / "report.html").read_text()
    assert {item["feature"] for item in found.card.figures["importance"][:2]} == {"pages", "promo_share"}
    assert "pages a visit" in page and "share of purchases in promotions" in page and "Learned from 260 customers" in page


def test_new_customers_get_a_probability_an_interval_and_three_reasons(trained, tmp_path):
    folder, _ = trained
    done = predict(shop(tmp_path / "new", 60, seed=5, label=False), folder / "model", out=tmp_path / "p.parquet")
    found = pd.read_parquet(tmp_path / "p.parquet")
    assert list(found.columns) == ["id", "probability", "falls", "low", "high", "reason_1", "reason_2", "reason_3"]
    assert done.customers == len(found) == 60 and (found.falls == (found.probability >= 0.48)).all()
    assert ((found.low <= found.probability) & (found.probability <= found.high)).all()
    people = pd.read_csv(tmp_path / "new" / "market_file.csv")
    assert np.corrcoef(found.probability, people["Страниц_за_визит"])[0, 1] < -0.6
    assert found.reason_1.str.contains("страниц за визит|доля покупок по акциям").mean() > 0.7
    words = " ".join(found[["reason_1", "reason_2", "reason_3"]].to_numpy().ravel())
    assert re.search(r"\d,\d", words) and not re.search(r"\d\.\d|\de\+", words)  # numbers as the voice writes them


def test_a_column_that_the_model_learned_from_and_the_data_lacks_is_told(trained, tmp_path):
    folder, _ = trained
    data = shop(tmp_path / "new", 60, seed=5, label=False)
    people = pd.read_csv(data / "market_file.csv")
    people.drop(columns="Акционные_покупки").to_csv(data / "market_file.csv", index=False)
    done = predict(data, folder / "model", out=tmp_path / "p.parquet")
    run = nextbest.decide(data, "shop", as_of="2025-08-31", out=tmp_path / "out", models=[folder / "model"])
    for problems in (done.problems, run.record["problems"]):
        told = [(item["column"], item["rows"], item["kept"]) for item in problems if item["problem"] == "unknown_feature"]
        assert told == [("promo_share", 60, True)]
    words = pd.read_parquet(tmp_path / "p.parquet").filter(like="reason_").to_numpy().ravel()
    assert not any("?" in said for said in words)  # what nobody knows is no reason
    model, _ = read_activity(folder / "model")
    assert "favourite" in model.leans_on
    assert "favourite" not in replace(model, background=model.background.assign(favourite="")).leans_on


def test_prediction_without_a_label_column_is_the_same(trained, tmp_path):
    folder, _ = trained
    data = shop(tmp_path / "bare", seed=0)
    people = pd.read_csv(data / "market_file.csv").drop(columns="Покупательская активность")
    people.to_csv(data / "market_file.csv", index=False)
    predict(data, folder / "model", out=tmp_path / "p.parquet")
    assert (tmp_path / "p.parquet").read_bytes() == (folder / "known.parquet").read_bytes()


def test_codes_and_the_order_of_rows_change_nothing(trained, tmp_path):
    folder, _ = trained
    data = shop(tmp_path / "turned")
    for path in data.glob("*.csv"):
        table = pd.read_csv(path)
        table["id"] = 9000 - table["id"]
        table.sample(frac=1, random_state=1).to_csv(path, index=False)
    predict(data, folder / "model", out=tmp_path / "p.parquet")
    known, found = pd.read_parquet(folder / "known.parquet"), pd.read_parquet(tmp_path / "p.parquet")
    turned = found.assign(id=9000 - found.id).sort_values("id").reset_index(drop=True)
    np.testing.assert_allclose(turned.probability, known.probability)


def test_the_risk_of_each_customer_stands_among_the_features_of_a_run(trained, tmp_path):
    folder, _ = trained
    nextbest.decide(folder / "shop", "shop", as_of="2025-08-31", out=tmp_path / "out", models=[folder / "model"])
    features = pd.read_parquet(tmp_path / "out" / "features.parquet").set_index("id")
    known = pd.read_parquet(folder / "known.parquet").set_index("id").probability
    pd.testing.assert_series_equal(features.risk, known, check_names=False)
    at_risk = (known >= 240 / 500) & (features.promo_share >= 0.6)
    assert 0 < at_risk.sum() < len(known) and (features.promotions_at_risk == at_risk).all()


def test_an_impossible_revenue_and_slips_of_the_pen_are_told(trained, tmp_path):
    folder, _ = trained
    data = shop(tmp_path / "dirt")
    money = (data / "market_money.csv").read_text().splitlines()
    money[1] = money[1].rsplit(",", 1)[0] + ",106862.2"
    (data / "market_money.csv").write_text("\n".join([*money, money[2]]) + "\n")
    done = predict(data, folder / "model", out=tmp_path / "p.parquet")
    assert {item["problem"]: item["rows"] for item in done.problems} == {"impossible_amount": 1, "duplicate_row": 1}
    assert done.rejects and len(pd.read_parquet(done.rejects)) == 2 and done.customers == 260


def test_a_number_that_is_nobodys_is_not_known_and_is_told(trained, tmp_path):
    folder, _ = trained
    data = shop(tmp_path / "absurd")
    people = pd.read_csv(data / "market_file.csv", dtype=str)
    people.loc[0, "Маркет_актив_6_мес"], people.loc[1, "Акционные_покупки"] = "1e39", "-1e17"
    people.to_csv(data / "market_file.csv", index=False)
    done = predict(data, folder / "model", out=tmp_path / "p.parquet")
    assert sum(item["rows"] for item in done.problems if item["problem"] == "unreadable") == 2 and done.customers == 260
    huge = table().frame.assign(a=1e308)
    assert np.isfinite(Model.fitted(table(), 0, FEW).probability(Table(huge, ("a", "b"), ("c",)).features)).all()


def table(rows=200, seed=0):
    chance = np.random.default_rng(seed)
    frame = pd.DataFrame({"a": chance.normal(size=rows), "b": chance.normal(size=rows), "c": chance.choice(["x", "y"], rows)})
    frame.loc[:5, "b"] = np.nan
    falls = (chance.random(rows) < 1 / (1 + np.exp(-2 * frame.a))).to_numpy(float)
    return Table(frame, ("a", "b"), ("c",), falls)


@pytest.mark.parametrize("family", [*activity.FAMILIES, *activity.BLENDS])
def test_every_family_is_whole_again_from_its_file(family, tmp_path):
    found = table()
    first = {name: settings[0] for name, settings in activity.FAMILIES.items()}
    settings = {name: first[name] for name in activity.BLENDS[family]} if family in activity.BLENDS else first[family]
    model = Model.fitted(found, 0, {"linear": [first["linear"]]})
    model = replace(model, family=family, settings=settings, parts=activity.fit(family, settings, found, 0))
    skops.io.dump(model.parts, tmp_path / "parts.skops")
    again = replace(model, parts=skops.io.load(tmp_path / "parts.skops", trusted=TRUSTED))
    fresh = table(seed=1).features.assign(c=["x", "y", "never seen", ""] * 50)
    assert model.probability(fresh).std() > 0.05
    np.testing.assert_array_equal(again.probability(fresh), model.probability(fresh))


def test_a_model_of_an_earlier_version_is_to_be_trained_again(trained, tmp_path):
    folder, _ = trained
    old = shutil.copytree(folder / "model", tmp_path / "old")
    parts = skops.io.load(old / "pipelines.skops", trusted=TRUSTED)
    skops.io.dump([pipeline for _, pipeline in parts], old / "pipelines.skops")
    with pytest.raises(UsageError, match="train it again"):
        predict(folder / "shop", old, out=tmp_path / "p.parquet")


def test_a_blend_is_taken_unless_one_family_is_clearly_better():
    chance = np.random.default_rng(0)
    blend, other = chance.exponential(0.3, 500), chance.normal(0, 0.1, 500)
    other -= other.mean()
    assert activity._chosen({"blend": blend, "svm": blend + other - 0.001}) == "blend"
    assert activity._chosen({"blend": blend, "svm": blend + other - 0.05, "linear": blend}) == "svm"
    assert activity._chosen({"svm": blend, "linear": blend - 0.001}) == "linear"
    assert activity._chosen({"svm": blend - 0.001 + other, "blend": blend + 0.1, "blend_of_groups": blend}) == "blend_of_groups"


def test_of_a_customer_of_its_training_a_model_says_what_it_said_before_it_saw_them():
    """Trees know their own rows by heart: where the label is chance, their own rows must not look certain either."""
    chance = np.random.default_rng(0)
    noise = Table(table(400).frame, ("a", "b"), ("c",), (chance.random(400) < 0.5).astype(float))
    model = Model.fitted(noise, 0, {"extra_trees": [{"min_samples_leaf": 1, "max_features": 0.5}]})
    known, fresh = model.probability(noise.features), model.probability(table(400, seed=8).features)
    assert abs(known[noise.falls == 1].mean() - known[noise.falls == 0].mean()) < 0.1
    assert known.std() < 0.15 and fresh.std() < 0.15


def test_single_splits_stand_beside_the_folds(monkeypatch):
    monkeypatch.setattr(activity, "FAMILIES", {"linear": [{"C": 1.0}]})
    judged = judge(table(), 0.5, repeats=2, hold_outs=3, seed=0, progress=silent)
    figures = judged.figures()
    assert len(judged.folds) == 10 and figures["hold_outs"]["splits"] == 3
    assert figures["hold_outs"]["roc_auc"]["sd"] > 0 and 0.6 < figures["roc_auc"]["mean"] < 1


def test_copies_stay_in_one_fold():
    one = table(100)
    twice = Table(pd.concat([one.frame] * 2, ignore_index=True), one.numbers, one.words, np.tile(one.falls, 2))
    for learned, judged in folds(twice, 5, 0):
        assert not {i % 100 for i in learned} & {i % 100 for i in judged}


def test_reasons_add_up_to_the_difference_from_the_background():
    found = table()
    model = Model.fitted(found, 0, {"linear": [{"C": 1.0}]})
    model.background = model.background.iloc[[7]].reset_index(drop=True)
    new = table(seed=3)
    parts = model.reasons(new.features, 0)
    model.seen = model.seen.iloc[:0]  # as of rows that it never saw, the background's too
    odds, of_background = (log_odds(model.probability(rows)) for rows in (new.features, model.background))
    np.testing.assert_allclose(parts.sum(axis=1), odds - of_background, atol=1e-9)
    assert parts.abs().mean().idxmax() == "a"


def test_a_forecast_is_calibrated_on_customers_not_seen():
    model = Model.fitted(table(600), 0, {"linear": [{"C": 1.0}]})
    fresh = table(4000, seed=9)
    probability = model.probability(fresh.features)
    low, high = model.interval(fresh.features, probability)
    assert abs(probability.mean() - fresh.falls.mean()) < 0.04
    assert (low <= high).all() and 0 < (high - low).mean() < 0.25


def test_the_bounds_are_those_of_isotonic_regression():
    """Venn–Abers by its definition, with scikit-learn's regression; many scores stand more than once."""
    chance = np.random.default_rng(0)
    odds = chance.normal(size=150).round(1)
    falls = (chance.random(150) < 1 / (1 + np.exp(-odds))).astype(float)
    at, *bounds = activity._venn_abers(odds, falls)
    for label, bound in enumerate(bounds):
        for place in (0, 50, 127, 200):
            stairs = IsotonicRegression().fit(np.append(odds, at[place]), np.append(falls, float(label)))
            assert bound[place] == pytest.approx(stairs.predict([at[place]])[0])


def test_the_commands(trained, tmp_path):
    folder, _ = trained
    words = ["predict", str(folder / "shop"), "--out", str(tmp_path / "p.parquet"), "--model"]
    done = CliRunner().invoke(app, [*words, str(folder / "model")])
    assert done.exit_code == 0 and "260 customers" in done.output
    assert (tmp_path / "p.parquet").read_bytes() == (folder / "known.parquet").read_bytes()
    done = CliRunner().invoke(app, [*words, str(folder)])
    assert done.exit_code == 2 and "nextbest train" in done.output
    few = shop(tmp_path / "few", 40)
    words = ["train", str(few), "--playbook", "shop", "--task", "activity", "--out", str(tmp_path / "m")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 4 and "50 of either" in done.output
    done = CliRunner().invoke(app, [*words[:3], "bank-kz", *words[4:]])
    assert done.exit_code == 2 and "learn.yaml" in done.output


def test_a_label_among_the_features_is_refused(tmp_path):
    copied = tmp_path / "mine"
    assert CliRunner().invoke(app, ["playbook", "copy", "shop", str(copied)]).exit_code == 0
    learn = copied / "learn.yaml"
    learn.write_text(learn.read_text().replace("    - premium\n", "    - premium\n    - activity\n", 1))
    done = CliRunner().invoke(app, ["check", str(copied)])
    assert done.exit_code == 3 and "knows the label" in done.output
