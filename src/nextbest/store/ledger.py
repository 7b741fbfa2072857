"""The ledger: an append-only chain of entries, each sealing a batch of records.

An entry's hash covers its place, kind, header, the digests of its records and the hash before it; the header holds
the hash of the content. A record's digest is salted, and the salt lies with the record: once both are erased, nothing
about the customer can be had from the digest, and the chain still verifies. An erasure is an entry of its own that
names the records taken out and the hash of what stayed.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
from sqlalchemy import Connection, Row, Table, select

from nextbest.store.tables import entry, note

START = "0" * 64
"""What the first entry follows."""

TEXTS = ("salt", "customer", "record")
"""The columns of an entry's content that a digest covers; inputs of a decision stand beside them. An erased row stays, empty."""


@dataclass(frozen=True)
class Sealed:
    """Records ready to be chained: their content as Parquet, and 32 bytes of digest for each."""

    content: bytes
    digests: bytes
    records: int


def sealed(rows: pa.Table) -> Sealed:
    """Salt and seal records: `customer`, `record` (a JSON text), and whatever stands beside them."""
    count = len(rows)
    salts = pa.FixedSizeBinaryArray.from_buffers(pa.binary(32), count, [None, pa.py_buffer(os.urandom(16 * count).hex().encode())])
    table = rows.append_column("salt", salts.cast(pa.binary()).cast(pa.string()))
    return Sealed(packed(table), digests(table), count)


def digests(table: pa.Table) -> bytes:
    """32 bytes a record: SHA-256 over its texts, a line each.

    Row by row in Python, for once: OpenSSL's SHA-256 takes a third of the engine's time.
    """
    texts = [table[name].combine_chunks() for name in TEXTS]
    lines = pa.compute.binary_join_element_wise(*texts, "\n").cast(pa.large_binary())
    _, offsets, data = lines.buffers()
    ends = memoryview(offsets).cast("q")[lines.offset : lines.offset + len(lines) + 1].tolist() if len(lines) else []
    text, sha256 = memoryview(data or b""), hashlib.sha256
    return b"".join(sha256(text[start:end]).digest() for start, end in pairwise(ends))


def packed(table: pa.Table) -> bytes:
    """Content as bytes."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", use_dictionary=False, write_statistics=False)
    return bytes(sink.getvalue().to_pybytes())


def unpacked(content: bytes, whole: bool = False) -> pa.Table:
    """Content as a table, of TEXTS unless the whole of it is asked for."""
    return pq.read_table(pa.BufferReader(content), columns=None if whole else list(TEXTS))


def link(seq: int, kind: str, header: str, seals: bytes, previous: str) -> str:
    """An entry's hash."""
    parts = json.dumps([seq, kind, header, hashlib.sha256(seals).hexdigest(), previous], ensure_ascii=False)
    return hashlib.sha256(parts.encode()).hexdigest()


def append(connection: Connection, kind: str, header: dict[str, Any], batch: Sealed | None = None, run_id: str | None = None) -> int:
    """Chain a batch of records (or a header alone). Call inside `writing()`. Returns the entry's place."""
    known = connection.execute(select(note.c.value).where(note.c.name == "ledger head")).scalar()
    seq, previous = (int(known.split(" ")[0]) + 1, known.split(" ")[1]) if known else (1, START)
    batch = batch or Sealed(b"", b"", 0)
    written = json.dumps({**header, "content": hashlib.sha256(batch.content).hexdigest()}, ensure_ascii=False, sort_keys=True)
    hash_ = link(seq, kind, written, batch.digests, previous)
    connection.execute(
        entry.insert().values(
            seq=seq, kind=kind, run_id=run_id, header=written, records=batch.records, digests=batch.digests,
            content=batch.content, previous=previous, hash=hash_,
        )
    )  # fmt: skip
    if known:
        connection.execute(note.update().where(note.c.name == "ledger head").values(value=f"{seq} {hash_}"))
    else:
        connection.execute(note.insert().values(name="ledger head", value=f"{seq} {hash_}"))
    return seq


def add_rows(connection: Connection, table: Table, recorded: int, rows: list[dict[str, Any]]) -> None:
    """Insert rows into a table of the workspace and chain them, each as its JSON."""
    if not rows:
        return
    key = next(iter(table.primary_key.columns)).name
    first = _numbers(connection, table.name, len(rows))
    numbered = [{key: first + place, **row, "recorded": recorded} for place, row in enumerate(rows)]
    connection.execute(table.insert(), numbered)
    texts = pa.array([json.dumps(row, ensure_ascii=False, sort_keys=True) for row in numbered], pa.string())
    customers = pa.array([str(row["customer"]) for row in rows], pa.string())
    append(connection, table.name, {"recorded": recorded}, sealed(pa.table({"customer": customers, "record": texts})))


def _numbers(connection: Connection, name: str, count: int) -> int:
    """The first of so many numbers that were never given before, not even to rows that are gone."""
    last = int(connection.execute(select(note.c.value).where(note.c.name == f"last {name}")).scalar() or 0)
    if last:
        connection.execute(note.update().where(note.c.name == f"last {name}").values(value=str(last + count)))
    else:
        connection.execute(note.insert().values(name=f"last {name}", value=str(count)))
    return last + 1


def entries(connection: Connection, kind: str | None = None, content: bool = False) -> Iterator[Row[Any]]:
    """Entries in their order, one in memory at a time; without their content unless asked for."""
    columns = [column for column in entry.c if content or column.name != "content"]
    places = select(entry.c.seq).order_by(entry.c.seq)
    if kind is not None:
        places = places.where(entry.c.kind == kind)
    for seq in connection.execute(places).scalars().all():
        yield connection.execute(select(*columns).where(entry.c.seq == seq)).one()


def entries_of(connection: Connection, run_id: str) -> list[Row[Any]]:
    """A run's entries, without their content."""
    columns = [column for column in entry.c if column.name != "content"]
    return list(connection.execute(select(*columns).where(entry.c.run_id == run_id).order_by(entry.c.seq)))


def take_out(connection: Connection, header: dict[str, Any], kind: str, places: dict[int, list[int]]) -> None:
    """Empty the records at `places` (entry → places in it) for good, and chain an entry that says so."""
    contents: dict[str, str] = {}
    for seq, taken in places.items():
        content = connection.execute(select(entry.c.content).where(entry.c.seq == seq)).scalar_one()
        table = unpacked(content, whole=True)
        gone = set(taken)
        keep = pa.array([place not in gone for place in range(len(table))])
        columns = [pa.compute.if_else(keep, column, pa.scalar(None, column.type)) for column in table.columns]
        new = packed(pa.table(columns, table.schema))
        connection.execute(entry.update().where(entry.c.seq == seq).values(content=new))
        contents[str(seq)] = hashlib.sha256(new).hexdigest()
    taken_out = {str(seq): sorted(taken) for seq, taken in places.items()}
    append(connection, kind, {**header, "contents": contents, "records": taken_out})
