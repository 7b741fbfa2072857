"""Verify: whether the ledger is whole, in order and unaltered, and whether the workspace's tables say what it says."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from sqlalchemy import Connection, Table, func, select

from nextbest.plan.records import INDEX
from nextbest.store import ledger, tables
from nextbest.store.workspace import Workspace, fetch_all

_INDEXED = {"consent": tables.consent, "suppression": tables.suppression, "outcome": tables.outcome}


@dataclass
class Verified:
    """What was found. `head` is the last entry's hash: kept elsewhere, it also proves that nothing was cut off the end."""

    entries: int = 0
    records: int = 0
    taken_out: int = 0
    head: str = ledger.START
    faults: list[str] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults


def verify(workspace: str | Path, expected_head: str | None = None) -> Verified:
    """Check every entry, every record and every row of the index. `expected_head`: a head that was noted earlier.

    Raises StoreError where the database cannot be read.
    """
    found = Verified()
    with Workspace(workspace, create=False) as store, store.reading() as connection:
        try:
            contents, taken = _chain(connection, found, expected_head)
            counted: dict[str, int] = dict.fromkeys(("decision", *_INDEXED), 0)
            for item in ledger.entries(connection, content=True):
                _content(connection, found, item, contents, taken.get(item.seq, set()), counted)
            _counts(connection, found, counted)
            _playbooks(connection, found)
            _erased(connection, found)
            _offered(connection, found)
        except (pa.lib.ArrowException, duckdb.Error, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            found.faults.append(f"the ledger cannot be read to its end ({type(error).__name__})")
    return found


def _chain(connection: Connection, found: Verified, expected: str | None) -> tuple[dict[int, str], dict[int, set[int]]]:
    """The links, without their content; returns what each content's hash should be now, and which records were taken out."""
    contents: dict[int, str] = {}
    taken: dict[int, set[int]] = {}
    seen = expected in (None, ledger.START)
    for item in ledger.entries(connection):
        found.entries += 1
        if item.seq != found.entries:
            found.faults.append(f"entry {found.entries} is missing")
            found.entries = item.seq
        if item.previous != found.head:
            found.faults.append(f"entry {item.seq} does not follow the one before it")
        if item.hash != ledger.link(item.seq, item.kind, item.header, item.digests, item.previous):
            found.faults.append(f"entry {item.seq} was altered")
        if len(item.digests) != 32 * item.records:
            found.faults.append(f"entry {item.seq} does not hold as many digests as records")
        found.head = item.hash
        seen = seen or item.hash == expected
        header = _parsed(found, item.seq, item.header)
        if header.get("run_id") != item.run_id:
            found.faults.append(f"entry {item.seq} names another run than its header")
        contents[item.seq] = header.get("content", "")
        if item.kind in ("erasure", "retention"):
            contents |= {int(seq): sha for seq, sha in header.get("contents", {}).items()}
            for seq, places in header.get("records", {}).items():
                taken.setdefault(int(seq), set()).update(places)
    noted = connection.execute(select(tables.note.c.value).where(tables.note.c.name == "ledger head")).scalar()
    if (noted or f"0 {ledger.START}") != f"{found.entries} {found.head}":
        found.faults.append("the last entry is not the one noted as the last")
    if not seen:
        found.faults.append("the expected head is not in the chain")
    return contents, taken


def _parsed(found: Verified, seq: int, header: str) -> dict[str, Any]:
    try:
        parsed = json.loads(header)
    except ValueError:
        found.faults.append(f"the header of entry {seq} cannot be read")
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _content(
    connection: Connection, found: Verified, item: Any, contents: dict[int, str], taken: set[int], counted: dict[str, int]
) -> None:
    if hashlib.sha256(item.content or b"").hexdigest() != contents.get(item.seq):
        found.faults.append(f"the content of entry {item.seq} was altered")
        return
    if not item.records:
        return
    table = ledger.unpacked(item.content)
    found.records += len(table)
    empty = set(pa.compute.indices_nonzero(table["record"].is_null()).to_pylist())
    found.taken_out += len(empty)
    if empty != taken or len(table) != item.records:
        found.faults.append(f"entry {item.seq} lacks records that nothing says were taken out")
    placed = table.append_column("position", pa.array(range(len(table)), pa.int64()))
    kept, seals = placed.filter(placed["record"].is_valid()), item.digests
    if empty:
        seals = b"".join(seals[32 * place : 32 * place + 32] for place in range(item.records) if place not in empty)
    if ledger.digests(kept) != seals:
        found.faults.append(f"a record of entry {item.seq} was altered")
    if item.kind in counted:
        counted[item.kind] += len(kept)
        differ = _index(connection, item, kept)
        if differ:
            found.faults.append(f"{differ} rows of the table {item.kind} differ from entry {item.seq}")


def _index(connection: Connection, item: Any, kept: pa.Table) -> int:
    """How many records have no row in the index that says the same."""
    if item.kind == "decision":
        header = json.loads(item.header)
        d = tables.decision.c
        first, names = header["first"], ["customer", *INDEX]
        rows = select((d.place - first).label("position"), d.customer, *(d[name] for name in INDEX)).where(
            d.run_id == item.run_id, d.place >= first, d.place < first + item.records
        )
        schema = pa.schema([(name, pa.int64() if name in ("position", "send_at") else pa.string()) for name in ("position", *names)])
        indexed = fetch_all(connection, rows, schema)
    else:
        table = _INDEXED[item.kind]
        names = [column.name for column in table.columns]
        indexed = _rows_of(connection, table, kept)
    said = ", ".join(f"record ->> '{name}'" for name in names)
    shown = ", ".join(f'cast("{name}" as varchar)' for name in names)
    if item.kind == "decision":
        said, shown = f"position, {said}", f"position, {shown}"
    with duckdb.connect() as engine:
        engine.register("kept", kept)
        engine.register("indexed", indexed)
        [(differ,)] = engine.execute(f"select count(*) from (select {said} from kept except all select {shown} from indexed)").fetchall()
    return int(differ)


def _rows_of(connection: Connection, table: Table, kept: pa.Table) -> pa.Table:
    """The index rows of the records' keys."""
    key = next(iter(table.primary_key.columns))
    keys = [json.loads(record)[key.name] for record in kept["record"].to_pylist()]
    rows: list[dict[str, Any]] = []
    for start in range(0, len(keys), 500):
        found = connection.execute(select(table).where(key.in_(keys[start : start + 500])))
        rows += [{name: _spelled(value) for name, value in row._mapping.items()} for row in found]
    return pa.Table.from_pylist(rows, pa.schema([(column.name, pa.string()) for column in table.columns]))


def _spelled(value: Any) -> str | None:
    return None if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _counts(connection: Connection, found: Verified, counted: dict[str, int]) -> None:
    """No table holds a row that is in no entry."""
    d, r = tables.decision.c, tables.run.c
    recorded = select(func.count()).select_from(tables.decision).join(tables.run, r.run_id == d.run_id).where(r.recorded.is_not(None))
    rows = {"decision": connection.execute(recorded).scalar_one()}
    rows |= {name: connection.execute(select(func.count()).select_from(table)).scalar_one() for name, table in _INDEXED.items()}
    found.faults += [
        f"the table {name} holds {rows[name]} rows, the ledger {count}" for name, count in counted.items() if rows[name] != count
    ]
    headers = connection.execute(select(tables.entry.c.run_id, tables.entry.c.header).where(tables.entry.c.run_id.is_not(None)))
    parsed = [(run_id, _parsed(found, 0, header)) for run_id, header in headers]
    known = {(run_id, header.get("recorded"), header.get("last_send_at")) for run_id, header in parsed}
    runs = {tuple(row) for row in connection.execute(select(r.run_id, r.recorded, r.last_send_at).where(r.recorded.is_not(None)))}
    found.faults += [f"run {run_id} is marked otherwise than in the ledger" for run_id, *_ in sorted(known ^ runs, key=str)]


def _offered(connection: Connection, found: Verified) -> None:
    """What a run's contacts were about stands as its entries say."""
    f, r = tables.offered, tables.run.c
    rows = connection.execute(select(f).join(tables.run, r.run_id == f.c.run_id).where(r.recorded.is_not(None)))
    kept = {tuple(row) for row in rows}
    headers = connection.execute(select(tables.entry.c.header).where(tables.entry.c.kind == "decision")).scalars()
    named = {tuple(item.get(c.name) for c in f.columns) for header in headers for item in _parsed(found, 0, header).get("offered", [])}
    if kept != named:
        found.faults.append("the table offered differs from the ledger")


def _erased(connection: Connection, found: Verified) -> None:
    """Who had themselves erased is remembered, and nobody else."""
    headers = [_parsed(found, item.seq, item.header) for item in ledger.entries(connection, "erasure")]
    named = {header.get("digest"): header.get("recorded") for header in headers}
    if named != {digest: happened for digest, happened in connection.execute(select(tables.erased))}:
        found.faults.append("the table erased differs from the ledger's erasures")
    own = connection.execute(select(tables.note.c.value).where(tables.note.c.name == "salt")).scalar() or ""
    if {header.get("salt") for header in headers} - {hashlib.sha256(own.encode()).hexdigest()}:
        found.faults.append("the salt of erased customers was altered")


def _playbooks(connection: Connection, found: Verified) -> None:
    """Every playbook that decided is there, as it was."""
    named = {item["sha256"]: item["archive"] for item in _named_playbooks(connection)}
    kept = {
        sha256: hashlib.sha256(archive).hexdigest()
        for sha256, archive in connection.execute(select(tables.playbook.c.sha256, tables.playbook.c.archive))
    }
    found.faults += [
        f"the playbook {sha256[:12]} is missing or was altered" for sha256, digest in named.items() if kept.get(sha256) != digest
    ]


def _named_playbooks(connection: Connection) -> Iterator[dict[str, str]]:
    for (header,) in connection.execute(select(tables.entry.c.header).where(tables.entry.c.kind == "decision")):
        try:
            yield json.loads(header)["playbook"]
        except (ValueError, KeyError, TypeError):
            continue  # told already: the entry was altered
