"""A run and its workspace: what is known of the customers, what is promised to them, and what was decided.

Reserve, then record. Under the writer's lock a run reads what was promised, applies the contact policy and promises
more; these reservations count for everyone until the run is recorded, or until its lease ends. Recording is one
transaction: all of a run is in the ledger, or nothing.
"""

import hashlib
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
from sqlalchemy import Connection, and_, delete, func, or_, select, update

from nextbest.errors import Problem, StoreError
from nextbest.plan.records import INDEX
from nextbest.plan.stage import Stage, quote, text
from nextbest.plan.staging import REMEMBERED
from nextbest.services.job import Job
from nextbest.services.past import in_force, load_past, past_as_recorded
from nextbest.services.sealing import PART, Part, archived, seal
from nextbest.store import ledger, tables
from nextbest.store.workspace import Workspace, fetch_all, insert_all, known_salt, now

WITHDRAWN = "withdrawn"
"""The rule that holds back what was chosen for a customer who opted out while the run went on."""

_POLL_SECONDS = 0.2
_ROUNDS = 5
_TEXT, _INT = pa.string(), pa.int64()


class _TakenOver(Exception):
    """Another process with the same run has taken it over, or the lease has ended and the reservations were freed."""


@dataclass
class Memory:
    """One run's dealings with a workspace. `header` is what every record of the run shares; `only`: the one customer of it."""

    workspace: Workspace
    run_id: str
    header: dict[str, Any]
    only: str | None = None
    attempt: int = 0
    recorded: bool = False
    erased_salt: str = ""
    seen: dict[str, int] = field(default_factory=dict)
    seen_first: dict[str, int] = field(default_factory=dict)
    unknown_purposes: dict[str, int] = field(default_factory=dict)

    def consents(self, job: Job) -> tuple[str, ...]:
        """Load the consents in force into the engine; returns the playbook's purposes, each a column of them."""
        with self.workspace.reading() as connection:
            done = connection.execute(select(tables.run.c.recorded).where(tables.run.c.run_id == self.run_id)).scalar()
            self.recorded = done is not None
            self.seen = self.seen_first = self._header(connection)["seen"] if self.recorded else self._latest(connection)
            found = fetch_all(
                connection,
                in_force(job.book.model.business.channel, job.seconds, self.seen["consent"], self.only),
                pa.schema([("customer", _TEXT), ("purpose", _TEXT), ("granted", pa.bool_())]),
            )
            digests = select(tables.erased.c.digest)
            if self.recorded:
                digests = digests.where(tables.erased.c.happened <= done)
            erased = fetch_all(connection, digests, pa.schema([("digest", _TEXT)]))
            self.erased_salt = known_salt(connection) if len(erased) else ""
        job.engine.load("forgotten", erased)
        said, purposes = found["purpose"].to_pylist(), tuple(sorted({*job.book.contact.purposes, "profiling"}))
        self.unknown_purposes = {name: said.count(name) for name in sorted(set(said) - set(purposes))}
        job.engine.load("consents", found)
        columns = "".join(f", bool_and(granted) filter (purpose = {text(name)}) as {quote(name)}" for name in purposes)
        job.engine.create(Stage(REMEMBERED, "one customer", f"select customer{columns} from consents group by 1"))
        return purposes

    def _latest(self, connection: Connection) -> dict[str, int]:
        """The last words heard: what is said after them is heeded as the run goes on."""
        latest = {table.name: select(func.max(next(iter(table.primary_key)))) for table in (tables.consent, tables.suppression)}
        return {name: int(connection.execute(query).scalar() or 0) for name, query in latest.items()}

    def look(self, job: Job) -> None:
        """Apply the contact policy to what was promised so far, and promise nothing."""
        with self.workspace.reading() as connection:
            load_past(connection, job, self.only)
        job.hold()

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
        if known is not None and not first and known.attempt != self.attempt and (known.lease_until or 0) > at:
            return False  # the process that took over is at work: wait for what it records
        self._free(connection, at)
        load_past(connection, job, self.only)
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
        self.seen = self.seen_first
        return True

    def _free(self, connection: Connection, at: int) -> None:
        """Free this run's own reservations, and those of runs whose lease has ended."""
        r = tables.run.c
        ended = and_(r.recorded.is_(None), or_(r.lease_until <= at, r.run_id == self.run_id))
        connection.execute(delete(tables.decision).where(tables.decision.c.run_id.in_(select(r.run_id).where(ended))))
        connection.execute(update(tables.run).where(ended).values(lease_until=None))

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
        self.seen = self._header(connection)["seen"]
        if self.seen != self.seen_first:
            what = f"run {self.run_id} was recorded by another process just now, which had heard other consents"
            raise StoreError([Problem(self.workspace.name, what, "run again: the output is then made from what was recorded")])
        job.engine.load("recorded", pa.concat_tables(self._parts(connection)))
        if not job.engine.rows("select 1 from recorded where record is not null limit 1"):
            what = f"run {self.run_id} was recorded before, and its records were emptied since (erasure or retention)"
            raise StoreError([Problem(self.workspace.name, what, "it cannot be made again; decide for another moment (--at)")])
        past_as_recorded(job, "recorded")

    def _late_as_recorded(self, job: Job) -> None:
        """Hold back again who opted out or objected while the run went on."""
        held = "select customer from recorded where record ->> 'held_by' = "
        job.withdraw([(customer, None) for (customer,) in job.engine.rows(f"{held}'{WITHDRAWN}'")], WITHDRAWN)
        job.forget([customer for (customer,) in job.engine.rows(f"{held}'profiling'")], "profiling")

    def record(self, job: Job, temp: Path) -> None:
        """Write the run into the ledger, or find it there already as it comes out now."""
        for _ in range(_ROUNDS):
            if self.recorded:
                self._late_as_recorded(job)
                job.record()
                self._compare(job)
                break
            job.record()
            parts = seal(job, temp)
            try:
                with self.workspace.writing() as connection:
                    if self._heeded(connection, job):
                        continue
                    self._append(connection, job, parts)
                    self.recorded = True
                    break
            except _TakenOver:
                self.reserve(job)
                job.write()
        else:
            what = f"run {self.run_id} was overtaken {_ROUNDS} times before it could be recorded"
            raise StoreError([Problem(self.workspace.name, what, "lengthen `lease` in contact.yaml, and run again")])
        job.engine.drop("records")

    def late(self, job: Job) -> bool:
        """Heed what was said or erased since: whether anyone more is held back now. What is recorded stays so."""
        with self.workspace.reading() as connection:
            before = job.engine.rows("select count(*) from messages")
            self._heeded(connection, job)
            digests = fetch_all(connection, select(tables.erased.c.digest), pa.schema([("digest", _TEXT)]))
            own_salt = known_salt(connection)
        if len(digests):
            job.engine.load("forgotten", digests)
            code = f"cast({job.key} as varchar)"
            gone = f"select {code} from features where sha256({text(own_salt + ':')} || {code}) in (select digest from forgotten)"
            job.forget([customer for (customer,) in job.engine.rows(gone)], "erased")
        return before != job.engine.rows("select count(*) from messages")

    def _heeded(self, connection: Connection, job: Job) -> bool:
        """Hold back whoever refused, objected or was suppressed since the last look; whether there was anyone."""
        c, s = tables.consent.c, tables.suppression.c
        said = select(c.customer, c.purpose).where(
            c.consent_id > self.seen["consent"], c.granted.is_(False),
            or_(c.channel.is_(None), c.channel == job.book.model.business.channel),
        )  # fmt: skip
        refusals = [tuple(row) for row in connection.execute(said)]
        rests = select(s.customer).where(s.suppression_id > self.seen["suppression"], s.until > job.seconds)
        self.seen = self._latest(connection)
        needed = {name for name, rule in job.book.contact.purposes.items() if rule}
        held = [(customer, purpose) for customer, purpose in refusals if purpose in needed]
        held += [(customer, None) for customer in connection.execute(rests).scalars()]
        objecting = [customer for customer, purpose in refusals if purpose == "profiling"]
        changed = job.withdraw(sorted(set(held), key=str), WITHDRAWN)
        return job.forget(sorted(set(objecting)), "profiling") or changed

    def _append(self, connection: Connection, job: Job, parts: list[Part]) -> None:
        at = now(connection)
        known = connection.execute(select(tables.run).where(tables.run.c.run_id == self.run_id)).one()
        if known.attempt != self.attempt or known.recorded is not None or known.lease_until is None:
            raise _TakenOver
        archive = self._keep_playbook(connection, job)
        header = {
            **self.header,
            "run_id": self.run_id,
            "seen": self.seen_first,
            "recorded": at,
            "last_send_at": known.last_send_at,
            "playbook": {**self.header["playbook"], "archive": hashlib.sha256(archive).hexdigest()},
            "offered": self._offered(job),
            "population": {name: None if value is None else float(value) for name, value in self._population(job).items()},
        }
        for part in parts:
            batch = ledger.Sealed(part.content.read_bytes(), part.digests, part.records)
            ledger.append(connection, "decision", {**header, "first": part.first}, batch, self.run_id)
        c = tables.decision.c
        late = "held_by in ('no_text', 'profiling', 'withdrawn')"
        gone = [place for (place,) in job.engine.rows(f"select place from records where {late}")]
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
            kept = archived(loaded)
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
