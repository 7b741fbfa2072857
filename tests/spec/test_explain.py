"""Explain: read from the record, term by term, with the rows behind each number."""

import pandas as pd
import pytest
from tests.conftest import Bank

import nextbest
from nextbest.errors import UsageError
from nextbest.report.console import explanation_html


def test_every_offer_is_explained(demo):
    item = nextbest.explain(demo.folder, 1)
    assert len(item.offers) == 10
    assert [offer.rank for offer in item.offers if offer.rank] == list(range(1, 1 + sum(o.rank is not None for o in item.offers)))
    for offer in item.offers:
        assert sum(term.amount for term in offer.terms) == pytest.approx(offer.benefit)
        assert offer.verdict == "ranked" or offer.failed
        assert offer.change or offer.rank == 1


def test_an_output_that_is_not_whole_is_told(bank: Bank):
    run = bank.decide()
    (run.folder / "decisions.parquet").unlink()
    with pytest.raises(UsageError, match=r"decisions\.parquet: the file does not exist"):
        nextbest.explain(run.folder, 1)
    (run.folder / "run.json").write_text("{")
    with pytest.raises(UsageError, match=r"run\.json: damaged"):
        nextbest.explain(run.folder, 1)


def test_the_rows_behind_a_number_are_those_of_the_file(bank: Bank):
    bank.add("transactions.csv", "1,2025-06-03,Отели,50000,KZT", "1,2025-07-03,Отели,70000.50,KZT")
    bank.decide()
    travel = next(o for o in nextbest.explain(bank.folder / "out", 1).offers if o.offer == "travel-card")
    term = next(t for t in travel.terms if t.name == "travel")
    assert [(b.cell, b.count, b.sum) for b in term.behind] == [("Отели", 2, 120000.5)]
    assert term.amount == pytest.approx(0.04 * 120000.5 / 3, abs=0.01)
    today = next(t for t in travel.terms if t.name == "today")
    months = {b.cell.removeprefix("траты по месяцам "): (b.count, b.sum) for b in today.behind if b.cell.startswith("траты по месяцам ")}
    assert months == {"2025-08": (1, 2500.0), "2025-07": (1, 70000.5), "2025-06": (1, 50000.0)}


def test_a_month_that_is_none_of_the_calendars_is_named_by_its_days(bank: Bank):
    bank.add("transactions.csv", "1,2025-07-20,Отели,50000,KZT")
    nextbest.decide(bank.write(), as_of="2025-08-15", out=bank.folder / "out")
    travel = next(o for o in nextbest.explain(bank.folder / "out", 1, language="en").offers if o.offer == "travel-card")
    today = next(t for t in travel.terms if t.name == "today")
    assert ("card spending by month 2025-07-16…2025-08-15", 52500.0) in [(b.cell, b.sum) for b in today.behind]


def test_why_not_and_what_would_change_it(bank: Bank):
    bank.tables["clients.csv"] = str(bank.tables["clients.csv"]).replace(",34,", ",16,")
    bank.decide()
    for offer in nextbest.explain(bank.folder / "out", 1, language="en").offers:
        assert offer.verdict == "ineligible"
        adult = next(f for f in offer.failed if f.rule == "adult")
        assert adult.values == {"age": 16, "p.adult_age": 18} and adult.reason == "Under 18 or age unknown"
        assert any("age >= p.adult_age" in change for change in offer.change)


def test_a_signal_that_would_put_an_offer_first_is_named(bank: Bank):
    bank.decide()
    item = nextbest.explain(bank.folder / "out", 1, language="en")
    gold = next(o for o in item.offers if o.offer == "gold-bars")
    assert "«Buys and sells gold» at full strength would put it first" in gold.change


def test_what_is_too_weak_says_which_minimum_it_misses_and_no_signal_that_would_not_help(bank: Bank):
    """More taxis taken back than taken: the card would cost more than it gives, however much speaks for it."""
    bank.add("transactions.csv", "1,2025-08-03,Такси,-100000,KZT")
    bank.decide()
    travel = next(o for o in nextbest.explain(bank.folder / "out", 1, language="en").offers if o.offer == "travel-card")
    assert travel.verdict == "weak" and travel.benefit < 0
    assert travel.change == [f"its benefit of {travel.benefit:,.0f} a month is below the minimum of 0"]


def test_numbers_of_the_text_are_recorded_facts(demo):
    facts = nextbest.score(demo.folder, reference=_reference(demo)).per_customer
    assert (facts.personalisation == 5).all()


def _reference(run):
    path = run.folder.parent / "reference.csv"
    names = run.decisions[["offer", "product"]].drop_duplicates()
    truth = pd.read_csv(run.folder.parent / "data" / "truth.csv").merge(names, on="offer")
    truth[["client_code", "product"]].to_csv(path, index=False)
    return path


def test_the_known_truth_of_the_synthetic_bank_is_found(demo):
    result = nextbest.score(demo.folder, reference=_reference(demo))
    assert result.first_right >= 54
    assert result.message == 20


def test_an_unknown_customer_is_a_clear_error(demo):
    with pytest.raises(UsageError, match="no such customer"):
        nextbest.explain(demo.folder, "nobody")
    with pytest.raises(UsageError, match="not an output folder"):
        nextbest.explain(demo.folder.parent, 1)
    with pytest.raises(UsageError, match="not a language"):
        nextbest.explain(demo.folder, 1, language="fr")


def test_it_shows_in_a_notebook(demo):
    assert "Customer 1" in explanation_html(nextbest.explain(demo.folder, 1))
    assert "<table" in demo._repr_html_()
