"""Counting: a file of customers with what they were sent, and what they answered, beside each: an experiment's rows."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from pathlib import Path

import duckdb
import pyarrow as pa
from sqlalchemy import Connection, and_, case, func, select

from nextbest.errors import DataError, Problem, UsageError
from nextbest.intake.frame import columns, missing, scan, write
from nextbest.plan.stage import quote
from nextbest.services.moment import day_of
from nextbest.services.outcomes import EVENTS
from nextbest.store import tables
from nextbest.store.workspace import Workspace, fetch_all

MESSAGES, PLACE = "messages", "nextbest place"
"""The column of how many messages a customer was sent; that of a row's place in the file, which is not written."""


@dataclass(frozen=True)
class Counted:
    """What was written: customers, messages that they were sent, and how many of these were answered.

    `unknown`: customers for whom nobody ever decided in this workspace. `waiting`: messages whose answers may come after the last day.
    """

    path: Path
    customers: int
    unknown: int
    messages: int
    answered: int
    waiting: int


def count_outcomes(
    file: str | Path,
    *,
    out: str | Path,
    workspace: str | Path,
    event: str = "accepted",
    since: date | str | None = None,
    until: date | str | None = None,
    code: str | None = None,
) -> Counted:
    """Write a file's rows (CSV or Parquet, one per customer) to `out` with two columns more: `messages`, and one named as the event.

    `messages`: how many went out to the customer on the days from `since` to `until` (UTC, both included; without them ever), whichever
    playbook decided; the other: how many of these were answered with the event up to the end of `until`. Who got none counts 0: an
    experiment compares all who were assigned, not those who were reached. `code` names the customers' column, the first by default.
    Raises DataError, UsageError, StoreError.
    """
    source, target = Path(file), Path(out)
    problems = missing(source, target)
    if event not in EVENTS:
        problems.append(Problem(f"event {event[:40]}", "is none", f"one of {', '.join(EVENTS)}"))
    if problems:
        raise UsageError(problems)
    with duckdb.connect() as connection:
        known = columns(connection, source)
        code = code or next(iter(known))
        if code not in known:
            raise UsageError([Problem(source.name, f"lacks the column {code}", f"it has {', '.join(known)}")])
        if there := {MESSAGES, event, PLACE} & {name.lower() for name in known}:
            raise UsageError([Problem(source.name, f"has {', '.join(sorted(there))} already", "count from the file of the assignment")])
        with Workspace(workspace, create=False) as store, store.reading() as reading:
            connection.register("counts", _counts(reading, event, since, until))
        connection.execute(f"""create table counted as
select f.*, coalesce(c.messages, 0) as {MESSAGES}, coalesce(c.answered, 0) as {event}
from (select *, row_number() over () as {quote(PLACE)} from {scan(source)}) as f
left join counts as c on c.customer = trim(cast(f.{quote(code)} as varchar))""")
        people = f"count(distinct trim(cast({quote(code)} as varchar)))"
        unknown = f"count(*) filter (trim(cast({quote(code)} as varchar)) not in (select customer from counts))"
        figures = f"count(*), {people}, {unknown}, coalesce(sum({MESSAGES}), 0), coalesce(sum({event}), 0)"
        [(rows, customers, unseen, messages, answered)] = connection.execute(f"select {figures} from counted").fetchall()
        if rows != customers:
            raise DataError(
                [Problem(source.name, f"{rows - customers} rows repeat a {code}, or have none", "keep one row of each customer")]
            )
        if not messages:
            what = f"none of these customers was sent a message in that time; {unseen} of {customers} were never decided for here"
            raise DataError([Problem(source.name, what, "check the column of the codes, --since and --until, and the workspace")])
        among = f"(select trim(cast({quote(code)} as varchar)) from counted)"
        [(waiting,)] = connection.execute(f"select coalesce(sum(waiting), 0) from counts where customer in {among}").fetchall()
        write(connection, f"select * exclude ({quote(PLACE)}) from counted order by {quote(PLACE)}", target)
    return Counted(target, customers, unseen, int(messages), int(answered), int(waiting))


def _counts(connection: Connection, event: str, since: date | str | None, until: date | str | None) -> pa.Table:
    """Grain: one customer of the workspace."""
    d, f, o, r = tables.decision.c, tables.offered.c, tables.outcome.c, tables.run.c
    last = _seconds(until, time.max) if until is not None else connection.execute(select(func.max(o.happened))).scalar() or 0
    sent = and_(d.send_at.is_not(None), d.send_at >= (_seconds(since, time.min) if since is not None else 0))
    answers = select(o.run_id, o.place).where(o.attributed, o.event == event).distinct()
    if until is not None:
        sent, answers = and_(sent, d.send_at <= last), answers.where(o.happened <= last)
    a = answers.subquery()
    figures = {MESSAGES: sent, "answered": and_(sent, a.c.place.is_not(None)), "waiting": and_(sent, d.send_at + f.attribution > last)}
    counts = (
        select(d.customer, *(func.sum(case((holds, 1), else_=0)).label(name) for name, holds in figures.items()))
        .join(tables.run, r.run_id == d.run_id)
        .outerjoin(tables.offered, and_(f.run_id == d.run_id, f.offer == d.offer))
        .outerjoin(a, and_(a.c.run_id == d.run_id, a.c.place == d.place))
        .where(r.recorded.is_not(None))
        .group_by(d.customer)
    )
    return fetch_all(connection, counts, pa.schema([("customer", pa.string()), *((name, pa.int64()) for name in figures)]))


def _seconds(day: date | str, at: time) -> int:
    return int(datetime.combine(day_of(day), at, UTC).timestamp())
