"""Replay: a recorded decision made again from what was stored with it, and compared byte for byte."""

import io
import json
import tempfile
import zipfile
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from sqlalchemy import Connection, Row, select

from nextbest import __version__
from nextbest.engines.duckdb import DuckDBEngine
from nextbest.errors import Problem, UsageError
from nextbest.plan import features
from nextbest.plan.records import INPUT
from nextbest.plan.stage import Stage, quote, text
from nextbest.playbook.bind import PARTIAL, Bound, bound
from nextbest.playbook.load import load
from nextbest.services.job import Job
from nextbest.services.memory import WITHDRAWN
from nextbest.services.past import past_as_recorded
from nextbest.settings import Settings
from nextbest.store import ledger, tables
from nextbest.store.workspace import Workspace


@dataclass(frozen=True)
class Replayed:
    """A decision as recorded and as it comes out again. `missing`: what is no longer there to make it from."""

    decision_id: str
    header: dict[str, Any]
    recorded: str | None
    again: str | None
    missing: list[str]

    @property
    def same(self) -> bool:
        """Whether the decision came out byte for byte."""
        return self.recorded is not None and self.recorded == self.again

    @property
    def differs(self) -> list[str]:
        """The parts of the record that came out otherwise."""
        if self.recorded is None or self.again is None or self.same:
            return []
        before, after = json.loads(self.recorded), json.loads(self.again)
        return [name for name in before if before[name] != after.get(name)] or ["spelling"]


def replay(decision_id: str, *, workspace: str | Path) -> Replayed:
    """Make a recorded decision again. Raises UsageError for an unknown id, StoreError."""
    with Workspace(workspace, create=False) as store, store.reading() as connection:
        item, place = located(connection, decision_id)
        header = json.loads(item.header)
        stored = ledger.unpacked(item.content, whole=True).slice(place, 1)
        recorded = stored["record"][0].as_py()
        archive = connection.execute(
            select(tables.playbook.c.archive).where(tables.playbook.c.sha256 == header["playbook"]["sha256"])
        ).scalar()
    missing = [] if recorded is not None else ["the record itself: it was erased, or its retention has ended"]
    missing += [] if archive is not None else [f"the playbook {header['playbook']['name']} {header['playbook']['sha256'][:12]}"]
    for name, then, here in (("Nextbest", header["nextbest"], __version__), ("DuckDB", header["engine"]["version"], duckdb.__version__)):
        if then != here:
            missing.append(f"{name} {then}, which recorded it (this is {here})")
    again = _again(header, stored, archive, int(decision_id.rpartition("-")[2])) if recorded and archive else None
    return Replayed(decision_id, header, recorded, again, missing)


def located(connection: Connection, decision_id: str) -> tuple[Row[Any], int]:
    """The entry that holds a decision, with its content, and the record's place in it. Raises UsageError."""
    run_id, _, number = decision_id.rpartition("-")
    e = tables.entry.c
    if number.isdigit():
        for seq, header, count in connection.execute(select(e.seq, e.header, e.records).where(e.run_id == run_id).order_by(e.seq)):
            first = json.loads(header)["first"]
            if first <= int(number) < first + count:
                return connection.execute(select(tables.entry).where(e.seq == seq)).one(), int(number) - first
    raise UsageError([Problem(f"decision {decision_id}", "not in this workspace", "take the id from messages.parquet")])


def _again(header: dict[str, Any], stored: pa.Table, archive: bytes, place: int) -> str:
    said = json.loads(stored["record"][0].as_py())
    with tempfile.TemporaryDirectory(dir=Settings().temp_folder) as temp, DuckDBEngine(Path(temp)) as engine:
        with zipfile.ZipFile(io.BytesIO(archive)) as files:
            files.extractall(Path(temp) / "playbook")
        book = bound(load(Path(temp) / "playbook"), date.fromisoformat(header["as_of"]))
        job = Job(book, engine, datetime.fromisoformat(header["moment"]), usual=header["population"])
        engine.load("stored", stored)
        _inputs(job, header, scored=said["verdicts"] is not None)
        engine.create(Stage("places", "one customer", f"select {job.key}, {place} as place_in_run from everyone"))
        _left_alone(job, book, said)
        job.score()
        past_as_recorded(job, "stored")
        job.hold()
        job.write()
        if said["held_by"] == WITHDRAWN:
            job.withdraw([(said["customer"], None)], WITHDRAWN)
        job.record()
        [(again,)] = engine.rows("select record from records")
    return str(again)


def _inputs(job: Job, header: dict[str, Any], scored: bool) -> None:
    """Features from the stored inputs, and what was usual in the batch."""
    kinds = {name: kind for name, kind, *_ in job.engine.rows("describe stored")}
    own = kinds[INPUT + job.key.strip('"')]
    job.engine.create(Stage("everyone", "one customer", f"select cast(customer as {own}) as {job.key} from stored"))
    values = ", ".join(  # older records do not say which sums lack a row
        f"{'cast([] as varchar[])' if name == PARTIAL and INPUT + name not in kinds else quote(INPUT + name)} as {quote(name)}"
        for name in job.book.inputs
    )
    job.engine.create(features.over(job.book, f"select {values} from stored where {str(scored).lower()}"))
    job.population()
    job.engine.view(features.signals(job.book))


def _left_alone(job: Job, book: Bound, said: dict[str, Any]) -> None:
    """Who was not scored has no inputs stored: a holdout is drawn again, an objection is taken as recorded."""
    rule = said["held_by"] if said["verdicts"] is None else None
    if rule is not None and rule.startswith("holdout:"):
        rule = next((f"holdout:{item.name}" for item in book.contact.holdouts if item.holds(said["customer"])), None)
    where = "" if rule is not None else " where false"
    job.engine.create(
        Stage("left_alone", "one customer who is not scored", f"select {job.key}, {text(rule or '')} as held_by from everyone{where}")
    )
