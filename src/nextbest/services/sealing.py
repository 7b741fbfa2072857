"""Sealing a run: its records with their inputs beside them, part by part, ready to be chained."""

import io
import zipfile
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from nextbest.plan.records import INPUT, input_columns
from nextbest.plan.stage import Stage
from nextbest.playbook.load import Loaded
from nextbest.services.job import Job
from nextbest.store import ledger

PART = 20_000
"""Records in one entry of the ledger: small enough to read one customer's quickly."""


class Part(NamedTuple):
    """A part of the run, sealed: its first place, its content in a file, its digests and how many records."""

    first: int
    content: Path
    digests: bytes
    records: int


def seal(job: Job, temp: Path) -> list[Part]:
    """Seal the job's records: two parts at a time while the engine reads on; what is sealed waits on disk."""
    waiting: deque[Future[Part]] = deque()
    parts: list[Part] = []
    source = "records"
    if job.engine.rows("select 1 from records where place <> rowid limit 1"):  # joins leave them in any order
        source = "records_in_order"
        job.engine.create(Stage(source, "one customer", "from records order by place"))
    records = job.engine.batches(f"select place, customer, record, inputs_kept from {source}", PART)
    with ThreadPoolExecutor(2) as pool:
        for rows in _with_inputs(_in_parts(records), job.engine.batches(input_columns(job.book), PART), job.key.strip('"')):
            number = len(parts) + len(waiting)
            waiting.append(pool.submit(_sealed_part, rows, number * PART, temp / f"part-{number}"))
            if len(waiting) > 2:
                parts.append(waiting.popleft().result())
        parts += [item.result() for item in waiting]
    job.engine.drop("records_in_order")
    return parts


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


def _sealed_part(rows: pa.Table, first: int, path: Path) -> Part:
    batch = ledger.sealed(rows)
    path.write_bytes(batch.content)
    return Part(first, path, batch.digests, batch.records)


def archived(playbook: Loaded) -> bytes:
    """A playbook's files as a zip; the same files make the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in sorted(playbook.files.items()):
            archive.writestr(zipfile.ZipInfo(name), content)
    return buffer.getvalue()
