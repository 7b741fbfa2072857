"""A shop with nothing but invoices: everyone who bought is a customer, and each gets an offer on day one."""

import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import nextbest
from nextbest.cli import app
from nextbest.errors import DataError
from nextbest.services.purchases import train_purchases
from nextbest.services.segments import segments

AS_OF = "2025-08-31"


def invoices(customers=300, seed=0):
    """Everyone buys at a pace of their own, and after each purchase some leave."""
    chance = np.random.default_rng(seed)
    rows = []
    for code in range(customers):
        day, gap, leaves, days = chance.integers(100, 360), chance.uniform(10, 60), chance.beta(0.5, 3), []
        while day >= 0:
            days.append(int(day))
            day -= max(chance.exponential(gap), 1)
            if chance.random() < leaves:
                break
        rows.append(pd.DataFrame({"Customer": f"{code:04}", "day": days, "Total": chance.gamma(3, 800, len(days)).round(2)}))
    table = pd.concat(rows).drop_duplicates(["Customer", "day"])
    table["Invoice date"] = (pd.Timestamp(AS_OF) - pd.to_timedelta(table.day, unit="D")).dt.strftime("%Y-%m-%d")
    return table.drop(columns="day")


@pytest.fixture(scope="module")
def decided(tmp_path_factory):
    folder = tmp_path_factory.mktemp("invoices")
    (folder / "data").mkdir()
    table = invoices()
    table.to_csv(folder / "data" / "invoices_2025.csv", index=False)
    return nextbest.decide(folder / "data", "shop-invoices", as_of=AS_OF, out=folder / "out"), table


def test_the_playbook_is_sound():
    assert nextbest.check("shop-invoices").offers == 6


def test_everyone_who_bought_is_a_customer_with_an_offer_and_a_text(decided):
    run, table = decided
    assert set(run.recommendations.customer_id) == set(table.Customer)
    assert run.recommendations.push_notification.str.len().gt(0).mean() > 0.95
    assert run.decisions.query("rank == 1").offer.nunique() == 6
    assert not run.record["problems"]


def test_recency_frequency_and_money_are_those_of_the_invoices(decided):
    run, table = decided
    days = (pd.Timestamp(AS_OF) - pd.to_datetime(table["Invoice date"])).dt.days
    told = table.assign(days=days).groupby("Customer").agg(recency=("days", "min"), purchases=("days", "size"), spent=("Total", "sum"))
    features = run.features.set_index("customer_id")
    for name in told:
        pd.testing.assert_series_equal(features[name], told[name].astype(float), check_names=False, check_index_type=False)


def test_offers_follow_the_pace_of_each(decided):
    run, _ = decided
    first = run.decisions.query("rank == 1").merge(run.features, on="customer_id")
    assert (first[first.offer == "comeback-discount"].overdue > 1.5).all()
    assert (first[first.offer == "second-purchase"].purchases == 1).all()
    assert first[first.offer == "loyalty-gift"].purchases.mean() > 1.3 * first.purchases.mean()


def test_groups_and_a_grid_on_day_one(decided):
    run, _ = decided
    found = segments(run.folder)
    assert {group.name for group in found.declared} == {"champions", "newcomers", "slipping", "lost"}
    assert sum(cell.customers for cell in found.grid) == found.everyone.customers
    assert found.everyone.expected_profit is not None and found.at_risk is None


def test_a_table_of_customers_brings_names_and_consents(tmp_path):
    table = invoices(60)
    table.to_csv(tmp_path / "orders.csv", index=False)
    people = pd.DataFrame({"customer": table.Customer.unique(), "имя": "Анна"})
    people["consent_marketing"] = people.index % 2
    people.to_csv(tmp_path / "customers.csv", index=False)
    run = nextbest.decide(tmp_path, "shop-invoices", as_of=AS_OF, out=tmp_path / "out")
    messages = run.messages.set_index("customer_id")
    assert messages.message.dropna().str.startswith("Анна, за год").any()
    refused = people.customer[people.consent_marketing == 0]
    assert messages.message[messages.index.isin(refused)].isna().all()


def test_odd_rows_are_told_once(tmp_path):
    table = invoices(40).astype(object).reset_index(drop=True)
    table.loc[0, "Total"], table.loc[1, "Customer"], table.loc[2, "Invoice date"] = "much", "", "2027-01-01"
    table.to_csv(tmp_path / "sales.csv", index=False)
    with (tmp_path / "sales.csv").open("a") as file:
        file.write("0001,100,2025-08-01,and,more\n")
    run = nextbest.decide(tmp_path, "shop-invoices", as_of=AS_OF, out=tmp_path / "out")
    assert {item["problem"]: item["rows"] for item in run.record["problems"]} == {
        "bad_amount": 1,
        "no_id": 1,
        "after_as_of": 1,
        "malformed_row": 1,
    }
    assert len(run.record["problems"]) == len(run.rejects) == 4


def test_no_invoices_is_told(tmp_path):
    (tmp_path / "customers.csv").write_text("customer_id\n1\n")
    with pytest.raises(DataError, match="no file for 'invoices'"):
        nextbest.decide(tmp_path, "shop-invoices", as_of=AS_OF, out=tmp_path / "out")


@pytest.fixture(scope="module")
def trained(decided, tmp_path_factory):
    run, _ = decided
    folder = tmp_path_factory.mktemp("purchases")
    done = CliRunner().invoke(
        app, ["train", str(run.folder.parent / "data"), "--task", "purchases", "--as-of", AS_OF, "--out", str(folder / "model")]
    )
    assert done.exit_code == 0, done.output
    nextbest.decide(run.folder.parent / "data", "shop-invoices", as_of=AS_OF, out=folder / "out", models=[folder / "model"])
    return folder


def test_the_card_tells_how_the_days_kept_back_were_forecast(trained):
    figures = json.loads((trained / "model" / "card.json").read_text())["figures"]
    assert figures["expected"] == pytest.approx(figures["came"], rel=0.25) and figures["rank_correlation"] > 0.5
    assert figures["mean_error"]["value"] < figures["mean_error_of_own_rate"]["value"]


def test_who_has_stopped_is_at_risk_and_gets_the_come_back_offer(trained):
    features = pd.read_parquet(trained / "out" / "features.parquet").set_index("customer_id")
    several = features[features.purchases >= 4]
    assert several.alive[several.recency > 110].mean() < 0.4 < 0.7 < several.alive[several.overdue < 1.5].mean()
    assert (features.value_ahead >= 0).all() and (features.lapse + features.alive == 1).all()
    first = pd.read_parquet(trained / "out" / "decisions.parquet").query("rank == 1").set_index("customer_id").offer
    assert (first[several.index[several.lapse > 0.8]] == "comeback-discount").mean() > 0.8
    at_risk = segments(trained / "out").at_risk
    assert at_risk.customers == (features.lapse >= 0.5).sum() > 20


def test_several_lines_of_one_day_are_one_purchase(tmp_path):
    table = invoices(60)
    pd.concat([table, table.assign(Total=10.0)]).to_csv(tmp_path / "orders.csv", index=False)
    run = nextbest.decide(tmp_path, "shop-invoices", as_of=AS_OF, out=tmp_path / "out")
    days = table.groupby("Customer")["Invoice date"].nunique()
    pd.testing.assert_series_equal(
        run.features.set_index("customer_id").purchases, days.astype(float), check_names=False, check_index_type=False
    )


def test_too_few_who_came_back_is_told(tmp_path):
    invoices(20).to_csv(tmp_path / "orders.csv", index=False)
    with pytest.raises(DataError, match="bought more than once"):
        train_purchases(tmp_path, out=tmp_path / "model", as_of=AS_OF)
