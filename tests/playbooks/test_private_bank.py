"""A playbook whose customers are one table: no transactions, each product's own minimums, segments, gaps."""

import random
from datetime import date

import pyarrow.parquet as pq
import pytest

import nextbest
from nextbest.playbook.bind import bound
from nextbest.playbook.load import load
from nextbest.playbook.reference import outcome, with_features

HEADER = "customer_id,age,income,existing_products,credit_score,avg_account_balance\n"


def decided(folder, *rows):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "customers.csv").write_text(HEADER + "".join(row + "\n" for row in rows))
    return nextbest.decide(folder, "private-bank", as_of="2025-08-31", out=folder / "out").decisions


def ranked(decisions, customer):
    own = decisions[(decisions.customer_id == customer) & decisions["rank"].notna()].sort_values("rank")
    return dict(zip(own.offer, own.confidence, strict=True))


def test_the_playbook_is_sound():
    checked = nextbest.check("private-bank")
    assert checked.offers >= 12 and checked.examples >= 30


def test_confidence_is_40_for_income_30_for_credit_20_for_balance_10_for_age(tmp_path):
    """A basic card asks for 25,000 a year, a score of 700 and 2,000 on the account for the full hundred."""
    d = decided(tmp_path, "full,30,25000,,700,2000", "half,30,25000,,625,1000", "less,30,20000,,700,2000")
    assert ranked(d, "full")["basic-credit-card"] == 100
    assert ranked(d, "half")["basic-credit-card"] == 40 + 30 * 0.5 + 20 * 0.5 + 10
    assert ranked(d, "less")["basic-credit-card"] == 40 * 0.8 + 30 + 20 + 10


def test_a_premium_product_asks_for_more_credit(tmp_path):
    d = decided(tmp_path, "a,40,90000,,670,20000", "b,40,90000,,680,20000")
    assert "premium-credit-card" not in ranked(d, "a") and "basic-credit-card" in ranked(d, "a")
    assert "premium-credit-card" in ranked(d, "b")


def test_age_is_a_gate_and_ranks_nobody(tmp_path):
    d = decided(tmp_path, *(f"a{age},{age},90000,,760,20000" for age in (25, 35, 50, 80)))
    first = ranked(d, "a25")
    assert first and all(ranked(d, f"a{age}") == first for age in (35, 50, 80))
    assert not ranked(decided(tmp_path / "young", "child,17,90000,,760,20000"), "child")


def test_nothing_held_is_offered_by_any_of_its_names(tmp_path):
    d = decided(tmp_path, 'a,40,90000,"Premium Card; SAVINGS | fixed-deposit",780,60000')
    assert not {"premium-credit-card", "savings-account", "fixed-deposit"} & set(ranked(d, "a"))


def test_a_gap_in_the_portfolio_is_named_and_counts(tmp_path):
    d = decided(tmp_path, "none,40,90000,,780,60000", "card,40,90000,basic credit card,780,60000").set_index(["customer_id", "offer"])
    assert "nothing in credit cards yet" in d.loc[("none", "premium-credit-card"), "reasons"]
    assert "nothing in credit cards yet" not in d.loc[("card", "premium-credit-card"), "reasons"]
    assert d.loc[("none", "premium-credit-card"), "score"] > d.loc[("card", "premium-credit-card"), "score"]


@pytest.mark.parametrize(
    ("row", "segment", "offer"),
    [
        ("a,26,55000,,700,4000", "young professionals", "investment-account"),
        ("a,40,120000,,700,4000", "affluent", "premium-credit-card"),
        ("a,50,60000,,700,4000", "retirement", "retirement-account"),
        ("a,33,30000,,560,900", "build up their credit", "secured-card"),
    ],
)
def test_segments_name_what_is_typical(tmp_path, row, segment, offer):
    d = decided(tmp_path, row).set_index("offer")
    assert segment in d.loc[offer, "reasons"]


def test_only_above_30(tmp_path):
    d = decided(tmp_path, *(f"c{n},{20 + n % 50},{n * 900},,{300 + n * 4},{n * 100}" for n in range(120)))
    assert (d[d["rank"].notna()].confidence > 30).all()
    assert (d.confidence <= 30).any()


def test_the_engine_agrees_with_the_oracle_on_random_customers(tmp_path):
    rng = random.Random(5)
    names = ["", "basic credit card", "savings", "Life insurance", "gold loan"]
    rows = [
        f"{n},{rng.choice(['', rng.randint(15, 80)])},{rng.choice(['', rng.randint(0, 300_000)])},{rng.choice(names)}|{rng.choice(names)},"
        f"{rng.choice(['', rng.randint(300, 850)])},{rng.randint(-500, 300_000)}"
        for n in range(300)
    ]
    d = decided(tmp_path, *rows)
    book = bound(load("private-bank"), date(2025, 8, 31))
    offers = {offer.id: offer for offer in book.offers}
    features = pq.read_table(tmp_path / "out" / "features.parquet").to_pylist()
    seen = {item["customer_id"]: with_features(book, {name: item[name] for name in book.customer_columns}) for item in features}
    assert [item["affluent"] for item in features] == [row["affluent"] for row in seen.values()]
    for item in d.itertuples():
        row = seen[item.customer_id]
        said = outcome(book, offers[item.offer], row)
        assert (item.eligible, item.suitable) == (said.eligible, said.suitable)
        assert item.score == pytest.approx(said.score, abs=1e-4)  # its benefit is money, rounded to the cent
        assert item.confidence == pytest.approx(said.confidence, abs=0.11)
        assert float(item.benefit) == pytest.approx(said.benefit, abs=0.011)


def test_gaps_and_segments_are_named_for_the_customer(tmp_path):
    decided(tmp_path, "a,50,120000,basic credit card|insurance,780,60000")
    said = nextbest.explain(tmp_path / "out", "a")
    assert said.gaps == ["loans", "savings", "investments", "retirement", "wealth management"]
    assert said.segments == ["typical for affluent customers", "typical for people who plan their retirement"]
