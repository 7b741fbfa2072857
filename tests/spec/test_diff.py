"""Diff: what a change of playbook does, before anyone approves it."""

import pandas as pd
import pytest

import nextbest as nb
from nextbest.errors import UsageError


@pytest.fixture(scope="module")
def changed(tmp_path_factory):
    """Travel card with a far higher prior, against the playbook as it is."""
    folder = tmp_path_factory.mktemp("diff")
    data = nb.synth(60, out=folder / "data", seed=1)
    book = nb.copy("bank-kz", folder / "new")
    path = book / "offers" / "travel-card.yaml"
    path.write_text(path.read_text().replace("prior: -2.2", "prior: 2.2"))
    return nb.diff("bank-kz", book, data, as_of="2025-08-31", out=folder / "diff"), folder


@pytest.fixture(scope="module")
def runs(changed):
    """The two runs that the diff compares, made by themselves."""
    folder = changed[1]
    return [
        nb.decide(folder / "data", book, as_of="2025-08-31", out=folder / name) for name, book in (("a", "bank-kz"), ("b", folder / "new"))
    ]


def test_reach_moves_as_the_two_runs_say(changed, runs):
    found, _ = changed
    for key, run in zip(("old", "new"), runs, strict=True):
        firsts = run.decisions[run.decisions["rank"] == 1].offer.value_counts().to_dict()
        assert {item["offer"]: item[key] for item in found.reach if item[key]} == firsts
    products = [run.recommendations["product"] for run in runs]
    assert found.offers_changed == (products[0] != products[1]).sum() > 0


def test_every_move_is_to_the_offer_that_was_raised(changed):
    found, _ = changed
    assert {item["new"] for item in found.moves} == {"travel-card"}
    assert sum(item["customers"] for item in found.moves) == found.offers_changed == sum(item["changed"] for item in found.groups)


def test_reach_by_group_adds_up_to_reach(changed):
    found, _ = changed
    moved = {item["offer"]: item["new"] - item["old"] for item in found.reach if item["new"] != item["old"]}
    by_group: dict[str, int] = {}
    for item in found.group_reach:
        by_group[item["offer"]] = by_group.get(item["offer"], 0) + item["new"] - item["old"]
    assert {offer: n for offer, n in by_group.items() if n} == moved


def test_each_changed_customer_is_in_the_file(changed):
    found, folder = changed
    table = pd.read_parquet(folder / "diff" / "changes.parquet")
    assert table.changed.sum() == found.offers_changed and table.reworded.sum() == found.messages_changed
    moved = table.benefit_new.astype(float).fillna(0).sum() - table.benefit_old.astype(float).fillna(0).sum()
    assert moved == pytest.approx(found.benefit[1] - found.benefit[0])


def test_value_is_what_lever_and_propensity_come_to(changed, runs):
    found, _ = changed
    firsts = runs[1].decisions.query("rank == 1")  # every lever is 1 here
    assert found.value[1] == pytest.approx(firsts.propensity.sum())


def test_the_page_is_self_contained(changed):
    page = (changed[1] / "diff" / "diff.html").read_text()
    assert "<link" not in page and "src=" not in page and "Whose offer changes" in page and "travel-card" in page


def test_the_same_playbook_changes_nothing(changed):
    folder = changed[1]
    found = nb.diff("bank-kz", "bank-kz", folder / "data", as_of="2025-08-31", out=folder / "none")
    assert (found.offers_changed, found.messages_changed, found.moves) == (0, 0, [])
    assert "Nobody" in (folder / "none" / "diff.html").read_text()


def test_a_folder_with_something_else_in_it_is_left_alone(changed):
    with pytest.raises(UsageError):
        nb.diff("bank-kz", "bank-kz", changed[1] / "data", as_of="2025-08-31", out=changed[1] / "data")
