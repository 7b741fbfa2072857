"""The playbooks shop and upsell: their files are sound, and decide runs on tables in their shape."""

import pandas as pd
import pytest
from tests.learning.conftest import world
from tests.learning.test_activity import shop

import nextbest
from nextbest.errors import PlaybookError
from nextbest.playbook.reference import outcome


@pytest.mark.parametrize("name, offers", [("shop", 8), ("upsell", 10)])
def test_the_files_are_sound(name, offers):
    assert nextbest.check(name).offers == offers


def test_a_shop_decides_for_those_who_allow_messages(tmp_path):
    run = nextbest.decide(shop(tmp_path / "shop", 120), "shop", as_of="2025-08-31", out=tmp_path / "out")
    people = pd.read_csv(tmp_path / "shop" / "market_file.csv").set_index("id")
    messages = pd.read_parquet(tmp_path / "out" / "messages.parquet").set_index("id")
    written = messages.message.notna()
    assert written.any() and set(people["Разрешить сообщать"][messages.index[written]]) == {"да"}
    assert (messages.withheld[~written] == "consent").all()
    assert run.recommendations["product"].nunique() >= 6
    assert messages.message[written].str.contains("₽|товаров|сбоев").all()


def test_upsell_decides_by_kind_of_product_and_never_below_eight_tenths(tmp_path):
    nextbest.decide(world(tmp_path / "bank", 80), "upsell", as_of="2025-10-24", out=tmp_path / "out")
    decisions = pd.read_parquet(tmp_path / "out" / "decisions.parquet")
    incomes = pd.read_csv(tmp_path / "bank" / "customers.csv").set_index("customer_id").income
    home = decisions[decisions.offer == "home-loan"].set_index("customer_id")
    assert (home.eligible == (incomes >= 0.8 * 7)).all()
    messages = pd.read_parquet(tmp_path / "out" / "messages.parquet")
    assert messages.message.str.startswith("Over six months you made").sum() > 60


def test_what_an_offer_is_worth_to_the_shop_is_what_the_oracle_says(tmp_path):
    data = shop(tmp_path / "shop", 60)
    people = pd.read_csv(data / "market_file.csv")
    people.assign(Риск=[0.9, 0.2, None] * 20).to_csv(data / "market_file.csv", index=False)
    run = nextbest.decide(data, "shop", as_of="2025-08-31", out=tmp_path / "out")
    offers, rows = {offer.id: offer for offer in run.book.offers}, run.features.astype(object).where(run.features.notna(), None)
    rows = {row["id"]: row for row in rows.to_dict("records")}
    unknown = 0
    for record in run.decisions.to_dict("records"):
        expected = outcome(run.book, offers[record["offer"]], rows[record["id"]]).expected_profit
        unknown += expected is None
        assert (expected is None) == pd.isna(record["expected_profit"])
        assert expected is None or record["expected_profit"] == pytest.approx(expected)
    assert unknown == 20 * len(offers)


def test_profit_that_the_shop_counts_goes_before_a_share_of_the_revenue(tmp_path):
    data = shop(tmp_path / "shop", 60)
    without = nextbest.decide(data, "shop", as_of="2025-08-31", out=tmp_path / "without")
    (data / "money.csv").write_text("id;Прибыль\n1;4,98\n2;-15,5\n")
    found = nextbest.decide(data, "shop", as_of="2025-08-31", out=tmp_path / "with")
    before, after = (pd.read_parquet(run.folder / "features.parquet").set_index("id").margin_month for run in (without, found))
    assert after[[1, 2]].tolist() == [4.98, -15.5]
    assert (after.drop([1, 2]) == before.drop([1, 2])).all() and not (after[[1, 2]] == before[[1, 2]]).any()


def test_customers_are_no_optional_table(tmp_path):
    book = nextbest.copy("shop", tmp_path / "shop")
    text = (book / "playbook.yaml").read_text()
    (book / "playbook.yaml").write_text(text.replace("  customers:\n    files", "  customers:\n    optional: true\n    files"))
    with pytest.raises(PlaybookError, match="there are always customers"):
        nextbest.decide(shop(tmp_path / "data", 60), book, as_of="2025-08-31", out=tmp_path / "out")
