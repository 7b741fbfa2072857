"""Counting: a file of customers with what they were sent, and what they answered, beside each: an experiment's rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from pathlib import Path

import duckdb
import pyarrow as pa
from sqlalchemy import Connection, and_, case, func, select

from nextbest.errors import DataError, Problem, UsageError
from nextbest.intake.frame import columns, scan, unusable, write
from nextbest.plan.stage import quote
from nextbest.services.moment import day_of
from nextbest.services.outcomes import EVENTS
from nextbest.store import tables
from nextbest.store.workspace import Workspace, fetch_all

MESSAGES = "messages"
"""The column of how many messages a customer was sent."""
PLACE, CODE = "nextbest place", "nextbest code"
"""Columns of a row's place in the file and of its code as the workspace has it; they are not written."""


@dataclass(frozen=True)
class Counted:
    """What was written: customers, messages that they were sent, and for each event how many of these were answered with it.

    `unknown`: customers for whom nobody ever decided in this workspace. `waiting`: messages whose answers may come after the last day.
    """

    path: Path
    customers: int
    unknown: int
    messages: int
    answered: Mapping[str, int]
    waiting: int


def count_outcomes(
    file: str | Path,
    *,
    out: str | Path,
    workspace: str | Path,
    events: Sequence[str] = ("accepted",),
    since: date | str | None = None,
    until: date | str | None = None,
    code: str | None = None,
) -> Counted:
    """Write a file's rows (CSV or Parquet, one per customer) to `out` with columns more: `messages`, and one for each event.

    `messages`: how many went out to the customer on the days from `since` to `until` (UTC, both included; without them ever), whichever
    playbook decided; the others: how many of these were answered with the event up to the end of `until`. Who got none counts 0: an
    experiment compares all who were assigned, not those who were reached. `code` names the customers' column, the first by default.
    Raises DataError, UsageError, StoreError.
    """
    source, target, events = Path(file), Path(out), tuple(dict.fromkeys(events))
    problems = unusable(source, target)
    problems += [Problem(f"event {name[:40]}", "is none", f"one of {', '.join(EVENTS)}") for name in events if name not in EVENTS]
    first, last = (day_of(day, name) if day is not None else None for name, day in (("since", since), ("until", until)))
    if first and last and last < first:
        problems.append(Problem("until", "lies before since", "swap them"))
    if problems:
        raise UsageError(problems)
    with duckdb.connect() as connection:
        known = columns(connection, source)
        code = code or next(iter(known))
        if code not in known:
            raise UsageError([Problem(source.name, f"lacks the column {code}", f"it has {', '.join(known)}")])
        if there := {MESSAGES, PLACE, CODE, *events} & {name.lower() for name in known}:
            raise UsageError([Problem(source.name, f"has {', '.join(sorted(there))} already", "count from the file of the assignment")])
        with Workspace(workspace, create=False) as store, store.reading() as reading:
            connection.register("counts", _counts(reading, events, first, last))
        added = f"row_number() over () as {quote(PLACE)}, trim(cast({quote(code)} as varchar)) as {quote(CODE)}"
        connection.execute(f"create table people as select *, {added} from {scan(source)}")
        counted = f"people as f left join counts as c on c.customer = f.{quote(CODE)}"
        sums = ", ".join(f"coalesce(sum(c.{name}), 0)::bigint" for name in ("waiting", MESSAGES, *events))
        figures = f"count(*), count(distinct nullif(f.{quote(CODE)}, '')), count(*) filter (c.customer is null), {sums}"
        [(rows, customers, unknown, waiting, messages, *answered)] = connection.execute(f"select {figures} from {counted}").fetchall()
        if rows != customers:
            what = f"{rows - customers} rows repeat a {code}, or have none"
            raise DataError([Problem(source.name, what, "keep one row of each customer; --code names another column")])
        if not messages:
            what = f"none of these customers was sent a message in that time; {unknown} of {customers} were never decided for here"
            raise DataError([Problem(source.name, what, "check the column of the codes, --since and --until, and the workspace")])
        numbers = ", ".join(f"coalesce(c.{name}, 0) as {name}" for name in (MESSAGES, *events))
        helpers = f"{quote(PLACE)}, {quote(CODE)}"
        write(connection, f"select f.* exclude ({helpers}), {numbers} from {counted} order by f.{quote(PLACE)}", target)
    return Counted(target, customers, unknown, messages, dict(zip(events, answered, strict=True)), waiting)


def _counts(connection: Connection, events: Sequence[str], first: date | None, last: date | None) -> pa.Table:
    """Grain: one customer for whom was decided. Columns: customer, messages, waiting, and one for each event."""
    d, f, o, r = tables.decision.c, tables.offered.c, tables.outcome.c, tables.run.c
    opens = _seconds(first, time.min) if first else 0
    ends = _seconds(last, time.max) if last else connection.execute(select(func.max(o.happened))).scalar() or 0
    came = [func.max(case((o.event == name, 1), else_=0)).label(name) for name in events]
    known = o.happened <= ends if last else o.happened.is_not(None)
    a = select(o.run_id, o.place, *came).where(o.attributed, known).group_by(o.run_id, o.place).subquery().c
    sent = and_(d.send_at >= opens, d.send_at <= ends if last else d.send_at.is_not(None))
    counted = {
        MESSAGES: sent,
        "waiting": and_(sent, d.send_at + f.attribution > ends),
        **{name: and_(sent, a[name] == 1) for name in events},
    }
    counts = (
        select(d.customer, *(func.sum(case((holds, 1), else_=0)).label(name) for name, holds in counted.items()))
        .join(tables.run, r.run_id == d.run_id)
        .outerjoin(tables.offered, and_(f.run_id == d.run_id, f.offer == d.offer))
        .outerjoin(a.run_id.table, and_(a.run_id == d.run_id, a.place == d.place))
        .where(r.recorded.is_not(None))
        .group_by(d.customer)
    )
    return fetch_all(connection, counts, pa.schema([("customer", pa.string()), *((name, pa.int64()) for name in counted)]))


def _seconds(day: date, at: time) -> int:
    return int(datetime.combine(day, at, UTC).timestamp())
