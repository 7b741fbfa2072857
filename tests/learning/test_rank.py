"""rank, train and evaluate, as a data scientist runs them."""

import json

import numpy as np
import pandas as pd
import pytest
from tests.learning.conftest import law, world
from typer.testing import CliRunner

from nextbest.cli import app
from nextbest.services.evaluate import evaluate
from nextbest.services.rank import rank
from nextbest.services.train import train


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def ranked(bank, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranked")
    done = run("rank", bank, "--out", folder / "scores.parquet", "--recommend", folder / "first.parquet")
    assert done.exit_code == 0, done.output
    return folder


def test_every_eligible_pair_is_ranked_once(bank, ranked):
    found = pd.read_parquet(ranked / "scores.parquet")
    assert list(found.columns) == ["customer_id", "product_id", "score", "rank"] and str(found.customer_id.dtype) == "int64"
    people, products = pd.read_csv(bank / "customers.csv"), pd.read_csv(bank / "products.csv")
    every = people.merge(products, how="cross")
    held = set(map(tuple, pd.read_csv(bank / "holdings.csv").to_numpy()))
    wanted = {
        (row.customer_id, row.product_id)
        for row in every.itertuples()
        if row.income >= 0.8 * row.min_income and (row.customer_id, row.product_id) not in held
    }
    assert set(zip(found.customer_id, found.product_id, strict=True)) == wanted and len(found) == len(wanted)
    for _, own in found.groupby("customer_id"):
        assert own.sort_values("rank")["rank"].tolist() == list(range(1, len(own) + 1))
        assert own.sort_values("rank").score.is_monotonic_decreasing


def test_the_same_data_make_the_same_bytes(bank, ranked, tmp_path):
    rank(bank, out=tmp_path / "again.parquet")
    assert (tmp_path / "again.parquet").read_bytes() == (ranked / "scores.parquet").read_bytes()


def test_the_order_follows_the_law(bank, ranked):
    found = pd.read_parquet(ranked / "scores.parquet").merge(pd.read_csv(bank / "customers.csv"), on="customer_id")
    truth = law(found.income.to_numpy(), found.product_id.to_numpy())
    assert found.score.corr(pd.Series(truth), method="spearman") > 0.8


def test_recommendations_say_why_in_words_and_in_parts(ranked):
    first = pd.read_parquet(ranked / "first.parquet")
    assert first["rank"].max() <= 5 and first.speaks_for.str.contains("income").any()
    parts = first[["base", "income", "segment", "payday", "similar", "spending", "channel", "city", "other"]].sum(axis=1)
    assert abs(1 / (1 + 2.718281828459045 ** (-parts)) - first.score).max() < 1e-9
    assert not first.speaks_for.str.contains("; ;|^;|;$").any()


def test_a_trained_model_takes_over_and_ranks_without_answers(bank, ranked, tmp_path):
    done = run("train", bank, "--out", tmp_path / "model")
    assert done.exit_code == 0, done.output
    card = json.loads((tmp_path / "model" / "card.json").read_text())
    assert card["model"] == "logistic" and "customer_id" not in card["numbers"] + card["words"] and len(card["cautions"]) == 5
    data = tmp_path / "data"
    data.mkdir()
    for path in bank.iterdir():
        if path.stem != "responses":
            (data / path.name).write_bytes(path.read_bytes())
    done = run("rank", data, "--model", tmp_path / "model", "--out", tmp_path / "scores.parquet")
    assert done.exit_code == 0, done.output
    found, known = pd.read_parquet(tmp_path / "scores.parquet"), pd.read_parquet(ranked / "scores.parquet")
    assert len(found) == len(known) and found.score.corr(known.score) > 0.95  # what was answered before is not in these data


def test_a_model_that_is_worse_does_not_take_over(bank, tmp_path):
    assert train(bank, out=tmp_path / "model").verdict.passes
    before = (tmp_path / "model" / "model.json").read_bytes()
    done = run("train", bank, "--out", tmp_path / "model", "--model", "heuristic")
    assert done.exit_code == 1 and "the model in charge stays" in done.output
    assert (tmp_path / "model" / "model.json").read_bytes() == before
    gates = sorted((tmp_path / "model" / "gates").iterdir())
    assert [json.loads(path.read_text())["passes"] for path in gates] == [True, False]


def test_another_folder_is_not_overwritten(bank, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    assert run("train", bank, "--out", tmp_path).exit_code == 2


def test_evaluate_shows_every_model_beside_the_baselines(bank, tmp_path):
    done = run("evaluate", bank, "--model", "popularity", "--model", "logistic", "--out", tmp_path / "report")
    assert done.exit_code == 0, done.output
    assert "logistic" in done.output and "popularity" in done.output
    page = (tmp_path / "report" / "report.html").read_text()
    assert page.count("<svg") == 2 and "http" not in page.replace("http://www.w3.org", "")
    found = {item["model"]: item for item in json.loads((tmp_path / "report" / "figures.json").read_text())["models"]}
    assert found["logistic"]["ndcg"]["value"] > found["popularity"]["ndcg"]["value"]
    assert found["logistic"]["ndcg"]["low"] < found["logistic"]["ndcg"]["value"] < found["logistic"]["ndcg"]["high"]


def test_labels_given_apart_are_only_judged_by(bank, tmp_path):
    scores = pd.read_parquet(rank(bank, out=tmp_path / "scores.parquet").path)
    people = pd.read_csv(bank / "customers.csv")
    truth = scores.merge(people, on="customer_id")
    truth["true_score"] = law(truth.income.to_numpy(), truth.product_id.to_numpy())
    truth["label"] = (truth.true_score > truth.true_score.median()).astype(int)
    truth[["customer_id", "product_id", "label"]].to_csv(tmp_path / "labels.csv", index=False)
    truth[["customer_id", "product_id", "true_score"]].to_parquet(tmp_path / "truth.parquet")
    found = evaluate(bank, models=("logistic",), labels=tmp_path / "labels.csv", truth=tmp_path / "truth.parquet")
    assert found.oracle and 0.9 < found.models[0].share_of_oracle <= 1 and found.law is None


def test_who_knows_the_law_and_not_the_noise_stands_between_model_and_oracle(bank, tmp_path):
    truth = pd.read_parquet(rank(bank, out=tmp_path / "scores.parquet").path).merge(pd.read_csv(bank / "customers.csv"), on="customer_id")
    truth["law_score"] = law(truth.income.to_numpy(), truth.product_id.to_numpy())
    truth["true_score"] = truth.law_score + np.random.default_rng(0).normal(0, 0.1, len(truth))
    truth["label"] = (truth.true_score > truth.true_score.median()).astype(int)
    truth[["customer_id", "product_id", "label"]].to_csv(tmp_path / "labels.csv", index=False)
    truth[["customer_id", "product_id", "true_score", "law_score"]].to_csv(tmp_path / "truth.csv", index=False)
    words = ("--labels", tmp_path / "labels.csv", "--truth", tmp_path / "truth.csv", "--out", tmp_path / "report")
    done = run("evaluate", bank, "--model", "popularity", *words)
    assert done.exit_code == 0 and "law" in done.output and "oracle" in done.output, done.output
    found = json.loads((tmp_path / "report" / "figures.json").read_text())
    assert found["models"][0]["ndcg"]["value"] < found["law"] < found["oracle"]
    assert f"{found['law'] / found['oracle']:.3f}" in (tmp_path / "report" / "report.html").read_text()


def test_a_ranking_of_nobody_is_no_success(bank, tmp_path):
    data = tmp_path / "poor"
    data.mkdir()
    for path in bank.iterdir():
        (data / path.name).write_bytes(path.read_bytes())
    people = pd.read_csv(bank / "customers.csv").assign(income="little")
    people.to_csv(data / "customers.csv", index=False)
    done = run("rank", data, "--out", tmp_path / "s.parquet")
    assert done.exit_code == 4 and "customers.income: 300 rows unreadable" in done.output and not (tmp_path / "s.parquet").exists()


def test_one_round_cannot_be_split(tmp_path):
    done = run("evaluate", world(tmp_path / "one", 60, rounds=1))
    assert done.exit_code == 4 and "two rounds" in done.output


def test_a_missing_extra_is_told(monkeypatch, bank, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "lightgbm", None)
    done = run("rank", bank, "--out", tmp_path / "s.parquet", "--model", "boosting")
    assert done.exit_code == 2 and 'pip install "nextbest[learn]"' in done.output.replace("\n", "")


def test_a_first_model_that_fails_leaves_room_for_the_next(bank, tmp_path):
    assert run("train", bank, "--out", tmp_path / "model", "--model", "heuristic").exit_code == 1
    done = run("train", bank, "--out", tmp_path / "model")
    assert done.exit_code == 0, done.output
    assert len(list((tmp_path / "model" / "gates").iterdir())) == 2


def test_nothing_is_written_into_a_folder_of_something_else(bank, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    assert run("train", bank, "--out", tmp_path, "--model", "heuristic").exit_code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_model_of_other_features_is_refused(bank, tmp_path):
    assert run("train", bank, "--out", tmp_path / "model").exit_code == 0
    assert run("playbook", "copy", "upsell", tmp_path / "mine").exit_code == 0
    learn = tmp_path / "mine" / "learn.yaml"
    learn.write_text(learn.read_text().replace("    - city_tier\n", "", 1).replace("of: [city_tier]", "of: [income]"))
    done = run("rank", bank, "--playbook", tmp_path / "mine", "--model", tmp_path / "model", "--out", tmp_path / "s.parquet")
    assert done.exit_code == 2 and "city_tier" in done.output


def test_labels_with_faults_are_told_without_a_code(bank, tmp_path):
    scores = pd.read_parquet(rank(bank, out=tmp_path / "s.parquet").path)
    labels = scores.assign(label=0)[["customer_id", "product_id", "label"]]
    for name, table, word in (
        ("twice", pd.concat([labels, labels.head(3)]), "3 pairs stand more than once"),
        ("alike", labels, "all labels are the same"),
        ("gaps", labels.assign(label=None), "no code or no number"),
    ):
        table.to_csv(tmp_path / f"{name}.csv", index=False)
        done = run("evaluate", bank, "--labels", tmp_path / f"{name}.csv", "--model", "popularity")
        assert done.exit_code == 4 and word in done.output.replace("\n", " ")


def test_codes_with_leading_zeros_stay_as_they_are(bank, tmp_path):
    data = tmp_path / "zeros"
    data.mkdir()
    for path in bank.iterdir():
        table = pd.read_csv(path)
        if "customer_id" in table:
            table["customer_id"] = "00" + table.customer_id.astype(str)
        table.to_csv(data / path.name, index=False)
    scores = pd.read_parquet(rank(data, out=tmp_path / "s.parquet").path)
    assert scores.customer_id.str.startswith("00").all()
    scores.assign(label=(scores["rank"] == 1).astype(int))[["customer_id", "product_id", "label"]].to_csv(tmp_path / "l.csv", index=False)
    assert evaluate(data, models=("logistic",), labels=tmp_path / "l.csv").models[0].ndcg.value > 0.99
