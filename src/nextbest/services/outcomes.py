"""Outcomes: what became of the messages. Each event lands once, at its own time, with the decision it answers."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from sqlalchemy import Connection, func, or_, select

from nextbest.engines.duckdb import DuckDBEngine
from nextbest.plan.stage import Stage, text
from nextbest.playbook.sources import Source, SourceColumn
from nextbest.services.incoming import incoming, rejected
from nextbest.settings import Settings
from nextbest.store import ledger, tables
from nextbest.store.workspace import Workspace, fetch_all, insert_all, now

EVENTS = ("delivered", "opened", "clicked", "accepted", "refused", "ignored", "opted_out")

SOURCE = Source(
    files=["*outcomes*"],
    columns={
        "event_id": SourceColumn(type="id", names=["id"], required=True),
        "event": SourceColumn(type="text", names=["outcome", "type"], required=True),
        "happened": SourceColumn(type="date", names=["at", "time", "timestamp", "date"], required=True),
        "decision_id": SourceColumn(type="text", names=["decision"]),
        "customer": SourceColumn(type="id", names=["client_code", "customer_id", "client_id"]),
        "offer": SourceColumn(type="text"),
    },
)

REJECTED = {
    "no_event_id": "give each event an id of its own, so that sending it twice counts once",
    "unknown_event": f"one of {', '.join(EVENTS)}",
    "bad_time": "write times as 2025-09-01T10:00:00, with a zone or in the zone named",
    "unknown_decision": "no such decision was recorded here; take the id from messages.parquet",
    "no_contact": "no contact with this customer about this offer lies in the offer's attribution window",
    "event_id_reused": "the same id came with other content before: give the event an id of its own",
}
"""Why an event is left out → how to mend it."""


_MOST_NAMED = 500


@dataclass(frozen=True)
class Imported:
    """What became of a file's rows."""

    rows: int
    added: int
    known: int
    opted_out: int
    rejected: dict[str, int]

    @property
    def useless(self) -> bool:
        """Whether no row could be used. An opt-out holds, even where nobody knows what it is about."""
        return 0 < self.rows == sum(self.rejected.values()) and not self.opted_out


def import_outcomes(
    file: str | Path, *, workspace: str | Path, rejects: str | Path | None = None, time_zone: str = "UTC", actor: str = "outcomes import"
) -> Imported:
    """Read a file of events into the workspace. An event that is there already is left as it is.

    Columns: event_id, event, happened, and decision_id, or customer and offer. An event outside the attribution window
    is kept, unattributed, where its decision is named. An opt-out withdraws the consent to the purpose of the message, for
    every channel; it is heeded even where no contact can be found for it.
    Raises DataError, UsageError, StoreError.
    """
    with (
        tempfile.TemporaryDirectory(dir=Settings().temp_folder) as temp,
        DuckDBEngine(Path(temp)) as engine,
        Workspace(workspace, create=False) as store,
    ):
        incoming(engine, file, "events_read", SOURCE, Path(temp), time_zone, either=(("decision_id",), ("customer", "offer")))
        with store.writing() as connection:
            _load(connection, engine)
            _match(engine)
            select_rejected = "select row, reason, as_written from matched where reason is not null"
            counts = rejected(engine, select_rejected, REJECTED, Path(rejects) if rejects else None)
            added, opted_out = _add(connection, engine, actor)
        [(rows, known)] = engine.rows(
            "select count(*) + (select count(*) from malformed), count(*) filter (reason is null and not fresh) from matched"
        )
    return Imported(rows, added, known, opted_out, counts)


def _load(connection: Connection, engine: DuckDBEngine) -> None:
    """What the events may be about: the decisions, the attribution windows of their runs, the events known already."""
    d, o, f = tables.decision, tables.outcome, tables.offered
    text_, int_ = pa.string(), pa.int64()
    columns = [d.c.run_id, d.c.place, d.c.customer, d.c.offer, d.c.send_at]
    kinds = pa.schema([(c.name, int_ if c.name in ("place", "send_at") else text_) for c in columns])
    r = tables.run.c
    recorded = select(*columns).join(tables.run, r.run_id == d.c.run_id).where(r.recorded.is_not(None))
    # Of a ledger of years only the runs are read that these events may be about.
    named = [run_id for (run_id,) in engine.rows("select distinct regexp_replace(decision_id, '-[^-]*$', '') from events_read") if run_id]
    [(unnamed, first)] = engine.rows("select count(*) filter (decision_id is null), min(happened) from events_read")
    longest = connection.execute(select(func.max(f.c.attribution))).scalar() or 0
    may = [r.run_id.in_(named[:_MOST_NAMED])] if len(named) <= _MOST_NAMED else [r.run_id.is_not(None)]
    may += [r.last_send_at >= first - longest] if unnamed and first is not None else []
    engine.load("decided", fetch_all(connection, recorded.where(or_(*may)), kinds))
    windows = select(f.c.run_id, f.c.offer, f.c.purpose, f.c.attribution)
    kinds = pa.schema([("run_id", text_), ("offer", text_), ("purpose", text_), ("seconds", int_)])
    engine.load("windows", fetch_all(connection, windows, kinds))
    known = select(o.c.event_id, o.c.run_id, o.c.place, o.c.event, o.c.happened)
    kinds = pa.schema([("event_id", text_), ("run_id", text_), ("place", int_), ("event", text_), ("happened", int_)])
    engine.load("known_events", fetch_all(connection, known, kinds))


def _match(engine: DuckDBEngine) -> None:
    """Each row with its decision and what is wrong with it. Grain: one row of the file."""
    events = ", ".join(text(event) for event in EVENTS)
    by_offer = """select e.row, max_by({'run_id': d.run_id, 'place': d.place}, (d.send_at, d.run_id)) as found
from events_read as e join decided as d on d.customer = e.customer and d.offer = e.offer and d.send_at <= e.happened
join windows as w on w.run_id = d.run_id and w.offer = d.offer and e.happened <= d.send_at + w.seconds
where e.decision_id is null group by 1"""
    named = "coalesce(d.run_id, f.found.run_id)"
    place = "coalesce(d.place, f.found.place)"
    engine.create(
        Stage(
            "linked",
            "one row of the file",
            f"""select e.row, e.event_id, lower(trim(e.event)) as event, e.happened, e.decision_id, e.as_written,
  e.customer as named_customer, e.offer as named_offer,
  {named} as run_id, {place} as place
from events_read as e left join decided as d on d.run_id || '-' || d.place = e.decision_id
left join ({by_offer}) as f on f.row = e.row""",
        )
    )
    same = "k.run_id = l.run_id and k.place = l.place and k.event = l.event and k.happened = l.happened"
    first = "first_value({0}) over (partition by l.event_id order by l.row)"
    twin = " or ".join(f"l.{name} is distinct from {first.format('l.' + name)}" for name in ("run_id", "place", "event", "happened"))
    engine.create(
        Stage(
            "matched",
            "one row of the file",
            f"""select * exclude (twin), reason is null and not already and row = min(row) over (partition by event_id) as fresh from (
  select l.*, d.customer, d.offer, w.purpose, k.event_id is not null as already, {twin} as twin,
    coalesce(l.happened between d.send_at and d.send_at + w.seconds, false) as attributed,
    case when l.event_id is null then 'no_event_id' when l.event is null or l.event not in ({events}) then 'unknown_event'
      when l.happened is null then 'bad_time'
      when l.run_id is null and l.decision_id is not null then 'unknown_decision' when l.run_id is null then 'no_contact'
      when (k.event_id is not null and not ({same})) or {twin} then 'event_id_reused' end as reason
  from linked as l left join decided as d on d.run_id = l.run_id and d.place = l.place
  left join windows as w on w.run_id = d.run_id and w.offer = d.offer left join known_events as k on k.event_id = l.event_id)""",
        )
    )


_OPTED_OUT = """select distinct coalesce(m.customer, m.named_customer) as customer, coalesce(m.purpose, w.purpose) as purpose, m.happened
from matched as m left join (select distinct offer, purpose from windows) as w
  on m.purpose is null and (m.named_offer is null or m.named_offer = w.offer)
where m.event = 'opted_out' and m.happened is not null and coalesce(m.reason, '') not in ('no_event_id', 'event_id_reused')
  and coalesce(m.customer, m.named_customer) is not null and coalesce(m.purpose, w.purpose) is not null order by all"""
"""An opt-out is heeded even where no contact is found: then for the purposes of the offer, or of all offers made here."""


def _add(connection: Connection, engine: DuckDBEngine, actor: str) -> tuple[int, int]:
    at, c = now(connection), tables.consent.c
    columns = "event_id, run_id, cast(place as integer) as place, customer, event, happened, attributed"
    fresh = engine.batches(f"select {columns} from matched where fresh order by event_id", 20_000).read_all()
    engine.load("fresh_events", fresh)
    insert_all(connection, tables.outcome, fresh)
    written = engine.batches("select customer, cast(to_json(f) as varchar) as record from fresh_events as f order by event_id", 20_000)
    for part in written:
        ledger.append(connection, "outcome", {"recorded": at}, ledger.sealed(pa.Table.from_batches([part])))
    rows = [
        {"customer": customer, "purpose": purpose, "channel": None, "granted": False, "happened": happened, "actor": actor,
         "source": "opted_out event"}
        for customer, purpose, happened in engine.rows(_OPTED_OUT)
        if connection.execute(
            select(c.consent_id).where(
                c.customer == customer, c.purpose == purpose, c.happened == happened, c.channel.is_(None), c.granted.is_(False)
            )
        ).first() is None
    ]  # fmt: skip
    ledger.add_rows(connection, tables.consent, at, rows)
    return len(fresh), len(rows)
