"""From activity rows to the cells of measures: which cell each row counts for. The rows are added up by `engines/tally`."""

from dataclasses import dataclass

from nextbest.plan.cell import enumeration
from nextbest.plan.stage import listing, once, quote, text
from nextbest.playbook.bind import DATED, Bound, Cell, keys_of
from nextbest.playbook.model import Measure
from nextbest.playbook.window import last_month, month_starts
from nextbest.rules.render import sql

PLACE = "place among all"
"""The column of a customer's place in the customers table, from 0."""
LAST_MONTH = "in the last month"
DAYS_AGO = "days ago"


@dataclass(frozen=True)
class Coded:
    """A measure over coded rows: the column that names a row's key, whether that is the currency, whether the last month alone counts,
    and the cells wanted."""

    key: str
    by_currency: bool
    last_month: bool
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Rows:
    """The rows of an activity table, ready to be added up.

    `select` has a row per row of the table: PLACE, `value` in hundredths (infinite where unknown), `problem`, `row_hash`, a column
    for each key that measures go by, and where one asks for it LAST_MONTH and DAYS_AGO.
    """

    select: str
    measures: tuple[Coded, ...]


@once
def coded(bound: Bound, source: str) -> Rows:
    """The rows of one activity table with what its measures ask of them. Grain: one row of the table."""
    measures = {name: measure for name, measure in bound.measures.items() if measure.of == source and bound.cells[name]}
    keys = {name: _key(bound, measure) for name, measure in measures.items()}
    columns = {expression: f"key {number}" for number, expression in enumerate(dict.fromkeys(keys.values()))}
    found = tuple(
        Coded(columns[keys[name]], item.by == "currency", item.over == "last_month", tuple(bound.cells[name]))
        for name, item in measures.items()
    )
    items = [quote(PLACE), "value", "problem", "row_hash", *(f"{key} as {quote(column)}" for key, column in columns.items())]
    if any(item.last_month for item in found):
        month = last_month(bound.as_of)
        items.append(f"date between date '{month.start}' and date '{month.end}' as {quote(LAST_MONTH)}")
    if any(cell.of in DATED for item in found for cell in item.cells):
        items.append(f"cast(date_diff('day', date, date '{bound.as_of}') as integer) as {quote(DAYS_AGO)}")
    return Rows(f"select {listing(items)}\nfrom {_with_paydays(bound, source)}", found)


def _key(bound: Bound, measure: Measure) -> str:
    """SQL: the key of the measure that a row counts for, as an enumeration; null for none."""
    business, keys = bound.model.business, f"enum({', '.join(text(key) for key in keys_of(bound.model, measure))})"
    if measure.by == "month_back":
        starts = enumerate(month_starts(bound.as_of, business.horizon_months), 1)
        whens = " ".join(f"when date >= date '{start}' then '{back}'" for back, start in starts)
        return f"cast(case {whens} end as {keys})"
    if measure.payday:
        near = _near_payday(measure.payday.day, sql(bound.paydays[measure.sum], "duckdb"))
        return f"cast(case when {near} then 'near' when not {near} then 'far' end as {keys})"
    if measure.by == "all":
        return f"cast('all' as {keys})"
    column = business.sources[measure.of].columns[measure.by]
    known = enumeration(column) if column.type == "category" else keys
    value = quote(measure.by) if column.type == "category" else f"try_cast({quote(measure.by)} as {keys})"
    return f"coalesce({value}, try_cast({text(business.currency)} as {known}))" if measure.by == "currency" else value


def _with_paydays(bound: Bound, source: str) -> str:
    """The rows, with the customer's day of pay where a measure asks for it."""
    days = {measure.payday.day for measure in bound.measures.values() if measure.of == source and measure.payday}
    if not days:
        return quote(source)
    listed = ", ".join(f"c.{quote(day)} as {quote(f'payday.{day}')}" for day in sorted(days))
    return f"(select r.*, {listed} from {quote(source)} as r left join {quote(bound.model.business.customers)} as c using ({quote(PLACE)}))"


def _near_payday(day: str, within: str) -> str:
    """SQL: whether a row's date lies so near to a day of pay: this month's, the last one's or the next one's."""
    distances = []
    for months in (-1, 0, 1):
        first = f"date_trunc('month', date) + interval ({months}) month"
        paid = f"least({quote(f'payday.{day}')}, day(last_day({first})))"
        distances.append(f"abs(date_diff('day', {first}, date) - ({paid} - 1))")
    known = f"{quote(f'payday.{day}')} is not null"  # least() would skip what is unknown
    return f"case when {known} then least({', '.join(distances)}) <= {within} end"
