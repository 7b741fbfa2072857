"""What the workspace knows of customers' pasts: consents in force, contacts, answers, suppressions."""

from typing import Any

import pyarrow as pa
from sqlalchemy import Connection, and_, case, func, or_, select, true

from nextbest.plan.contact import HISTORY, SUPPRESSIONS
from nextbest.plan.stage import Stage, quote
from nextbest.services.job import Job
from nextbest.store import tables
from nextbest.store.workspace import fetch_all

_TEXT, _INT = pa.string(), pa.int64()


def load_past(connection: Connection, job: Job, only: str | None = None) -> None:
    """`history` and `suppressions` of the customers who are scored, from the workspace. `only`: of this one customer."""
    since = job.seconds - job.book.contact.lookback
    d, o, s = tables.decision, tables.outcome, tables.suppression
    columns = [d.c.customer, d.c.run_id, d.c.place, d.c.offer]
    lasting = select(tables.run.c.run_id).where(tables.run.c.last_send_at > since)
    contacts = select(*columns, d.c.send_at).where(d.c.run_id.in_(lasting), d.c.send_at > since, _of(d.c.customer, only))
    answers = select(*columns, o.c.happened, o.c.event).join(o, and_(o.c.run_id == d.c.run_id, o.c.place == d.c.place))
    answers = answers.where(o.c.happened > since, _of(d.c.customer, only))
    kinds = [(column.name, _INT if column.name == "place" else _TEXT) for column in columns]
    engine = job.engine
    engine.load("past_contacts", fetch_all(connection, contacts, pa.schema([*kinds, ("happened", _INT)])))
    engine.load("past_answers", fetch_all(connection, answers, pa.schema([*kinds, ("happened", _INT), ("event", _TEXT)])))
    engine.load(
        "past_suppressions",
        fetch_all(
            connection,
            select(s.c.customer, s.c.scope, s.c.what, s.c.until).where(s.c.until > job.seconds, _of(s.c.customer, only)),
            pa.schema([("customer", _TEXT), ("scope", _TEXT), ("what", _TEXT), ("until", _INT)]),
        ),
    )
    f = tables.offered.c
    about = select(f.run_id, f.offer, f.category, f.channel, f.purpose, f.lane)
    if only is not None:
        about = about.where(f.run_id.in_(select(d.c.run_id).where(d.c.customer == only)))
    engine.load("past_offers", fetch_all(connection, about, pa.schema([(c.name, _TEXT) for c in about.selected_columns])))
    events = (
        "from (select *, 'contact' as event from past_contacts union all by name select * from past_answers) "
        "join past_offers using (run_id, offer)"
    )
    named = ", ".join("run_id || '-' || place as decision_id" if name == "decision_id" else quote(name) for name in HISTORY)
    _of_customers(job, "history", f"select customer, {named} {events}")
    _of_customers(job, "suppressions", "from past_suppressions")


def _of(column: Any, only: str | None) -> Any:
    return column == only if only is not None else true()


def _of_customers(job: Job, name: str, rows: str) -> None:
    """Rows of the workspace for the customers who are scored, under the run's own column for their code."""
    select = (
        f"select f.{job.key}, e.* exclude (customer) from ({rows}) as e join features as f on e.customer = cast(f.{job.key} as varchar)"
    )
    job.engine.create(Stage(name, "one event of a customer", select))


def past_as_recorded(job: Job, source: str) -> None:
    """`history` and `suppressions` from records, as the contact policy saw them."""
    for place, (name, columns) in enumerate((("history", HISTORY), ("suppressions", SUPPRESSIONS))):
        values = ", ".join(f"cast(e ->> {index} as {kind}) as {quote(column)}" for index, (column, kind) in enumerate(columns.items()))
        select = (
            f"select f.{job.key}, {values} from (select customer, unnest(cast(record -> 'past' -> {place} as json[])) as e "
            f"from {source} where record ->> 'past' is not null) as r join features as f on r.customer = cast(f.{job.key} as varchar)"
        )
        job.engine.create(Stage(name, "one event of a customer", select))


def in_force(channel: str, moment: int, seen: int, only: str | None = None) -> Any:
    """The latest word of each customer on each purpose, about this channel or all; of two at one time, the refusal.

    A consent yet to come is none yet.
    """
    c = tables.consent.c
    said_at = case((c.happened < c.recorded, c.happened), else_=c.recorded)  # nothing said later than it was noted
    order = (said_at.desc(), c.granted.asc(), c.consent_id.desc())
    place = func.row_number().over(partition_by=(c.customer, c.purpose), order_by=order).label("n")
    said = (
        select(c.customer, c.purpose, c.granted, place)
        .where(
            _of(c.customer, only),
            c.consent_id <= seen,
            or_(c.channel.is_(None), c.channel == channel),
            or_(c.happened <= moment, c.granted.is_(False)),
        )
        .subquery()
    )
    return select(said.c.customer, said.c.purpose, said.c.granted).where(said.c.n == 1)
