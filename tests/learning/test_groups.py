"""The groups of a run: declared and found, weighed, compared, and what to offer them."""

import json

import numpy as np
import pandas as pd
import pytest
import yaml
from tests.learning.test_activity import shop
from typer.testing import CliRunner

import nextbest
from nextbest.cli import app
from nextbest.errors import PlaybookError, UsageError
from nextbest.measure.segments import half
from nextbest.services.segments import segments


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The risk comes with the file here, as from a bank's own model: who sees few pages is at risk."""
    folder = tmp_path_factory.mktemp("segments")
    people = pd.read_csv(shop(folder / "shop", 600) / "market_file.csv")
    people.assign(Риск=np.where(people["Страниц_за_визит"] < 6, 0.9, 0.1)).to_csv(folder / "shop" / "market_file.csv", index=False)
    nextbest.decide(folder / "shop", "shop", as_of="2025-08-31", out=folder / "out")
    return folder / "out"


def test_declared_groups_have_their_size_worth_and_stake(run):
    found = segments(run)
    features = pd.read_parquet(run / "features.parquet")
    group = {item.name: item for item in found.declared}["promotions_at_risk"]
    inside = features[(features.risk >= 0.48) & (features.promo_share >= 0.6)]
    assert group.customers == len(inside) and group.share == pytest.approx(len(inside) / 600)
    assert group.risk.value == pytest.approx(0.9) and group.value.value == pytest.approx(inside.margin_month.mean())
    assert group.at_stake == pytest.approx(inside.at_stake.sum())
    assert 0 < group.detectable < 1  # of the risk, downwards
    assert group.value.low < group.value.value < group.value.high


def test_what_is_expected_counts_the_messages_that_go_out(tmp_path):
    """After everyone refused, the contact policy lets the refused offers rest: messages are about others than those of rank 1."""
    data, place = shop(tmp_path / "shop", 200), str(tmp_path / "workspace")
    first = nextbest.decide(data, "shop", as_of="2025-08-31", out=tmp_path / "one", workspace=place)
    sent = first.messages[first.messages.withheld.isna()]
    answers = pd.DataFrame(
        {"id": range(len(sent)), "decision_id": sent.decision_id, "outcome": "refused", "happened": "2025-09-02T10:00:00Z"}
    )
    answers.rename(columns={"id": "event_id"}).to_csv(tmp_path / "answers.csv", index=False)
    done = CliRunner().invoke(app, ["outcomes", "import", str(tmp_path / "answers.csv"), "--workspace", place])
    assert done.exit_code == 0, done.output
    again = nextbest.decide(data, "shop", as_of="2025-10-31", out=tmp_path / "two", workspace=place)
    found = segments(again.folder).everyone
    sent = again.messages[again.messages.withheld.isna()]
    told = again.decisions.merge(sent[["id", "offer"]], on=["id", "offer"])
    assert (told["rank"] > 1).sum() > len(told) / 2
    assert {item.offer: item.customers for item in found.offers} == told.offer.value_counts().to_dict()


def test_who_is_at_risk_differs_in_what_makes_the_risk_and_in_little_else(run):
    found = segments(run).at_risk
    beyond_chance = [item for item in found.profile if item.beyond_chance]
    assert beyond_chance[0].feature == "pages" and beyond_chance[0].size < -1
    assert len({item.feature for item in beyond_chance}) <= 3
    assert not {"risk", "at_stake", "activity"} & {item.feature for item in found.profile}


def test_a_found_group_is_a_rule_that_a_playbook_can_take(run, tmp_path):
    found = segments(run)
    assert found.found and "pages <= 5.5" in found.found[0].when
    (tmp_path / "page").mkdir()
    found.write(tmp_path / "page")
    own = nextbest.copy("shop", tmp_path / "own")
    rules = (own / "segments.yaml").read_text() + (tmp_path / "page" / "found.yaml").read_text()
    (own / "segments.yaml").write_text(rules)
    assert nextbest.check(own).offers == 8
    assert yaml.safe_load(rules)["found_1"]["when"] == found.found[0].when
    members = pd.read_parquet(tmp_path / "page" / "members.parquet")
    assert members.found_1.sum() == found.found[0].customers and len(members) == 600
    again = nextbest.decide(run.parent / "shop", str(own), as_of="2025-08-31", out=tmp_path / "out")
    later = segments(again.folder)
    assert "found_1" in {group.name for group in later.declared} and "found_1" not in {group.name for group in later.found}


def test_a_run_is_never_written_over(run):
    before = (run / "report.html").read_bytes()
    done = CliRunner().invoke(app, ["segments", str(run), "--out", str(run)])
    assert done.exit_code == 2 and (run / "report.html").read_bytes() == before


def test_figures_of_a_found_group_are_of_the_half_it_was_not_found_on(run):
    found = segments(run).found[0]
    features = pd.read_parquet(run / "features.parquet")
    rest = features[~half(len(features), 0)]
    assert found.risk.value == pytest.approx(rest[rest.pages <= 5.5].risk.mean())


def test_the_same_run_makes_the_same_groups(run):
    one, two = segments(run, seed=3), segments(run, seed=3)
    assert one.found == two.found and one.declared == two.declared


@pytest.mark.parametrize("language, says", [("ru", "Кого можно потерять"), ("en", "Who may be lost")])
def test_a_page_in_either_language(run, tmp_path, language, says):
    done = CliRunner().invoke(app, ["segments", str(run), "--out", str(tmp_path / "page"), "--language", language])
    assert done.exit_code == 0, done.output
    page = (tmp_path / "page" / "report.html").read_text()
    assert says in page and "http" not in page and "nan" not in page.lower().replace("finance", "")


def test_without_a_forecast_groups_are_weighed_by_value(tmp_path):
    nextbest.decide(shop(tmp_path / "shop", 200), "shop", as_of="2025-08-31", out=tmp_path / "out")
    done = CliRunner().invoke(app, ["segments", str(tmp_path / "out"), "--out", str(tmp_path / "page")])
    assert done.exit_code == 0, done.output
    found = segments(tmp_path / "out")
    assert found.at_risk is None and found.everyone.risk is None and found.everyone.at_stake is None
    assert "decide --model" in (tmp_path / "page" / "report.html").read_text()


def test_where_everybody_objects_nobody_is_scored(tmp_path):
    data = shop(tmp_path / "shop", 60)
    people = pd.read_csv(data / "market_file.csv").assign(consent_profiling=0)
    people.to_csv(data / "market_file.csv", index=False)
    nextbest.decide(data, "shop", as_of="2025-08-31", out=tmp_path / "out")
    with pytest.raises(UsageError, match="nobody was scored"):
        segments(tmp_path / "out")


def test_messages_that_lose_money_are_told(run):
    found = segments(run)
    first = pd.read_parquet(run / "decisions.parquet").query("rank == 1")
    sent = pd.read_parquet(run / "messages.parquet").query("withheld.isna()")["id"]
    losing = first[first["id"].isin(sent) & (first.expected_profit < 0)]
    assert found.losing.customers == len(losing) > 0 and found.losing.expected_profit == pytest.approx(losing.expected_profit.sum())
    assert found.known == found.everyone.customers


def test_a_playbook_may_forbid_what_loses_money(run, tmp_path):
    own = nextbest.copy("shop", tmp_path / "own")
    with (own / "contact.yaml").open("a") as file:
        file.write("minimum: {confidence: p.minimum_confidence, benefit: p.minimum_benefit, profit: p.minimum_profit}\n")
    with (own / "params.yaml").open("a") as file:
        file.write("\nminimum_profit: {unit: RUB, values: {2020-01-01: 0}, source: this shop's own rule}\n")
    found = nextbest.decide(run.parent / "shop", own, as_of="2025-08-31", out=tmp_path / "out")
    before = pd.read_parquet(run / "decisions.parquet").set_index(["id", "offer"])
    after = found.decisions.set_index(["id", "offer"]).loc[before.index]
    losing = (before.verdict == "ranked") & (before.expected_profit < 0)
    assert losing.sum() > 100 and (after.verdict[losing] == "weak").all() and (after.verdict[~losing] == before.verdict[~losing]).all()
    assert segments(found.folder).losing.customers == 0
    own_sums = after[after.expected_profit.isna()]
    assert (own_sums.verdict == before.verdict[own_sums.index]).all()


def test_what_is_no_number_or_no_probability_is_refused(run, tmp_path):
    own = nextbest.copy("shop", tmp_path / "own")
    text = (own / "playbook.yaml").read_text()
    for wrong, says in (("value: favourite", "no number"), ("value: margin_month, recency: tenure", "name both")):
        (own / "playbook.yaml").write_text(text.replace("value: margin_month", wrong))
        with pytest.raises(PlaybookError, match=says):
            nextbest.check(own)
    (own / "playbook.yaml").write_text(text.replace("risk: risk,", "risk: revenue_month,"))
    nextbest.decide(run.parent / "shop", str(own), as_of="2025-08-31", out=tmp_path / "out")
    with pytest.raises(UsageError, match="no probability"):
        segments(tmp_path / "out")


def test_a_playbook_without_worth_says_how_to_get_one(tmp_path):
    data = nextbest.synth(20, out=tmp_path / "data", seed=1)
    nextbest.decide(data, as_of="2025-08-31", out=tmp_path / "out")
    with pytest.raises(UsageError, match="worth"):
        segments(tmp_path / "out")


def test_recency_and_frequency_make_a_grid(run, tmp_path):
    """Any playbook that names both gets it; here two numbers of the shop stand in for them."""
    book = yaml.safe_load((run / "playbook" / "playbook.yaml").read_text())
    own = nextbest.copy("shop", tmp_path / "own")
    text = (own / "playbook.yaml").read_text()
    (own / "playbook.yaml").write_text(text.replace("risk: risk,", "risk: risk, recency: tenure, frequency: pages,"))
    assert book["worth"]["value"] == "margin_month"
    done = nextbest.decide(run.parent / "shop", str(own), as_of="2025-08-31", out=tmp_path / "out")
    grid = segments(done.folder).grid
    assert len(grid) == 25 and sum(cell.customers for cell in grid) == 600
    assert json.loads((done.folder / "run.json").read_text())["playbook"]["name"] == "shop"
    assert CliRunner().invoke(app, ["segments", str(done.folder), "--out", str(tmp_path / "page")]).exit_code == 0
