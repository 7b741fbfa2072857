"""What rows add up to, cell by cell, against plain Python; and the same however many turns and batches it takes."""

import math
import os
import random
import subprocess
import sys
from datetime import date, timedelta

import pandas as pd
import pytest

from nextbest.engines.duckdb import DuckDBEngine
from nextbest.intake.files import find
from nextbest.plan import features
from nextbest.plan.stage import quote
from nextbest.plan.staging import REJECTED
from nextbest.playbook.bind import PARTIAL, bound, keys_of
from nextbest.playbook.load import find as playbook
from nextbest.playbook.load import load
from nextbest.playbook.reference import empty_row
from nextbest.playbook.window import last_month, month_starts
from nextbest.rules.parse import cell
from nextbest.rules.reference import evaluate
from nextbest.services import summing
from nextbest.services.reading import Reading

DAY = date(2025, 8, 31)
CUSTOMERS = 40


def written(book, draw, folder):
    """Tables of random rows: of nobody known, twice the same, foreign, negative and unreadable ones among them."""
    business = book.model.business
    for name, source in business.sources.items():
        rows = []
        for number in range(CUSTOMERS) if name == business.customers else [draw.randrange(CUSTOMERS + 2) for _ in range(600)]:
            row = {column: value(column, item, draw) for column, item in source.columns.items()}
            rows.append(row | {source.code: f"c{number:02}"})
        if name != business.customers:
            rows += draw.sample(rows, 40)
        frame = pd.DataFrame(rows)
        path = folder / source.files[0].replace("*", "")
        frame.to_parquet(path.with_suffix(".parquet")) if draw.random() < 0.5 else frame.to_csv(path.with_suffix(".csv"), index=False)
    return folder


def value(name, column, draw):
    if column.type == "category" and column.values:
        return draw.choice([*column.values[:3], column.values[-1], "Что-то ещё"])
    if column.type == "date":
        return (
            f"{DAY - timedelta(days=draw.randrange(-3, 99))} 1{draw.randrange(10)}:20:30"
            if draw.random() < 0.8
            else f"{DAY - timedelta(days=7)}"
        )
    if column.type == "money":
        return draw.choice(["12.50", "-3", "100000", "0", "many", "7,25", str(draw.randrange(1, 40000))])
    if column.type in ("integer", "number"):
        return str(draw.randrange(1, 29))
    return {"flag": draw.choice(["yes", "no"]), "list": "", "text": "x"}.get(column.type, "")


def expected(book, engine):
    """Customer → every cell, in plain Python over the rows as they were read."""
    business, found = book.model.business, {}
    customers = rows_of(engine, business.customers)
    for customer in customers:
        found[customer[book.code]] = {name: of for name, of in empty_row(book).items() if name.endswith("]")} | {PARTIAL: set()}
    month, starts = last_month(DAY), month_starts(DAY, business.horizon_months)
    own = {customer[book.code]: customer for customer in customers}
    for measure in book.measures.values():
        days = {}
        seen = set()
        for row in rows_of(engine, measure.of):
            code = row[business.sources[measure.of].code]
            if row["problem"] in REJECTED or (row["row_hash"] is not None and row["row_hash"] in seen):
                continue
            seen.add(row["row_hash"])
            if measure.over == "last_month" and not month.start <= row["date"] <= month.end:
                continue
            key, keys = key_of(book, measure, row, own[code], starts), keys_of(book.model, measure)
            cells, amount = found[code], row["value"]
            if math.isinf(amount):  # in a currency that nobody knows: it may be any
                cells[PARTIAL] |= {cell(measure.sum, each) for each in keys if measure.by == "currency" or each == key}
            if key not in keys:
                continue
            cells[cell(measure.sum, key)] += 0 if math.isinf(amount) else amount / 100
            cells[cell(measure.count, key)] += amount > 0
            ago = (DAY - row["date"]).days if row.get("date") else None
            for series, edge in ((measure.since, min), (measure.first, max)):
                if series:
                    known = cells[cell(series, key)]
                    cells[cell(series, key)] = ago if known is None else edge(ago, known)
            if measure.days and amount > 0:
                days.setdefault((code, key), set()).add(row["date"])
        for (code, key), different in days.items():
            found[code][cell(measure.days, key)] = len(different)
    return found


def key_of(book, measure, row, customer, starts):
    if measure.by == "all":
        return "all"
    if measure.by == "month_back":
        return str(1 + next(back for back, start in enumerate(starts) if row["date"] >= start))
    if measure.by == "currency":
        return row["currency"] or book.model.business.currency
    if measure.payday:
        day = customer[measure.payday.day]
        if day is None:
            return None
        paydays = []
        for months in (-1, 0, 1):
            first = (row["date"].replace(day=1) + timedelta(days=31 * months)).replace(day=1)
            last = (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)
            paydays.append(first + timedelta(days=min(int(day), last.day) - 1))
        return "near" if min(abs((row["date"] - paid).days) for paid in paydays) <= evaluate(book.paydays[measure.sum], {}) else "far"
    return row[measure.by]


def rows_of(engine, table):
    found = engine.connection.execute(f"select * from {quote(table)}")
    names = [column[0] for column in found.description]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def summed(book, data, temp):
    """Customer → cells as they were added up, with what was odd; and what they should be."""
    with DuckDBEngine(temp) as engine:
        reading = Reading(book, find(data, {}, book.model.business.sources), engine, temp)
        reading.customers()
        engine.create(features.left_alone(book))
        summing.sum_up(reading)
        found = {row[book.code]: row for row in rows_of(engine, features.SUMMED)}
        alone = {code for (code,) in engine.rows(f"select {quote(book.code)} from left_alone")}
        assert {code for code, row in found.items() if row[features.ALONE]} == alone
        rejects = engine.rows("select * from rejects order by all")
        return found, (reading.listed(), reading.counts, rejects), expected(book, engine)


@pytest.mark.parametrize("name", ["bank-kz", "private-bank", "shop", "shop-invoices", "upsell"])
def test_rows_add_up_as_in_plain_python(name, tmp_path, monkeypatch):
    book = bound(load(playbook(name)), DAY)
    data = tmp_path / "data"
    data.mkdir()
    written(book, random.Random(name), data)
    found, told, should = summed(book, data, tmp_path)
    assert found.keys() == should.keys()
    cells = [item for needed in book.cells.values() for item in needed]
    for code, row in found.items():
        for item in cells:
            assert row[item.column] == pytest.approx(should[code][item.column]), (code, item.column)
        assert len(row[PARTIAL]) == len(set(row[PARTIAL])) and set(row[PARTIAL]) == should[code][PARTIAL] & book.sums
    assert not cells or any(row[item.column] for row in found.values() for item in cells)

    monkeypatch.setattr(summing, "MOST_CELLS", 12 * max(1, len(cells)))  # a dozen customers a turn
    monkeypatch.setattr(summing, "ROWS", 7)  # and two tables at once
    again, told_again, _ = summed(book, data, tmp_path)
    assert (again, told_again) == (found, told)


MOMENTS = """
import sys
from datetime import date
from nextbest.playbook.bind import bound
from nextbest.playbook.load import find, load
from nextbest.services.progress import silent
from nextbest.services.summing import read_customers
with read_customers(sys.argv[1], bound(load(find("shop-invoices")), date(2025, 8, 31)), silent) as reading:
    print(reading.listed(), reading.engine.rows('select "spent_back[1]", "spent_back[2]" from features'))
"""


def test_a_moment_is_of_the_same_day_in_every_time_zone(tmp_path):
    """Rows stream on connections of their own: the machine's zone is not theirs."""
    moments = pd.to_datetime(["2025-08-31 20:30:00+00:00", "2025-07-31 22:00:00+00:00", "2025-08-01 01:00:00+00:00"])
    pd.DataFrame({"customer": ["a"] * 3, "date": moments, "amount": [10.0, 20.0, 40.0]}).to_parquet(tmp_path / "invoices.parquet")
    for zone in ("UTC", "Asia/Almaty"):
        done = subprocess.run([sys.executable, "-c", MOMENTS, tmp_path], env=os.environ | {"TZ": zone}, capture_output=True, text=True)
        assert done.stdout.strip() == "[] [(50.0, 20.0)]", (zone, done.stderr)
