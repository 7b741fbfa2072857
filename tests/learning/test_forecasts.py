"""What trained models say stands in customer columns, and rules name it: `decide --model`."""

import json
import shutil

import pandas as pd
import pytest
from tests.learning.conftest import PRODUCTS, world

import nextbest
from nextbest.errors import PlaybookError, UsageError
from nextbest.models import logistic
from nextbest.services import answers
from nextbest.services.rank import rank
from nextbest.services.replay import replay
from nextbest.services.train import train

AS_OF = "2025-10-24"
OFFERS = {"FD": "fixed-deposit", "CC": "credit-card", "PL": "personal-loan", "PremiumCC": "premium-credit-card"}


@pytest.fixture(scope="module")
def trained(bank, tmp_path_factory):
    folder = tmp_path_factory.mktemp("forecasts")
    assert train(bank, out=folder / "model", as_of=AS_OF).verdict.passes
    nextbest.decide(bank, "upsell", as_of=AS_OF, out=folder / "out", models=[folder / "model"], workspace=folder / "workspace")
    return folder


def test_an_offer_is_as_likely_as_the_best_product_of_its_kind(bank, trained, tmp_path):
    rank(bank, model=trained / "model", out=tmp_path / "scores.parquet", as_of=AS_OF)
    scores = pd.read_parquet(tmp_path / "scores.parquet").merge(PRODUCTS).assign(offer=lambda table: table.product_type.map(OFFERS))
    decisions = pd.read_parquet(trained / "out" / "decisions.parquet")
    in_no_holdout = scores.customer_id.isin(decisions.customer_id)
    best, decisions = scores[in_no_holdout].groupby(["customer_id", "offer"]).score.max(), decisions.set_index(["customer_id", "offer"])
    open_ = decisions[decisions.eligible]
    assert set(open_.index) == set(best.index)
    pd.testing.assert_series_equal(open_.propensity.sort_index(), best.sort_index(), check_names=False)
    first = open_[open_["rank"] == 1].reset_index("offer").offer
    assert (first == best.unstack().idxmax(axis=1)[first.index]).all()


def test_batches_make_no_difference(bank, trained, tmp_path, monkeypatch):
    monkeypatch.setattr(answers, "BATCH", 70)
    nextbest.decide(bank, "upsell", as_of=AS_OF, out=tmp_path / "one", models=[trained / "model"])
    monkeypatch.undo()
    nextbest.decide(bank, "upsell", as_of=AS_OF, out=tmp_path / "two", models=[trained / "model"])
    assert (tmp_path / "one" / "decisions.parquet").read_bytes() == (tmp_path / "two" / "decisions.parquet").read_bytes()


def test_a_decision_made_with_a_model_is_made_again_without_it(trained):
    messages = pd.read_parquet(trained / "out" / "messages.parquet").dropna(subset="message")
    again = replay(messages.decision_id.iloc[0], workspace=trained / "workspace")
    assert again.same and again.header["models"][0]["task"] == "offers"


def told(folder):
    """Messages that went out, with the rank of their offer."""
    messages, decisions = (pd.read_parquet(folder / f"{name}.parquet") for name in ("messages", "decisions"))
    return messages.dropna(subset="send_at").merge(decisions[["customer_id", "offer", "rank", "score", "propensity"]])


def test_what_may_be_the_best_is_tried_as_often_as_it_may_be(trained):
    """Thompson sampling: offers that the model cannot tell apart go out alike, and each message says the chance that it had."""
    found = told(trained / "out")
    first = found["rank"] == 1
    assert 0.3 < first.mean() < 0.95 and found.chance.between(0.05 / 3 - 1e-9, 1).all()
    assert (first / found.chance).mean() == pytest.approx(1, abs=0.2)  # what was drawn at the first place, were it always drawn
    assert found.chance[first].mean() > 1.5 * found.chance[~first].mean()


def test_a_model_that_knows_no_error_tries_the_first_and_now_and_then_another(bank, trained, tmp_path):
    assert train(bank, out=tmp_path / "model", model="popularity", as_of=AS_OF).verdict.passes
    out, store = tmp_path / "out", tmp_path / "workspace"
    nextbest.decide(bank, "upsell", as_of=AS_OF, out=out, models=[tmp_path / "model"], workspace=store)
    found = told(out)
    for chance, place in zip(found.chance, found["rank"], strict=True):
        assert any(chance == pytest.approx(0.05 / among + (0.95 if place == 1 else 0), abs=1e-6) for among in (1, 2, 3))
    assert (found["rank"] == 1).mean() > 0.9


@pytest.mark.parametrize(
    "before, after, says",
    [
        ("share: p.exploration_share", "share: 0", "no chance may be 0"),
        ("among: p.exploration_among", "among: 0", "out of place"),
        ("draw: thompson", "draw: best", "draw"),
    ],
)
def test_what_cannot_be_drawn_is_told(tmp_path, before, after, says):
    book = nextbest.copy("upsell", tmp_path / "book")
    contact = (book / "contact.yaml").read_text()
    (book / "contact.yaml").write_text(contact.replace(before, after))
    with pytest.raises(PlaybookError, match=says):
        nextbest.check(book)
    (book / "contact.yaml").write_text(contact.replace("among: p.exploration_among", "among: 1000"))
    assert nextbest.check(book).examples  # no more are drawn among than there are


def test_thompson_needs_to_know_how_far_scores_may_be_off(tmp_path):
    book = nextbest.copy("upsell", tmp_path / "book")
    said = (book / "playbook.yaml").read_text()
    (book / "playbook.yaml").write_text(said.replace("  uncertainty: lever * coalesce(learned_error, 0)\n", ""))
    with pytest.raises(PlaybookError, match="uncertainty"):
        nextbest.check(book)


def test_a_score_may_count_on_luck(bank, trained, tmp_path):
    """LinUCB: the ranking by the upper bound of what is likely, from two lines of the playbook."""
    book = nextbest.copy("upsell", tmp_path / "book")
    said = (book / "playbook.yaml").read_text()
    line = "score: lever * propensity\n"
    assert line in said
    (book / "playbook.yaml").write_text(said.replace(line, "score: lever * (propensity + 2 * coalesce(learned_error, 0))\n"))
    nextbest.decide(bank, book, as_of=AS_OF, out=tmp_path / "out", models=[trained / "model"])
    found = pd.read_parquet(tmp_path / "out" / "decisions.parquet").dropna(subset="rank")
    assert (found.score > found.propensity).all()
    top = found.sort_values("score", ascending=False).drop_duplicates("customer_id")
    likeliest = found.sort_values("propensity", ascending=False).drop_duplicates("customer_id")
    assert (top["rank"] == 1).all() and (likeliest["rank"] > 1).any()
    assert nextbest.check(book).examples and nextbest.explain(tmp_path / "out", int(top.customer_id.iloc[0])).offers


def test_a_file_s_own_forecast_has_no_error_of_the_model(bank, trained, tmp_path):
    data = shutil.copytree(bank, tmp_path / "bank")
    people = pd.read_csv(data / "customers.csv").assign(**{f"propensity_{kind}": 0.5 for kind in ("fd", "cc", "pl", "premium_cc")})
    people.to_csv(data / "customers.csv", index=False)
    out = tmp_path / "out"
    nextbest.decide(data, "upsell", as_of=AS_OF, out=out, models=[trained / "model"], workspace=tmp_path / "workspace")
    found = told(out)
    assert (found["rank"] == 1).mean() > 0.9 and found.chance[found["rank"] == 1].min() > 0.95


def test_a_file_s_own_forecast_goes_before_the_model(bank, trained, tmp_path):
    data = shutil.copytree(bank, tmp_path / "bank")
    people = pd.read_csv(data / "customers.csv").assign(propensity_fd=None)
    people.loc[people.customer_id == 7, "propensity_fd"] = 0.99
    people.to_csv(data / "customers.csv", index=False)
    nextbest.decide(data, "upsell", as_of=AS_OF, out=tmp_path / "out", models=[trained / "model"])
    decisions = pd.read_parquet(tmp_path / "out" / "decisions.parquet").query("offer == 'fixed-deposit'").set_index("customer_id")
    assert decisions.propensity[7] == 0.99 and decisions.propensity.drop(7).max() < 0.9


def test_a_run_names_its_models_and_another_model_is_another_run(bank, trained, tmp_path):
    record = json.loads((trained / "out" / "run.json").read_text())
    assert [item["task"] for item in record["models"]] == ["offers"]
    plain = nextbest.decide(bank, "upsell", as_of=AS_OF, out=tmp_path / "out", workspace=trained / "workspace")
    assert "models" not in plain.record and plain.record["workspace"]["run_id"] != record["workspace"]["run_id"]


def test_nobody_is_profiled_who_objects(bank, trained, tmp_path, monkeypatch):
    data = shutil.copytree(bank, tmp_path / "bank")
    people = pd.read_csv(data / "customers.csv")
    people.assign(consent_profiling=(people.customer_id != 3).astype(int)).to_csv(data / "customers.csv", index=False)
    seen, propensity = set(), logistic.Model.propensity
    monkeypatch.setattr(logistic.Model, "propensity", lambda self, pairs: (seen.update(pairs.frame.customer), propensity(self, pairs))[1])
    nextbest.decide(data, "upsell", as_of=AS_OF, out=tmp_path / "out", models=[trained / "model"])
    assert len(seen) > 200 and 3 not in seen


def test_what_a_model_misses_is_told(bank, trained, tmp_path):
    data = shutil.copytree(bank, tmp_path / "bank")
    (data / "responses.csv").unlink()
    run = nextbest.decide(data, "upsell", as_of=AS_OF, out=tmp_path / "out", models=[trained / "model"])
    assert [(item["table"], item["problem"]) for item in run.record["problems"]] == [("answers", "no_file")]


def test_evidence_that_does_not_count_is_no_reason(bank, trained, tmp_path):
    with_model = pd.read_parquet(trained / "out" / "decisions.parquet")
    assert (with_model.reasons == "").all()
    code = str(with_model.customer_id.iloc[0])
    best = nextbest.explain(trained / "out", code).offers[0]
    assert best.learned == best.propensity and best.signals == []
    plain = nextbest.decide(bank, "upsell", as_of=AS_OF, out=tmp_path / "out")
    assert plain.decisions.reasons.str.contains("income").any() and nextbest.explain(plain.folder, code).offers[0].signals


def test_what_does_not_fit_is_told(bank, trained, tmp_path):
    model = trained / "model"
    for playbook, models, says in (
        ("bank-kz", [model], "fills"),
        ("upsell", [model, model], "second model"),
        ("upsell", [tmp_path], "nextbest train"),
        (_with_age(tmp_path), [model], "other features.*: age"),
    ):
        with pytest.raises(UsageError, match=says):
            nextbest.decide(bank, playbook, as_of=AS_OF, out=tmp_path / "out", models=models)
    assert not (tmp_path / "out").exists()


def _with_age(folder):
    own = nextbest.copy("upsell", folder / "own")
    learn = own / "learn.yaml"
    learn.write_text(learn.read_text().replace("    - city_tier\n", "    - city_tier\n    - age\n", 1))
    return own


def test_where_nothing_may_be_offered_a_model_says_so(trained, tmp_path):
    data = world(tmp_path / "poor", customers=40)
    people = pd.read_csv(data / "customers.csv").assign(income=0.5)
    people.to_csv(data / "customers.csv", index=False)
    nextbest.decide(data, "upsell", as_of=AS_OF, out=tmp_path / "out", models=[trained / "model"])
    decisions = pd.read_parquet(tmp_path / "out" / "decisions.parquet")
    assert not decisions.eligible.any() and (decisions.propensity == 0).all()
