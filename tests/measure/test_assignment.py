"""Who is in which arm: by chance, balanced, for good."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from nextbest.cli import app
from nextbest.errors import DataError, UsageError
from nextbest.playbook.contact import BUCKETS, bucket
from nextbest.services.assignment import assign

HALVES = {"control": 0.5, "offer": 0.5}


def people(path, count, first=0, **columns):
    pd.DataFrame({"customer_id": np.arange(first, first + count), **columns}).to_csv(path, index=False)
    return path


def arms(path):
    return pd.read_csv(path).set_index("customer_id").arm


def test_an_arm_follows_from_code_and_experiment_alone(tmp_path):
    found = assign(people(tmp_path / "all.csv", 2000), out=tmp_path / "a.csv", arms={"control": 0.8, "offer": 0.2}, experiment="spring")
    for code, arm in arms(found.path).items():
        assert arm == ("control" if bucket("spring", str(code)) / BUCKETS < 0.8 else "offer")
    assert found.arms["control"] / 2000 == pytest.approx(0.8, abs=0.03) and sum(found.arms.values()) == 2000
    other = assign(tmp_path / "all.csv", out=tmp_path / "b.csv", arms={"control": 0.8, "offer": 0.2}, experiment="autumn")
    assert 0.6 < (arms(found.path) == arms(other.path)).mean() < 0.76  # by chance alone 0.68 agree


@settings(max_examples=12, deadline=None)
@given(st.lists(st.sampled_from(["a", "b", None, "it's"]), min_size=20, max_size=200), st.sampled_from([0.5, 0.3, 0.9]), st.integers(0, 9))
def test_in_each_group_the_arms_have_their_shares_up_to_one_customer(tmp_path_factory, groups, share, seed):
    folder = tmp_path_factory.mktemp("groups")
    source = people(folder / "all.csv", len(groups), kind=groups)
    assign(source, out=folder / "a.csv", arms={"control": share, "offer": 1 - share}, experiment=f"e{seed}", groups=("kind",))
    found = pd.read_csv(source, keep_default_na=False).merge(arms(folder / "a.csv").reset_index())
    assert len(found) == len(groups)
    for _, part in found.groupby("kind"):
        assert abs((part.arm == "control").sum() - share * len(part)) < 1


def test_a_customer_is_in_each_arm_as_often_as_its_share_says_whatever_the_group(tmp_path):
    """Groups of one, two and five: rounding favours no arm."""
    source = people(tmp_path / "all.csv", 8, kind=["one", "two", "two", *["five"] * 5])
    control = np.zeros(8)
    for number in range(120):
        assign(source, out=tmp_path / f"{number}.csv", arms={"control": 0.3, "offer": 0.7}, experiment=f"e{number}", groups=("kind",))
        control += (arms(tmp_path / f"{number}.csv") == "control").to_numpy()
    assert control / 120 == pytest.approx(np.full(8, 0.3), abs=0.15)


def test_who_has_an_arm_keeps_it_and_newcomers_are_balanced(tmp_path):
    source = people(tmp_path / "all.csv", 100, kind=["a", "b"] * 50)
    first = assign(source, out=tmp_path / "arms.csv", arms=HALVES, experiment="e", groups=("kind",))
    before = arms(first.path)
    people(tmp_path / "later.csv", 100, first=50, kind=["a", "b"] * 50)
    later = assign(tmp_path / "later.csv", out=tmp_path / "arms.csv", arms=HALVES, experiment="e", groups=("kind",))
    after = arms(later.path)
    assert later.kept == 100 and len(after) == 150 and (after[before.index] == before).all()
    assert abs(later.arms["control"] - later.arms["offer"]) <= 4  # each group's share is off by one customer at most, each time


def test_newcomers_who_come_alone_come_to_every_arm(tmp_path):
    for number in range(2, 42):
        source = people(tmp_path / "all.csv", 2 * number, kind=["a", "b"] * number)
        assign(source, out=tmp_path / "arms.csv", arms=HALVES, experiment="e", groups=("kind",))
    assert 25 <= (arms(tmp_path / "arms.csv") == "control").sum() <= 55


def test_codes_stay_as_they_are_written(tmp_path):
    (tmp_path / "all.csv").write_text("code,kind\n007,a\n7,b\n")
    assign(tmp_path / "all.csv", out=tmp_path / "a.csv", arms=HALVES, experiment="e")
    assert [line.split(",")[0] for line in (tmp_path / "a.csv").read_text().split()] == ["code", "007", "7"]
    pd.DataFrame({"code": [7, 8]}).to_parquet(tmp_path / "all.parquet")
    assign(tmp_path / "all.parquet", out=tmp_path / "a.parquet", arms=HALVES, experiment="e")
    assert pd.read_parquet(tmp_path / "a.parquet").code.tolist() == [7, 8]


def test_what_cannot_be_is_told_and_nothing_is_written(tmp_path):
    source = people(tmp_path / "all.csv", 10)
    (tmp_path / "odd.csv").write_text("customer_id\n1\n1\n\n")
    for file, options, error in (
        (source, {"arms": {"control": 0.5, "offer": 0.6}}, "add up to 1"),
        (source, {"arms": {"control": 1.0}}, "fewer than two"),
        (source, {"arms": {"control": float("nan"), "offer": 0.5}}, "add up to 1"),
        (source, {"groups": ("city",)}, "lacks the columns city"),
        (source, {"groups": ("customer_id",)}, "coarser"),
        (tmp_path / "odd.csv", {}, "repeat"),
        (tmp_path / "none.csv", {}, "does not exist"),
    ):
        with pytest.raises((UsageError, DataError), match=error):
            assign(file, **{"out": tmp_path / "a.csv", "arms": HALVES, "experiment": "e", **options})
    assert not (tmp_path / "a.csv").exists()
    assign(source, out=tmp_path / "a.csv", arms=HALVES, experiment="e")
    with pytest.raises(UsageError, match="of the experiment e"):
        assign(source, out=tmp_path / "a.csv", arms=HALVES, experiment="another")
    pd.DataFrame({"customer_id": [1, 2]}).to_parquet(tmp_path / "all.parquet")
    (tmp_path / "b.csv").write_text("customer_id,arm,experiment\nx9 Ivanov,control,e\n")
    with pytest.raises(UsageError, match="of another kind") as told:
        assign(tmp_path / "all.parquet", out=tmp_path / "b.csv", arms=HALVES, experiment="e")
    assert "Ivanov" not in str(told.value)
    with pytest.raises(UsageError, match="have control"):
        assign(source, out=tmp_path / "a.csv", arms={"offer": 0.5, "other": 0.5}, experiment="e")


def test_the_command_assigns_and_tells_how_many(tmp_path):
    people(tmp_path / "all.csv", 40, city=["x", "y"] * 20)
    call = ["experiment", "assign", str(tmp_path / "all.csv"), "--arm", "control=0.5", "--arm", "offer=0.5", "--name", "e"]
    done = CliRunner().invoke(app, [*call, "--group", "city", "--out", str(tmp_path / "a.csv")])
    assert done.exit_code == 0 and "control: 20, offer: 20" in done.stdout
    wrong = CliRunner().invoke(
        app, ["experiment", "assign", str(tmp_path / "all.csv"), "--arm", "control", "--name", "e", "--out", "a.csv"]
    )
    assert wrong.exit_code == 2 and "--arm control" in wrong.output
