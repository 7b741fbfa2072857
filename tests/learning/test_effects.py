"""What an offer changes is learned from an experiment, and `decide` leaves alone whom it changes nothing for."""

import json

import numpy as np
import pandas as pd
import pytest
from tests.learning.test_activity import shop
from typer.testing import CliRunner

import nextbest as nb
from nextbest.cli import app
from nextbest.errors import DataError, PlaybookError, UsageError
from nextbest.services import uplift as judging
from nextbest.services.effects import read_effects, train_effects

AS_OF = "2025-08-31"


def effect(people):
    """The discount brings back whoever waits for promotions, and nobody else; delivery brings back nobody."""
    return np.where(people["Акционные_покупки"] > 0.5, 0.6, 0.0)


def experiment(folder, customers=1500, seed=0):
    data = shop(folder, customers, seed, label=False)
    people = pd.read_csv(data / "market_file.csv").drop(columns="Покупательская активность")
    chance = np.random.default_rng(seed + 1)
    people["Эксперимент"] = chance.choice(["ничего", "скидка", "доставка"], customers)
    likely = 0.2 + np.where(people["Эксперимент"] == "скидка", effect(people), 0.0)
    people["Ошибка_сервиса"] = np.nan  # nobody counted them
    people["Активность сохранилась"] = np.where(chance.random(customers) < likely, "да", "нет")
    people.to_csv(data / "market_file.csv", index=False)
    return data


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("effects")
    return folder, train_effects(experiment(folder / "shop"), out=folder / "model")


def test_the_card_shows_every_learner_beside_a_response_model(trained):
    _, found = trained
    figures = {(item.treatment, item.learner): item for item in found.judged}
    assert set(figures) == {(name, kind) for name in ("скидка", "доставка") for kind in ("s", "t", "x", "dr", "response")}
    assert figures["скидка", "dr"].at_share.low > 0.4 and figures["скидка", "dr"].qini.low > 0
    assert figures["доставка", "dr"].qini.low < 0 and figures["доставка", "dr"].qini.high < figures["скидка", "dr"].qini.low
    assert found.card.task == "uplift" and found.card.rows == 1500 and sum(found.card.figures["customers"].values()) == 1500


def test_decide_leaves_alone_whom_it_changes_too_little_for(trained, tmp_path):
    folder, _ = trained
    data = shop(tmp_path / "others", 400, seed=9, label=False)
    run = nb.decide(data, "shop", as_of=AS_OF, out=tmp_path / "out", models=[folder / "model"])
    people = pd.read_csv(data / "market_file.csv")
    features = pd.read_parquet(tmp_path / "out" / "features.parquet").merge(people, on="id")
    truth = effect(features)
    assert features.effect_discount[truth > 0].mean() == pytest.approx(0.6, abs=0.1)
    assert features.effect_discount[truth == 0].mean() == pytest.approx(0, abs=0.1)
    assert abs(features.effect_delivery.mean()) < 0.05
    discount = run.decisions[run.decisions.offer == "comeback-discount"].merge(features.assign(truth=truth)[["id", "truth"]], on="id")
    assert discount[discount.truth > 0].suitable.mean() > 0.8 and discount[discount.truth == 0].suitable.mean() < 0.2
    assert set(discount[~discount.suitable].suitability_failed) == {"changes_enough"}


def test_without_a_model_nobody_is_left_alone_for_it(tmp_path):
    run = nb.decide(shop(tmp_path / "shop", 60, label=False), "shop", as_of=AS_OF, out=tmp_path / "out")
    assert run.decisions[run.decisions.offer == "comeback-discount"].suitable.all()


def test_of_customers_of_the_experiment_it_repeats_what_it_said_before_it_saw_them(trained, tmp_path):
    folder, _ = trained
    nb.decide(folder / "shop", "shop", as_of=AS_OF, out=tmp_path / "out", models=[folder / "model"])
    features = pd.read_parquet(tmp_path / "out" / "features.parquet")
    seen = read_effects(folder / "model").seen
    said = features.effect_discount[features.tried != "доставка"].round(9)
    assert said.isin(seen["скидка"].round(9)).all()
    assert seen["скидка"].isna().sum() == (pd.read_csv(folder / "shop" / "market_file.csv")["Эксперимент"] == "доставка").sum()


def test_the_command_trains_and_the_same_call_writes_the_same_bytes(trained, tmp_path, monkeypatch):
    folder, found = trained
    monkeypatch.setattr(judging, "KINDS", ("response", "dr"))  # the figures of the others take most of the time
    done = CliRunner().invoke(app, ["train", str(folder / "shop"), "--task", "uplift", "--out", str(tmp_path / "model")])
    assert done.exit_code == 0 and "response" in done.stdout
    for name in ("model.json", "seen.parquet"):
        assert (tmp_path / "model" / name).read_bytes() == (folder / "model" / name).read_bytes()
    assert json.loads((tmp_path / "model" / "card.json").read_text())["cautions"] == found.card.cautions


def test_an_experiment_that_is_too_small_or_of_one_outcome_is_told(tmp_path):
    with pytest.raises(DataError, match="got 'скидка'") as told:
        train_effects(experiment(tmp_path / "shop", 300), out=tmp_path / "model")
    assert len(told.value.problems) >= 3 and not (tmp_path / "model").exists()
    with pytest.raises(UsageError, match="does not say what was tried"):
        train_effects(tmp_path / "shop", "bank-kz", out=tmp_path / "model", as_of=AS_OF)


@pytest.mark.parametrize(
    "old, new, said",
    [
        ("control: ничего", "control: нечто", "no value of 'tried'"),
        ("outcome: stayed", "outcome: tier", "no customer column of flags or numbers"),
        ("treatment: tried", "treatment: pages", "no customer column with known values"),
        ("скидка: effect_discount", "скидка: tier", "no customer column of type number"),
        ("скидка: effect_discount", "ничего: effect_discount", "the control changes nothing"),
    ],
)
def test_what_is_declared_wrongly_is_told(old, new, said, tmp_path):
    book = nb.copy("shop", tmp_path / "shop")
    text = (book / "learn.yaml").read_text()
    assert old in text
    (book / "learn.yaml").write_text(text.replace(old, new))
    with pytest.raises(PlaybookError, match=said):
        train_effects(tmp_path / "data", book, out=tmp_path / "model")
