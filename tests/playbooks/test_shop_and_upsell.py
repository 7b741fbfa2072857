"""The playbooks shop and upsell: their files are sound, and decide runs on tables in their shape."""

import pandas as pd
import pytest
from tests.learning.conftest import world
from tests.learning.test_activity import shop

import nextbest


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
