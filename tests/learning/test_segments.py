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
from nextbest.errors import UsageError
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
    assert group.at_stake == pytest.approx((inside.risk * inside.margin_month).sum())
    assert group.value.low < group.value.value < group.value.high


def test_what_is_expected_counts_only_those_who_get_a_message(run):
    found = segments(run).everyone
    decisions = pd.read_parquet(run / "decisions.parquet").query("rank == 1")
    sent = pd.read_parquet(run / "messages.parquet").query("withheld.isna()")["id"]
    first = decisions[decisions["id"].isin(sent)]
    assert found.expected_profit == pytest.approx(first.expected_profit.sum())
    assert sum(item.customers for item in found.offers) == len(first) < len(decisions)


def test_who_is_at_risk_differs_in_what_makes_the_risk_and_in_little_else(run):
    found = segments(run).at_risk
    beyond_chance = [item for item in found.profile if item.p < 0.05]
    assert beyond_chance[0].feature == "pages" and beyond_chance[0].size < -1
    assert len({item.feature for item in beyond_chance}) <= 3
    assert not {"risk", "at_stake", "activity"} & {item.feature for item in found.profile}


def test_a_found_group_is_a_rule_that_a_playbook_can_take(run, tmp_path):
    found = segments(run)
    assert found.found and "pages <= 5.5" in found.found[0].when
    found.write(tmp_path / "page")
    own = nextbest.copy("shop", tmp_path / "own")
    rules = (own / "segments.yaml").read_text() + (tmp_path / "page" / "found.yaml").read_text()
    (own / "segments.yaml").write_text(rules)
    assert nextbest.check(own).offers == 8
    assert yaml.safe_load(rules)["found_1"]["when"] == found.found[0].when
    members = pd.read_parquet(tmp_path / "page" / "members.parquet")
    assert members.found_1.sum() == found.found[0].customers and len(members) == 600


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
    assert "прогноза" in (tmp_path / "page" / "report.html").read_text()


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
