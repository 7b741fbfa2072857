"""One customer decided by rows and by DuckDB: the same reply, and the same record, whatever was posted."""

import os
import random
from datetime import date, timedelta

import pytest

from nextbest.errors import NextbestError
from nextbest.playbook.bind import bound
from nextbest.playbook.load import find, load
from nextbest.services.moment import moment_of
from nextbest.services.online import Online
from nextbest.store import ledger, tables
from nextbest.store.workspace import Workspace

DAY = date(2025, 8, 31)
PLAYBOOKS = ("bank-kz", "bank-kz-retention", "private-bank", "retail-bank", "shop", "shop-invoices", "upsell")
MOST = 60 if os.environ.get("NEXTBEST_PROOF") == "full" else 6
NUMBERS = (0, 1, 2.5, -3, 100000, 680, 35, "1 234,50", "12.5", "1e3", "many", "", 1e15, "$10", "-€5", "− 5 ₸", "10 тг.", "$")


def cell(draw, column):
    """A value such as people send: mostly one that fits the column, now and then none, or one that does not."""
    if draw.random() < 0.06:
        return None
    if column.values and draw.random() < 0.9:
        return draw.choice(list(column.values))
    if column.type == "date":
        day = DAY - timedelta(days=draw.randrange(-5, 100))
        forms = (day.isoformat(), day.strftime("%d.%m.%Y"), f"{day}T10:20:30", f"{day} 10:20:30.250", "soon")
        return draw.choices(forms, (6, 2, 2, 2, 1))[0]
    if column.type in ("money", "number", "integer") and draw.random() < 0.15:
        return draw.choice(NUMBERS)
    if column.type == "integer":
        return draw.choice([draw.randrange(20, 70), draw.randrange(600, 850)])
    if column.type in ("money", "number"):
        return round(draw.expovariate(1 / 60000), 2)
    if column.type == "flag":
        return draw.choices([True, "yes", "нет", False, "perhaps"], (8, 4, 1, 1, 1))[0]
    return draw.choice(["ru", "en", "Анна", "Карта; Deposit", "x'y", "USD", "Straße"])


def posted(book, draw, number):
    """The tables of one customer, at random."""
    business = book.model.business
    return {
        name: [
            {column: f"c{number}" if column == source.code else cell(draw, item) for column, item in source.columns.items()}
            for _ in range(1 if name == business.customers else draw.randrange(0, 30))
        ]
        for name, source in business.sources.items()
    }


def said_by(online, rows, **options):
    try:
        return online.decide(rows, moment=moment_of(None, online.book), **options)
    except NextbestError as error:
        return error.problems


@pytest.fixture(params=PLAYBOOKS)
def book(request):
    return bound(load(find(request.param)), DAY)


def in_duckdb(online):
    """The same, with rows given up."""
    online._rows = None
    return online


def test_rows_decide_as_duckdb_does(book):
    rows, other = Online(book), in_duckdb(Online(book))
    draw = random.Random(5)
    offers = 0
    for number in range(MOST):
        customer = posted(book, draw, number)
        said = said_by(rows, customer)
        assert said == said_by(other, customer), number
        offers += isinstance(said, dict) and len(said["offers"])
    assert offers and rows._rows is not None and rows._repeated is None  # nothing was beyond rows


@pytest.mark.parametrize("day", ["0000-12-31", "0001-01-01 (BC)", "294247-01-10"])
def test_a_day_beyond_what_python_knows_is_left_to_duckdb(day):
    online = Online(bound(load(find("bank-kz")), DAY))
    clients = [{"client_code": "A1", "age": 34, "balance": 150000}]
    hotels = [{"date": date, "category": "Отели", "amount": 90000} for date in (day, "2025-08-01")]
    said = said_by(online, {"clients": clients, "transactions": hotels})
    assert [problem["rows"] for problem in said["problems"] if problem["table"] == "transactions"] == [1]
    assert online._rows is not None  # for the others


def test_rows_that_do_not_count_are_told_and_do_not_refuse_the_customer():
    online = Online(bound(load(find("bank-kz")), DAY))
    clients = [{"client_code": "A1", "age": 34, "balance": 150000}]
    said = said_by(online, {"clients": clients, "transactions": [{"date": "2025-01-10", "category": "Отели", "amount": 90000}]})
    assert [(problem["table"], problem["problem"]) for problem in said["problems"]] == [("transactions", "before_window")]


def test_rows_record_what_duckdb_records(book, tmp_path):
    draw = random.Random(7)
    customers = [posted(book, draw, number) for number in range(3)]
    kept = {}
    for name, change in (("rows", lambda online: online), ("duckdb", in_duckdb)):
        workspace = Workspace(tmp_path / name)
        online = change(Online(book, None, workspace))
        replies = [said_by(online, customer, record=record) for customer in customers for record in (True, False)]
        with workspace.reading() as connection:
            found = connection.execute(tables.entry.select().order_by(tables.entry.c.seq)).all()
        kept[name] = (replies, [(entry.run_id, ledger.unpacked(entry.content).drop_columns("salt").to_pylist()) for entry in found])
        assert len(found) == sum(
            isinstance(reply, dict) and bool(reply["run_id"]) for reply in replies
        )  # everyone's, not the first one's alone
        assert name == "duckdb" or online._rows is not None
    assert kept["rows"] == kept["duckdb"]
    assert kept["rows"][1]
