"""The embedded engine."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed, wait
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from pydantic import ByteSize, TypeAdapter

from nextbest.errors import Problem, UsageError
from nextbest.intake import scan
from nextbest.intake.table import TableFile
from nextbest.plan.stage import FILE_COLUMN, Stage, quote, text
from nextbest.settings import Settings

MALFORMED = "malformed_rows"
BATCH = 1 << 17
ENOUGH = 5_000_000_000
"""Bytes: the most memory that the engine takes unless it is told."""
SHARE, OWN_SHARE = 5 / 8, 4 / 5
"""The most of the machine's memory that it takes unless it is told; what DuckDB would take."""
NEVER = "1TB"
"""More than any machine has."""


class DuckDBEngine:
    """One in-memory database that spills to `folder` past the memory limit."""

    def __init__(self, folder: Path, settings: Settings | None = None):
        settings = settings or Settings()
        config: dict[str, Any] = {"temp_directory": str(folder / "spill")}
        if settings.memory_limit is not None:
            config["memory_limit"] = f"{settings.memory_limit}B"
        if settings.threads is not None:
            config["threads"] = settings.threads
        try:
            self.connection = duckdb.connect(config=config)
        except duckdb.Error as error:
            raise UsageError([Problem("NEXTBEST_MEMORY_LIMIT or NEXTBEST_THREADS", str(error).splitlines()[0], "e.g. 4GB, 2")]) from None
        self._shown: set[str] = set()
        self._parts: dict[str, list[str]] = {}
        if settings.memory_limit is None:
            _limit(self.connection)
        self.connection.execute("set enable_progress_bar = false")  # ours is the caller's
        # Memory that one stage frees the next one needs: giving it back in between takes time, most of all with several threads.
        # Nor is anything to be written over again, compressed, as a database that lasts would be.
        for threshold in ("allocator_flush_threshold", "allocator_bulk_deallocation_flush_threshold", "checkpoint_threshold"):
            self.connection.execute(f"set {threshold} = '{NEVER}'")
        # Nothing from the network, and no extension that is not built in.
        self.connection.execute("set autoinstall_known_extensions = false")
        self.connection.execute("set global timezone = 'UTC'") if _has_timezone(self.connection) else None  # for cursors too

    def __enter__(self) -> "DuckDBEngine":
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.connection.close()
        if isinstance(error, duckdb.OutOfMemoryException):
            fix = "raise it, or leave it unset; fewer threads (NEXTBEST_THREADS) need less"
            raise UsageError([Problem("NEXTBEST_MEMORY_LIMIT", "the memory does not suffice for these data", fix)]) from error

    def scan(self, files: Sequence[TableFile]) -> list[tuple[str, TableFile]]:
        """Table functions over the files, one per shape, each with a file of that shape."""
        shapes: dict[tuple[object, ...], list[TableFile]] = {}
        for file in files:
            shapes.setdefault(file.shape, []).append(file)
        return [(self._function(group), group[0]) for group in shapes.values()]

    def _function(self, files: Sequence[TableFile]) -> str:
        first = files[0]
        paths = [file.path for file in files]
        named = f"filename = {text(FILE_COLUMN)}"
        if first.kind == "parquet":
            return scan.parquet(*paths, how=named)
        columns = ", ".join(f"{text(header)}: 'VARCHAR'" for header in _unnamed(first.headers))
        return scan.csv(
            *paths,
            how=f"auto_detect = false, header = true, skip = {first.blank_lines}, columns = {{{columns}}}, "
            f"delim = {text(first.delimiter)}, quote = '\"', escape = '\"', {named}, "
            f"compression = '{'gzip' if first.kind == 'csv.gz' else 'none'}', "
            f"store_rejects = true, rejects_table = '{MALFORMED}', rejects_scan = '{MALFORMED}_scan', rejects_limit = 0",
        )

    def create(self, stage: Stage) -> None:
        """Make the stage's table."""
        self.connection.execute(f"create or replace table {quote(stage.name)} as {stage.select}")

    def union(self, name: str, selects: Sequence[str]) -> None:
        """Make a table of all rows of several selects, in no order, each by a thread of its own, those with most rows first.

        Each is stored apart: several threads at one table each store rows of their own first and then once more, together.
        """
        self.drop(name)
        self._parts[name] = parts = [f"{name} {place}" for place, _ in enumerate(selects, 1)]
        created = (f"create or replace table {quote(part)} as {select}" for part, select in zip(parts, selects, strict=True))
        self._side_by_side([partial(duckdb.DuckDBPyConnection.execute, query=statement) for statement in created], len(parts))
        self.execute(f"create view {quote(name)} as {' union all '.join(f'from {quote(part)}' for part in parts)}")

    def view(self, stage: Stage) -> None:
        """Name the stage's select without storing it."""
        self.connection.execute(f"create or replace view {quote(stage.name)} as {stage.select}")

    def rows(self, select: str) -> list[tuple[Any, ...]]:
        """All rows of a small result."""
        return self.connection.execute(select).fetchall()

    def execute(self, statement: str) -> None:
        """Run a statement for its effect on a stage's table."""
        self.connection.execute(statement)

    def insert(self, table: str, select: str) -> None:
        """Add rows to a stage's table."""
        self.execute(f"insert into {quote(self._parts.get(table, [table])[0])} {select}")

    def delete(self, table: str, where: str) -> None:
        """Take rows out of a stage's table."""
        for part in self._parts.get(table, [table]):
            self.execute(f"delete from {quote(part)} where {where}")

    def update(self, table: str, column: str, value: str, where: str) -> None:
        """Set a column of some rows of a stage's table."""
        self.execute(f"update {quote(table)} set {quote(column)} = {value} where {where}")

    def show(self, name: str, table: pa.Table) -> None:
        """Let a table of Arrow's be asked by a name, without keeping it anywhere else; not by `batches`, `export` or `union`."""
        batches = table.combine_chunks().to_batches(max_chunksize=BATCH)  # each goes to one thread
        self.connection.register(name, pa.Table.from_batches(batches, table.schema))
        self._shown.add(name)

    def drop(self, table: str) -> None:
        """Forget a table, if it is there."""
        if table in self._shown:
            self._shown.remove(table)
            self.connection.unregister(table)
            return
        if parts := self._parts.pop(table, []):
            self.execute(f"drop view if exists {quote(table)}")
            for part in parts:
                self.drop(part)
            return
        self.execute(f"drop table if exists {quote(table)}")

    def load(self, name: str, table: pa.Table) -> None:
        """Make a table of Arrow's."""
        self.connection.register("nextbest_arrow", table)
        self.connection.execute(f"create or replace table {quote(name)} as from nextbest_arrow")
        self.connection.unregister("nextbest_arrow")

    def batches(self, select: str, size: int) -> pa.RecordBatchReader:
        """A result as Arrow, so many rows at a time. Rows of a bare table come in the order in which they stand."""
        return self._cursor().sql(select).to_arrow_reader(size)

    def export(self, results: Mapping[Path, str]) -> None:
        """Write results, each to its file, Parquet or CSV by its ending, two at a time. Where one fails the others end.

        To keep the rows' order between threads takes a copy of them all: with two cores, two files at once by one thread each take two
        thirds of the time of one after the other by both.
        """
        self._side_by_side([partial(_write, select=select, path=path) for path, select in results.items()], 2)

    def _side_by_side(self, tasks: Sequence[Callable[[duckdb.DuckDBPyConnection], object]], most: int) -> None:
        """Run tasks at the same time, so many at most, each with a connection of its own. Where one fails the others end.

        Threads beside them, where there are more, help all.
        """
        [(threads,)] = self.rows("select current_setting('threads')")
        at_once = max(1, min(threads, len(tasks), most))
        cursors = [self._cursor() for _ in tasks]
        self.execute(f"set threads = {threads - at_once + 1}")  # each call brings a thread of its own
        try:
            with ThreadPoolExecutor(at_once) as pool:
                running = [pool.submit(task, cursor) for task, cursor in zip(tasks, cursors, strict=True)]
                try:
                    for task in as_completed(running):
                        task.result()
                except BaseException:
                    for task in running:
                        task.cancel()
                    _end(running, cursors)
                    raise
        finally:
            self.execute(f"set threads = {threads}")

    def _cursor(self) -> duckdb.DuckDBPyConnection:
        """A connection of a thread's own."""
        cursor = self.connection.cursor()
        cursor.execute("set enable_progress_bar = false")
        return cursor


def _end(running: Sequence[Future[object]], cursors: Sequence[duckdb.DuckDBPyConnection]) -> None:
    """Interrupt what is running, again and again: a statement that has only begun does not hear it."""
    while True:
        with suppress(KeyboardInterrupt):  # asked to stop once more: it is what this does
            if not wait(running, timeout=0.1).not_done:
                return
            for cursor in cursors:
                cursor.interrupt()


def _write(connection: duckdb.DuckDBPyConnection, select: str, path: Path) -> None:
    # Looking for a dictionary in a column of numbers that has none takes longer than writing it.
    parquet = "format parquet, compression zstd, compression_level 1, dictionary_size_limit 2048"
    options = parquet if path.suffix == ".parquet" else "format csv, header"
    try:
        connection.execute(f"copy ({select}) to {text(str(path))} ({options})")
    except duckdb.IOException as error:  # a full disk is told as such, without the names of scratch files
        reason = str(error).rpartition(": ")[2] or "it cannot be written"
        raise UsageError([Problem(path.name, reason, "free some room, or name a folder on another disk")]) from error


def _unnamed(headers: Sequence[str]) -> list[str]:
    """Headers as column names; a blank one gets a name of its own."""
    return [header or f"unnamed column {place}" for place, header in enumerate(headers, 1)]


def _limit(connection: duckdb.DuckDBPyConnection) -> None:
    """Leave room, on a small machine, for what is held beside the engine."""
    [(own,)] = connection.execute("select current_setting('memory_limit')").fetchall()
    machine = TypeAdapter(ByteSize).validate_python(own) / OWN_SHARE
    connection.execute(f"set memory_limit = '{min(ENOUGH, int(SHARE * machine))}B'")


def _has_timezone(connection: duckdb.DuckDBPyConnection) -> bool:
    known = connection.execute("select count(*) from duckdb_settings() where lower(name) = 'timezone'").fetchone()
    return bool(known and known[0])
