"""Counting: a file of customers with what they were sent, and what they answered, beside each: an experiment's rows."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import pyarrow as pa
from sqlalchemy import ColumnElement, and_, func, select

from nextbest.errors import DataError, Problem, UsageError
from nextbest.intake.frame import PARQUET, columns, scan
from nextbest.plan.stage import quote, text
from nextbest.services.moment import day_of
from nextbest.services.outcomes import EVENTS
from nextbest.store import tables
from nextbest.store.workspace import Workspace, fetch_all

MESSAGES = "messages"
"""The column of how many messages a customer was sent."""


@dataclass(frozen=True)
class Counted:
    """What was written: customers, messages that they were sent, and how many of these were answered."""

    path: Path
    customers: int
    messages: int
    answered: int


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

    `messages`: how many went out to the customer on the days from `since` to `until` (UTC, both included; without them ever);
    the other: how many of these were answered with the event up to the end of `until`. Who got none counts 0: an experiment compares all
    who were assigned, not those who were reached. `code` names the customers' column, the first by default.
    Raises DataError, UsageError, StoreError.
    """
    source, target = Path(file), Path(out)
    _check(source, target, event)
    d, o, r = tables.decision.c, tables.outcome.c, tables.run.c
    sent: list[ColumnElement[bool]] = [r.recorded.is_not(None), d.send_at.is_not(None)]
    answers = select(o.run_id, o.place).where(o.attributed, o.event == event).distinct()
    if since is not None:
        sent.append(d.send_at >= int(datetime.combine(day_of(since), datetime.min.time(), UTC).timestamp()))
    if until is not None:
        last = int(datetime.combine(day_of(until), datetime.max.time(), UTC).timestamp())
        sent.append(d.send_at <= last)
        answers = answers.where(o.happened <= last)
    a = answers.subquery()
    counts = (
        select(d.customer, func.count().label(MESSAGES), func.count(a.c.place).label("answered"))
        .join(tables.run, r.run_id == d.run_id)
        .outerjoin(a, and_(a.c.run_id == d.run_id, a.c.place == d.place))
        .where(*sent)
        .group_by(d.customer)
    )
    kinds = pa.schema([("customer", pa.string()), (MESSAGES, pa.int64()), ("answered", pa.int64())])
    with duckdb.connect() as connection:
        known = columns(connection, source)
        code = code or next(iter(known))
        if code not in known:
            raise UsageError([Problem(source.name, f"lacks the column {code}", f"it has {', '.join(known)}")])
        if there := {MESSAGES, event} & known.keys():
            raise UsageError([Problem(source.name, f"has {', '.join(sorted(there))} already", "count from the file of the assignment")])
        with Workspace(workspace, create=False) as store, store.reading() as reading:
            connection.register("counts", fetch_all(reading, counts, kinds))
        numbers = f"coalesce({MESSAGES}, 0) as {MESSAGES}, coalesce(answered, 0) as {event}"
        connection.execute(
            f"create table counted as select f.*, {numbers} from {scan(source)} as f "
            f"left join counts as c on c.customer = cast(f.{quote(code)} as varchar) order by f.{quote(code)}"
        )
        figures = f"count(*), count(distinct {quote(code)}), coalesce(sum({MESSAGES}), 0), coalesce(sum({event}), 0)"
        [(rows, people, messages, answered)] = connection.execute(f"select {figures} from counted").fetchall()
        if rows != people:
            raise DataError([Problem(source.name, f"{rows - people} rows repeat a {code}, or have none", "keep one row of each customer")])
        if not messages:
            what = "none of these customers was sent a message in that time"
            raise DataError([Problem(source.name, what, "check the column of the codes, --since and --until, and the workspace")])
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.stem}.part{target.suffix}")
        kind = "format parquet, compression zstd" if target.suffix in PARQUET else "format csv, header"
        connection.execute(f"copy counted to {text(str(partial))} ({kind})")
        partial.replace(target)
    return Counted(target, int(people), int(messages), int(answered))


def _check(source: Path, target: Path, event: str) -> None:
    problems = []
    if not source.is_file():
        problems.append(Problem(str(source), "the file does not exist", "name a CSV or Parquet file"))
    if target.suffix not in (*PARQUET, ".csv"):
        problems.append(Problem(str(target), "neither a .parquet nor a .csv file", "name one"))
    if event not in EVENTS:
        problems.append(Problem(f"event {event[:40]}", "is none", f"one of {', '.join(EVENTS)}"))
    if problems:
        raise UsageError(problems)
