"""Results: a run's customers a page at a time, filtered and sorted where the files are, and charts of those filtered."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import duckdb

from nextbest.intake.scan import parquet
from nextbest.plan.stage import quote, text
from nextbest.run import Run
from nextbest.services.left_out import NOBODY, LeftOut, kept

SORTS = ("customer", "product", "benefit", "confidence")
BINS = 10


@dataclass(frozen=True)
class Chosen:
    """Which customers: those whose code begins so, who get one of the offers first, are in the segment, have a message or none,
    and whose first offer has at least this confidence (0 to 100). The default is everyone."""

    code: str = ""
    offers: tuple[str, ...] = ()
    segment: str = ""
    message: Literal["any", "with", "without"] = "any"
    sure: float = 0.0


EVERYONE = Chosen()


@dataclass(frozen=True)
class Found:
    """A page of the customers chosen, how many they are, and how many there are."""

    rows: list[dict[str, Any]]
    chosen: int
    total: int


def page(
    run: Run,
    chosen: Chosen,
    left_out: LeftOut = NOBODY,
    *,
    sort: str = "customer",
    descending: bool = False,
    offset: int = 0,
    limit: int = 25,
) -> Found:
    """A row per customer: customer, offer, product, benefit (a month), confidence (0 to 100), message, withheld.

    Ties are in the order of the codes. Raises ValueError for an unknown `sort`.
    """
    if sort not in SORTS:
        raise ValueError(f"sort is one of {', '.join(SORTS)}")
    way = "desc nulls last" if descending else "asc nulls last"
    with _connected() as connection:
        listed = _listed(connection, run, chosen, left_out)
        counted = connection.execute(f"select count(*) from ({listed})").fetchall()[0][0]
        total = connection.execute(f"select count(*) from ({_listed(connection, run, EVERYONE, left_out)})").fetchall()[0][0]
        order = f"place {'desc' if descending else 'asc'}" if sort == "customer" else f"{quote(sort)} {way}, place"
        # Texts are long: they are fetched for the rows of the page alone.
        found = connection.execute(
            f"with shown as (from ({listed}) order by {order} limit {int(limit)} offset {int(offset)}) "
            f"select shown.* exclude (place), m.message, m.withheld from shown left join {_table(run, 'messages')} as m "
            f"on cast(m.{_key(run)} as varchar) = shown.customer order by {order}"
        )
        names = [column[0] for column in found.description]
        return Found([dict(zip(names, row, strict=True)) for row in found.fetchall()], counted, total)


def first_offers(run: Run, chosen: Chosen, left_out: LeftOut = NOBODY) -> list[dict[str, Any]]:
    """Per offer that comes first for someone chosen: offer, product, customers, median benefit; the most frequent first."""
    with _connected() as connection:
        found = connection.execute(
            f"select offer, any_value(product), count(*), median(benefit) from ({_listed(connection, run, chosen, left_out)}) "
            "where offer is not null group by offer order by 3 desc, 1"
        ).fetchall()
    return [{"offer": row[0], "product": row[1], "customers": row[2], "benefit": float(row[3])} for row in found]


def confidences(run: Run, chosen: Chosen, left_out: LeftOut = NOBODY) -> list[int]:
    """How many of those chosen have a first offer of confidence 0–10, 10–20, … 90–100."""
    with _connected() as connection:
        counted: Sequence[tuple[int, int]] = connection.execute(
            f"select least(cast(floor(confidence / {100 / BINS}) as integer), {BINS - 1}), count(*) "
            f"from ({_listed(connection, run, chosen, left_out)}) where confidence is not null group by 1"
        ).fetchall()
    return [dict(counted).get(place, 0) for place in range(BINS)]


def odd_rows(run: Run, left_out: LeftOut = NOBODY) -> list[dict[str, Any]]:
    """Each kind of odd row: table, problem, column, rows, kept, advice (as in run.json), and an example as it was written."""
    with _connected() as connection:
        may = kept(connection, code_in_row(run), left_out)
        select = f"select source, problem, min(row) from {_table(run, 'rejects')} where {may} group by 1, 2"
        found = connection.execute(select).fetchall()
    examples = {(source, problem): row for source, problem, row in found}
    return [
        {**item, "example": examples.get((item["table"], item["problem"] + (f":{item['column']}" if item["column"] else "")))}
        for item in run.record["problems"]
    ]


def code_in_row(run: Run) -> str:
    """SQL: the customer's code in a rejected row, null in one that could not be split into cells."""
    sources = run.book.model.business.sources.values()
    keys = dict.fromkeys(source.code for source in sources)
    return f"case when json_valid(row) then coalesce({', '.join(f'row ->> {text(key)}' for key in keys)}, null) end"


def chosen_customers(run: Run, chosen: Chosen) -> str:
    """SQL: a row per customer chosen: customer (its code as text), place (in the order of codes), offer, product, benefit, confidence."""
    tests = ["true"]
    if chosen.code:
        tests.append(f"starts_with(cast(f.{_key(run)} as varchar), {text(chosen.code)})")
    if chosen.offers:
        tests.append(f"d.offer in ({', '.join(text(offer) for offer in chosen.offers)})")
    if chosen.segment:
        known = chosen.segment in run.book.model.segments
        tests.append(f"f.{quote(chosen.segment)}" if known else "false")
    if chosen.message != "any":
        written = f"(select {_key(run)} from {_table(run, 'messages')} where message is not null)"
        tests.append(f"f.{_key(run)} {'in' if chosen.message == 'with' else 'not in'} {written}")
    if chosen.sure > 0:
        tests.append(f"d.confidence >= {float(chosen.sure)!r}")
    return (
        f"select cast(f.{_key(run)} as varchar) as customer, f.{_key(run)} as place, d.offer, d.product, d.benefit, d.confidence "
        f"from {_table(run, 'features')} as f left join {_table(run, 'decisions')} as d "
        f"on d.{_key(run)} = f.{_key(run)} and d.rank = 1 where {' and '.join(tests)}"
    )


def _listed(connection: duckdb.DuckDBPyConnection, run: Run, chosen: Chosen, left_out: LeftOut) -> str:
    """SQL: those chosen of whom may be spoken: the same for the page, its charts and its files."""
    return f"from ({chosen_customers(run, chosen)}) where {kept(connection, 'customer', left_out)}"


def _key(run: Run) -> str:
    return quote(run.book.code)


def _table(run: Run, name: str) -> str:
    return parquet(run.folder / f"{name}.parquet")


def _connected() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(config={"threads": 1})
