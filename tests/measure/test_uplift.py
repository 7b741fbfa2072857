"""Uplift where the effect of each customer is known: learners find it, figures show it."""

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from nextbest.cli import app
from nextbest.errors import UsageError
from nextbest.measure.uplift import auuc, cross_validated, curve, interval, qini, uplift_at
from nextbest.models.uplift import KINDS, crossfit, table
from nextbest.services.uplift import targeting


@pytest.fixture(scope="module")
def simulated():
    """A persuadable half gains 0.2, the other half nothing; who buys anyway is another matter."""
    chance = np.random.default_rng(0)
    n = 12_000
    features = pd.DataFrame({"persuadable": chance.random(n), "loyal": chance.random(n), "city": chance.choice(["a", "b"], n)})
    effect = np.where(features.persuadable > 0.5, 0.2, 0.0)
    treated = (chance.random(n) < 0.5).astype(float)
    outcome = (chance.random(n) < 0.1 + 0.5 * (features.loyal.to_numpy() > 0.5) + effect * treated).astype(float)
    return table(features), outcome, treated, effect


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "response"])
def test_learners_find_who_is_persuaded_and_beat_a_response_model(kind, simulated):
    features, outcome, treated, effect = simulated
    found = crossfit(kind, features, outcome, treated, 3, 0)
    response = crossfit("response", features, outcome, treated, 3, 0)
    assert np.corrcoef(found, effect)[0, 1] > 0.6 > np.corrcoef(response, effect)[0, 1]
    assert abs(found.mean() - effect.mean()) < 0.03
    assert qini(outcome, treated, found) > qini(outcome, treated, response)
    assert uplift_at(0.3)(outcome, treated, found) == pytest.approx(0.2, abs=0.05)


def test_the_curve_by_hand():
    """Two treated and two controls; the better half are the first two: one of each, and the treated bought."""
    outcome, treated, score = np.array([1.0, 0, 1, 1]), np.array([1.0, 0, 1, 0]), np.array([4.0, 3, 2, 1])
    assert curve(outcome, treated, score).tolist() == [0.0, 0.5, 0.5, 1.0, 0.5]
    assert uplift_at(0.5)(outcome, treated, score) == 1.0
    assert auuc(outcome, treated, score) == pytest.approx(0.5)


def test_an_order_by_chance_has_no_qini(simulated):
    _, outcome, treated, _ = simulated
    found = interval(qini, outcome, treated, np.random.default_rng(1).random(len(outcome)), 0, redraws=60)
    assert found.low < 0 < found.high


def test_where_nobody_is_changed_folds_that_teach_each_other_find_nothing():
    """An interval over the rows alone leaves out the truth in every third such world, with five folds; the wider one hardly ever."""
    found = []
    for world in range(20):
        chance = np.random.default_rng(world)
        features = table(pd.DataFrame(chance.random((600, 4)), columns=list("abcd")))
        outcome, treated = (chance.random((2, 600)) < [[0.2], [0.5]]).astype(float)
        score = crossfit("t", features, outcome, treated, 5, world)
        alone = interval(qini, outcome, treated, score, 0, redraws=100)
        found.append([figure.low > 0 or figure.high < 0 for figure in (cross_validated(alone, 5), alone)])
    widened, alone = np.sum(found, axis=0)
    assert widened <= 2 < alone


def test_equal_scores_are_ordered_by_chance_and_not_by_the_file(simulated):
    _, outcome, treated, _ = simulated
    by_arm = np.argsort(treated, kind="stable")
    found = interval(qini, outcome[by_arm], treated[by_arm], np.ones(len(outcome)), 0, redraws=60)
    assert abs(found.value) < 0.006 and found.low < 0 < found.high


@pytest.fixture(scope="module")
def persuaded(tmp_path_factory):
    """An experiment of three arms: a letter persuades one half, a call the other, by 0.2; one bought thing is worth 10."""
    chance = np.random.default_rng(1)
    rows = pd.DataFrame({"taste": chance.random(9000), "arm": chance.choice(["none", "letter", "call"], 9000)})
    gain = 0.2 * (((rows.arm == "letter") & (rows.taste > 0.5)) | ((rows.arm == "call") & (rows.taste <= 0.5)))
    rows["bought"] = (chance.random(9000) < 0.1 + gain).astype(int)
    path = tmp_path_factory.mktemp("persuaded") / "rows.csv"
    rows.assign(worth=10, price=1.0, dear=np.where(rows.taste > 0.75, 5.0, 1.0)).to_csv(path, index=False)
    return path


ARMS = {"treatment": "arm", "control": "none", "outcome": "bought", "folds": 3}


def test_each_gets_the_treatment_that_pays_and_nearly_nothing_is_lost(persuaded):
    """Known: 2 - 1 = 1 a customer, were everyone given what persuades them; all alike gain 0.5 * 2 - 1 = 0. Regret below 0.15."""
    found = {
        item.policy: item
        for item in targeting(persuaded, **ARMS, value=10.0, cost={"letter": "price", "call": 1.0}, leave_out=("worth", "dear"))
    }
    for kind in ("t", "x", "dr"):
        assert found[kind].profit.low < 1 and found[kind].profit.value > 0.85
        assert found[kind].shares["letter"] == pytest.approx(0.5, abs=0.1) and found[kind].shares["call"] == pytest.approx(0.5, abs=0.1)
    for arm in ("letter", "call"):
        assert found[f"all: {arm}"].profit.low < 0 < found[f"all: {arm}"].profit.high


def test_what_all_have_in_common_changes_nothing(persuaded, tmp_path):
    rows = pd.read_csv(persuaded)
    rows.assign(bought=rows.bought + 100).to_csv(tmp_path / "more.csv", index=False)
    words = {"value": 10.0, "cost": {"letter": 1.0, "call": 1.0}, "leave_out": ("worth", "dear", "price")}
    one, two = ({item.policy: item for item in targeting(path, **ARMS, **words)} for path in (persuaded, tmp_path / "more.csv"))
    for arm in ("all: letter", "all: call"):
        assert two[arm].profit.value == pytest.approx(one[arm].profit.value) and two[arm].profit.high == pytest.approx(one[arm].profit.high)


def test_who_costs_more_than_they_bring_is_left_alone(persuaded):
    """A letter to a quarter costs 5 for an effect worth 2: they get none."""
    found = {
        item.policy: item
        for item in targeting(persuaded, **ARMS, value="worth", cost={"letter": "dear", "call": 50.0}, leave_out=("price",))
    }
    assert found["t"].shares == pytest.approx({"letter": 0.25, "call": 0.0}, abs=0.08)
    assert found["t"].profit.low < 0.25 < found["t"].profit.high


def test_costs_are_those_of_the_treatments(persuaded):
    with pytest.raises(UsageError, match="call"):
        targeting(persuaded, **ARMS, value=10.0, cost={"letter": 1.0})
    with pytest.raises(UsageError, match="nan"):
        targeting(persuaded, **ARMS, value=float("nan"), cost={"letter": 1.0, "call": 1.0})
    words = ["uplift", str(persuaded), "--treatment", "arm", "--outcome", "bought", "--control", "none", "--leave-out", "dear"]
    done = CliRunner().invoke(app, [*words, "--value", "worth", "--cost", "letter=price", "--cost", "call=1"], env={"COLUMNS": "150"})
    assert done.exit_code == 0 and "all: letter" in done.output and "gets call" in done.output, done.output
    assert CliRunner().invoke(app, [*words, "--value", "worth"]).exit_code == 2
    assert CliRunner().invoke(app, [*words, "--value", "arm", "--cost", "letter=1", "--cost", "call=1"]).exit_code == 2


def test_the_command(simulated, tmp_path):
    features, outcome, treated, _ = simulated
    rows = features.assign(arm=np.where(treated == 1, "mail", "none"), bought=outcome, later=outcome).head(3000)
    rows.to_csv(tmp_path / "rows.csv", index=False)
    words = ["uplift", str(tmp_path / "rows.csv"), "--treatment", "arm", "--outcome", "bought", "--leave-out", "later"]
    done = CliRunner().invoke(app, [*words, "--control", "none"])
    assert done.exit_code == 0 and all(kind in done.output for kind in KINDS), done.output
    assert CliRunner().invoke(app, [*words, "--control", "nobody"]).exit_code == 2
    rows.assign(code=[f"c{n}" for n in range(len(rows))]).to_csv(tmp_path / "rows.csv", index=False)
    done = CliRunner().invoke(app, [*words, "--control", "none"])
    assert done.exit_code == 2 and "'code'" in done.output
