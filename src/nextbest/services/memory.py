"""A run and its workspace: what is known of the customers, what is promised to them, and what was decided.

Reserve, then record. Under the writer's lock a run reads what was promised, applies the contact policy and promises
more; these reservations count for everyone until the run is recorded, or until its lease ends. Recording is one
transaction: all of a run is in the ledger, or nothing.
"""

import hashlib
import io
import json
import time
import zipfile
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from sqlalchemy import Connection, and_, delete, func, or_, select, update

from nextbest.errors import Problem, StoreError
from nextbest.plan.contact import HISTORY, SUPPRESSIONS
from nextbest.plan.records import INDEX, INPUT, input_columns
from nextbest.plan.stage import Stage, quote, text
from nextbest.plan.staging import REMEMBERED
from nextbest.services.job import Job
from nextbest.store import ledger, tables
from nextbest.store.workspace import Workspace, fetch_all, insert_all, now, salt

PART = 20_000
"""Records in one entry of the ledger: small enough to read one customer's quickly."""

WITHDRAWN = "withdrawn"
"""The rule that holds back what was chosen for a customer who opted out while the run went on."""

_POLL_SECONDS = 0.2
_TEXT, _INT = pa.string(), pa.int64()


class _Part(NamedTuple):
    """A part of the run, sealed: its first place, its content in a file, its digests and how many records."""

    first: int
    content: Path
    digests: bytes
    records: int


class _TakenOver(Exception):
    """Another process with the same run has taken it over, or the lease has ended."""


@dataclass
class Memory:
    """One run's dealings with a workspace. `header` is what every record of the run shares."""

    workspace: Workspace
    run_id: str
    header: dict[str, Any]
    attempt: int = 0
    recorded: bool = False
    seen: int = 0
    erased_salt: str = ""
    withdrawn: list[str] = field(default_factory=list)

    def consents(self, job: Job) -> tuple[str, ...]:
        """Load the consents in force into the engine; returns the purposes there are any for."""
        with self.workspace.writing() as connection:
            done = connection.execute(select(tables.run.c.recorded).where(tables.run.c.run_id == self.run_id)).scalar()
            self.recorded = done is not None
            latest = connection.execute(select(func.max(tables.consent.c.consent_id))).scalar() or 0
            self.seen = self.header["consents_seen"] = self._header(connection)["consents_seen"] if self.recorded else latest
            found = fetch_all(
                connection,
                _in_force(job.book.model.business.channel, job.seconds, self.seen),
                pa.schema([("customer", _TEXT), ("purpose", _TEXT), ("granted", pa.bool_())]),
            )
            before = (
                select(tables.erased.c.digest).where(tables.erased.c.happened <= done) if self.recorded else select(tables.erased.c.digest)
            )
            erased = fetch_all(connection, before, pa.schema([("digest", _TEXT)]))
            self.erased_salt = salt(connection) if len(erased) else ""
        job.engine.load("forgotten", erased)
        purposes = tuple(sorted(found["purpose"].unique().to_pylist()))
        job.engine.load("consents", found)
        columns = "".join(f", bool_and(granted) filter (purpose = {text(name)}) as {quote(name)}" for name in purposes)
        job.engine.create(Stage(REMEMBERED, "one customer", f"select customer{columns} from consents group by 1"))
        return purposes

    def reserve(self, job: Job) -> None:
        """Apply the contact policy to what was promised so far, and promise what it lets through."""
        first = self.attempt == 0
        while True:
            with self.workspace.writing() as connection:
                if self._settled(connection, job, first):
                    return
            time.sleep(_POLL_SECONDS)

    def _settled(self, connection: Connection, job: Job, first: bool) -> bool:
        """Whether the policy is applied: with the past as recorded, or with the present and reservations made."""
        at = now(connection)
        known = connection.execute(select(tables.run).where(tables.run.c.run_id == self.run_id)).one_or_none()
        if known is not None and known.recorded is not None:
            self.recorded = True
            self._past_as_recorded(connection, job)
            job.hold()
            return True
        if known is not None and not first and known.attempt != self.attempt and known.lease_until > at:
            return False  # the process that took over is at work: wait for what it records
        self._free(connection, at)
        self._past(connection, job)
        job.hold()
        self.attempt = (known.attempt if known is not None else 0) + 1
        [(last,)] = job.engine.rows("select max(send_at) from contacted where held_by is null")
        values = {"attempt": self.attempt, "lease_until": at + job.book.contact.lease, "last_send_at": last, "recorded": None}
        if known is None:
            connection.execute(tables.run.insert().values(run_id=self.run_id, **values))
            connection.execute(tables.offered.insert(), self._offered(job))
        else:
            connection.execute(update(tables.run).where(tables.run.c.run_id == self.run_id).values(**values))
        insert_all(connection, tables.decision, job.engine.batches(self._promises(job), PART).read_all())
        return True

    def _free(self, connection: Connection, at: int) -> None:
        """Free this run's own reservations, and those of runs whose lease has ended."""
        ended = select(tables.run.c.run_id).where(
            tables.run.c.recorded.is_(None), or_(tables.run.c.lease_until <= at, tables.run.c.run_id == self.run_id)
        )
        connection.execute(delete(tables.decision).where(tables.decision.c.run_id.in_(ended)))

    def _offered(self, job: Job) -> list[dict[str, Any]]:
        purposes = job.book.model.contact.purposes
        return [
            {
                "run_id": self.run_id, "offer": offer.id, "category": offer.model.category, "channel": job.book.model.business.channel,
                "purpose": offer.model.purpose, "lane": purposes[offer.model.purpose].lane,
                "attribution": job.book.contact.attribution[offer.id],
            }
            for offer in job.book.offers
        ]  # fmt: skip

    def _promises(self, job: Job) -> str:
        offers = " ".join(f"when {place} then {text(offer.id)}" for place, offer in enumerate(job.book.offers, 1))
        return f"""select {text(self.run_id)} as run_id, cast(place_in_run as integer) as place, cast({job.key} as varchar) as customer,
  case place {offers} end as offer, send_at, cast(null as varchar) as held_by
from contacted join places using ({job.key}) where held_by is null order by place_in_run"""

    def _past(self, connection: Connection, job: Job) -> None:
        since = job.seconds - job.book.contact.lookback
        d, o, s = tables.decision, tables.outcome, tables.suppression
        columns = [d.c.customer, d.c.run_id, d.c.place, d.c.offer]
        lasting = select(tables.run.c.run_id).where(tables.run.c.last_send_at > since)
        contacts = select(*columns, d.c.send_at).where(d.c.run_id.in_(lasting), d.c.send_at > since)
        answers = select(*columns, o.c.happened, o.c.event).join(o, and_(o.c.run_id == d.c.run_id, o.c.place == d.c.place))
        kinds = [(column.name, _INT if column.name == "place" else _TEXT) for column in columns]
        engine = job.engine
        engine.load("past_contacts", fetch_all(connection, contacts, pa.schema([*kinds, ("happened", _INT)])))
        engine.load(
            "past_answers",
            fetch_all(connection, answers.where(o.c.happened > since), pa.schema([*kinds, ("happened", _INT), ("event", _TEXT)])),
        )
        engine.load(
            "past_suppressions",
            fetch_all(
                connection,
                select(s.c.customer, s.c.scope, s.c.what, s.c.until).where(s.c.until > job.seconds),
                pa.schema([("customer", _TEXT), ("scope", _TEXT), ("what", _TEXT), ("until", _INT)]),
            ),
        )
        f = tables.offered.c
        about = select(f.run_id, f.offer, f.category, f.channel, f.purpose, f.lane)
        engine.load("past_offers", fetch_all(connection, about, pa.schema([(c.name, _TEXT) for c in about.selected_columns])))
        events = (
            "from (select *, 'contact' as event from past_contacts union all by name select * from past_answers) "
            "join past_offers using (run_id, offer)"
        )
        named = ", ".join("run_id || '-' || place as decision_id" if name == "decision_id" else quote(name) for name in HISTORY)
        self._of_customers(job, "history", f"select customer, {named} {events}")
        self._of_customers(job, "suppressions", "from past_suppressions")

    def _of_customers(self, job: Job, name: str, rows: str) -> None:
        """Rows of the workspace for the customers who are scored, under the run's own column for their code."""
        select = (
            f"select f.{job.key}, e.* exclude (customer) from ({rows}) as e join features as f on e.customer = cast(f.{job.key} as varchar)"
        )
        job.engine.create(Stage(name, "one event of a customer", select))

    def _header(self, connection: Connection) -> dict[str, Any]:
        """What the run's entries say of it."""
        query = select(tables.entry.c.header).where(tables.entry.c.run_id == self.run_id).order_by(tables.entry.c.seq).limit(1)
        header: dict[str, Any] = json.loads(connection.execute(query).scalar_one())
        return header

    def _parts(self, connection: Connection) -> list[pa.Table]:
        """The recorded parts of this run."""
        query = select(tables.entry.c.content).where(tables.entry.c.run_id == self.run_id).order_by(tables.entry.c.seq)
        return [ledger.unpacked(content) for content in connection.execute(query).scalars()]

    def _past_as_recorded(self, connection: Connection, job: Job) -> None:
        job.engine.load("recorded", pa.concat_tables(self._parts(connection)))
        load_past(job, "recorded")
        held = job.engine.rows(f"select customer from recorded where record ->> 'held_by' = '{WITHDRAWN}'")
        self.withdrawn = [customer for (customer,) in held]

    def record(self, job: Job, temp: Path) -> None:
        """Write the run into the ledger, or find it there already as it comes out now."""
        while True:
            if self.withdrawn:
                job.withdraw(self.withdrawn, WITHDRAWN)
            job.record()
            if self.recorded:
                self._compare(job)
                self._leave_out_opted_out(job)
                return
            parts = self._seal(job, temp)
            try:
                with self.workspace.writing() as connection:
                    if not self._more_withdrawn(connection, job):
                        self._append(connection, job, parts)
                        self.recorded = True
                        break
            except _TakenOver:
                self.reserve(job)
                job.write()
        job.engine.execute("drop table records")

    def _seal(self, job: Job, temp: Path) -> list[_Part]:
        """The records with their inputs, part by part: two are sealed while the engine reads on, the rest waits on disk."""
        waiting: deque[Future[_Part]] = deque()
        parts: list[_Part] = []
        if job.engine.rows("select 1 from records where place <> rowid limit 1"):  # a join that spilled may mix them
            job.engine.create(Stage("records", "one customer", "from records order by place"))
        records = job.engine.batches("select place, customer, record, inputs_kept from records", PART)
        with ThreadPoolExecutor(2) as pool:
            for rows in _with_inputs(_in_parts(records), job.engine.batches(input_columns(job.book), PART), job.key.strip('"')):
                first = len(parts) + len(waiting)
                waiting.append(pool.submit(_sealed_part, rows, first * PART, temp / f"part-{first}"))
                if len(waiting) > 2:
                    parts.append(waiting.popleft().result())
            return [*parts, *(item.result() for item in waiting)]

    def _more_withdrawn(self, connection: Connection, job: Job) -> bool:
        """Whether someone opted out since the run began; they are held back before anything is recorded."""
        c, purposes = tables.consent, {offer.model.purpose for offer in job.book.offers} | {"profiling"}
        newest = connection.execute(select(func.max(c.c.consent_id))).scalar() or 0
        query = select(c.c.customer).where(
            c.c.consent_id > self.seen, c.c.granted.is_(False), c.c.purpose.in_(purposes),
            or_(c.c.channel.is_(None), c.c.channel == job.book.model.business.channel),
        )  # fmt: skip
        found = sorted(set(connection.execute(query).scalars()) - set(self.withdrawn))
        self.seen = newest
        self.withdrawn += found
        return bool(found)

    def _append(self, connection: Connection, job: Job, parts: list[_Part]) -> None:
        at = now(connection)
        known = connection.execute(select(tables.run).where(tables.run.c.run_id == self.run_id)).one()
        if known.attempt != self.attempt or known.recorded is not None or known.lease_until <= at:
            raise _TakenOver
        archive = self._keep_playbook(connection, job)
        header = {
            **self.header,
            "run_id": self.run_id,
            "recorded": at,
            "playbook": {**self.header["playbook"], "archive": hashlib.sha256(archive).hexdigest()},
            "offered": self._offered(job),
            "population": {name: float(value) for name, value in self._population(job).items()},
        }
        for part in parts:
            batch = ledger.Sealed(part.content.read_bytes(), part.digests, part.records)
            ledger.append(connection, "decision", {**header, "first": part.first}, batch, self.run_id)
        c = tables.decision.c
        gone = [place for (place,) in job.engine.rows(f"select place from records where held_by in ('no_text', '{WITHDRAWN}')")]
        for start in range(0, len(gone), 500):
            connection.execute(delete(tables.decision).where(c.run_id == self.run_id, c.place.in_(gone[start : start + 500])))
        columns = f"{text(self.run_id)} as run_id, cast(place as integer) as place, customer, {', '.join(INDEX)}"
        rows = f"select {columns} from records where send_at is null order by place"
        insert_all(connection, tables.decision, job.engine.batches(rows, PART).read_all())
        connection.execute(update(tables.run).where(tables.run.c.run_id == self.run_id).values(recorded=at, lease_until=None))

    def _population(self, job: Job) -> dict[str, Any]:
        names = [name for name, *_ in job.engine.rows("describe population")]
        [values] = job.engine.rows("from population")
        return dict(zip(names, values, strict=True))

    def _keep_playbook(self, connection: Connection, job: Job) -> bytes:
        """Store the playbook's files unless they are there; returns them as stored."""
        loaded, known = job.book.loaded, tables.playbook
        kept = connection.execute(select(known.c.archive).where(known.c.sha256 == loaded.hash)).scalar()
        if kept is None:
            kept = archived(loaded.folder)
            connection.execute(known.insert().values(sha256=loaded.hash, name=loaded.model.business.name, archive=kept))
        return bytes(kept)

    def _compare(self, job: Job) -> None:
        """A run in the ledger has to come out again as it stands there."""
        [(differ,)] = job.engine.rows(
            "select count(*) from recorded as a left join records as b using (customer) "
            "where a.record is not null and a.record is distinct from b.record"
        )
        if differ:
            what = f"run {self.run_id} was recorded before, and {differ} of its decisions come out differently now"
            raise StoreError([Problem(self.workspace.name, what, "use the version that recorded it; nextbest replay shows a difference")])

    def _leave_out_opted_out(self, job: Job) -> None:
        """Who opted out after the run was recorded is not written to by a rerun either."""
        c, purposes = tables.consent, {offer.model.purpose for offer in job.book.offers} | {"profiling"}
        with self.workspace.reading() as connection:
            query = select(c.c.customer).where(c.c.consent_id > self.seen, c.c.granted.is_(False), c.c.purpose.in_(purposes))
            job.withdraw(sorted(set(connection.execute(query).scalars())), WITHDRAWN)


def _in_parts(reader: pa.RecordBatchReader) -> Iterator[pa.Table]:
    """The rows in tables of PART rows, the last one shorter."""
    waiting = reader.schema.empty_table()
    for batch in reader:
        waiting = pa.concat_tables([waiting, pa.Table.from_batches([batch])])
        while len(waiting) >= PART:
            yield waiting[:PART]
            waiting = waiting[PART:]
    if len(waiting):
        yield waiting


def _with_inputs(parts: Iterator[pa.Table], inputs: pa.RecordBatchReader, key: str) -> Iterator[pa.Table]:
    """Each part with the inputs of its scored customers beside it.

    Records and inputs both stand in the customers' order, so they are laid side by side rather than joined and sorted
    once more; that they match is checked.
    """
    waiting = inputs.schema.empty_table()
    for number, part in enumerate(parts):
        scored = part["inputs_kept"].to_numpy()
        need = int(scored.sum())
        while len(waiting) < need:
            waiting = pa.concat_tables([waiting, pa.Table.from_batches([inputs.read_next_batch()])])
        here, waiting = waiting[:need].combine_chunks(), waiting[need:]  # taking from many chunks is slow
        codes = here[INPUT + key].cast(pa.string())
        in_order = np.array_equal(part["place"].to_numpy(), np.arange(number * PART, number * PART + len(part)))
        if not in_order or not codes.equals(part["customer"].filter(part["inputs_kept"])):
            raise AssertionError("records and inputs do not stand in the same order")
        beside = here.take(pa.array(np.where(scored, np.cumsum(scored) - 1, 0), mask=~scored)) if need else None
        columns = {name: beside[name] if beside else pa.nulls(len(part), here[name].type) for name in here.column_names}
        yield pa.table({"customer": part["customer"], "record": part["record"], **columns})


def _sealed_part(rows: pa.Table, first: int, path: Path) -> _Part:
    batch = ledger.sealed(rows)
    path.write_bytes(batch.content)
    return _Part(first, path, batch.digests, batch.records)


def load_past(job: Job, source: str) -> None:
    """`history` and `suppressions` from records, as the contact policy saw them."""
    for place, (name, columns) in enumerate((("history", HISTORY), ("suppressions", SUPPRESSIONS))):
        values = ", ".join(f"cast(e ->> {index} as {kind}) as {quote(column)}" for index, (column, kind) in enumerate(columns.items()))
        select = (
            f"select f.{job.key}, {values} from (select customer, unnest(cast(record -> 'past' -> {place} as json[])) as e "
            f"from {source} where record ->> 'past' is not null) as r join features as f on r.customer = cast(f.{job.key} as varchar)"
        )
        job.engine.create(Stage(name, "one event of a customer", select))


def archived(folder: Path) -> bytes:
    """A playbook's files as a zip; the same files make the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*.yaml")):
            archive.writestr(zipfile.ZipInfo(path.relative_to(folder).as_posix()), path.read_bytes())
    return buffer.getvalue()


def _in_force(channel: str, moment: int, seen: int) -> Any:
    """The latest word of each customer on each purpose: about this channel or all. A consent yet to come is none yet."""
    c = tables.consent.c
    place = func.row_number().over(partition_by=(c.customer, c.purpose), order_by=(c.happened.desc(), c.consent_id.desc())).label("n")
    said = (
        select(c.customer, c.purpose, c.granted, place)
        .where(c.consent_id <= seen, or_(c.channel.is_(None), c.channel == channel), or_(c.happened <= moment, c.granted.is_(False)))
        .subquery()
    )
    return select(said.c.customer, said.c.purpose, said.c.granted).where(said.c.n == 1)
