"""The embedded engine."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb

from nextbest.errors import DataError, Problem
from nextbest.intake.files import TableFile
from nextbest.plan.stage import Stage, quote, text
from nextbest.settings import Settings

MALFORMED = "malformed_rows"


class DuckDBEngine:
    """One in-memory database that spills to `folder` past the memory limit."""

    def __init__(self, folder: Path, settings: Settings | None = None):
        settings = settings or Settings()
        config: dict[str, Any] = {"memory_limit": settings.memory_limit, "temp_directory": str(folder / "spill")}
        if settings.threads:
            config["threads"] = settings.threads
        self.connection = duckdb.connect(config=config)
        # Nothing from the network, and no extension that is not built in.
        self.connection.execute("set autoinstall_known_extensions = false")
        self.connection.execute("set timezone = 'UTC'") if _has_timezone(self.connection) else None

    def __enter__(self) -> "DuckDBEngine":
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def scan(self, files: Sequence[TableFile]) -> list[tuple[str, TableFile, dict[str, str]]]:
        """Table functions over the files, one per shape, each with a file of that shape and its native types."""
        shapes: dict[tuple[object, ...], list[TableFile]] = {}
        for file in files:
            shapes.setdefault(file.shape, []).append(file)
        found = []
        for group in shapes.values():
            paths = "[" + ", ".join(text(str(file.path)) for file in group) + "]"
            first = group[0]
            if first.kind == "parquet":
                scan = f"read_parquet({paths}, filename = true)"
                native = {str(row[0]): str(row[1]) for row in self.rows(f"describe select * from {scan}")}
            else:
                columns = ", ".join(f"{text(header)}: 'VARCHAR'" for header in _unnamed(first.headers))
                scan = (
                    f"read_csv({paths}, auto_detect = false, header = true, columns = {{{columns}}}, "
                    f"delim = {text(first.delimiter)}, quote = '\"', escape = '\"', filename = true, "
                    f"store_rejects = true, rejects_table = '{MALFORMED}', rejects_scan = '{MALFORMED}_scan', rejects_limit = 0)"
                )
                native = {}
            found.append((scan, first, native))
        return found

    def create(self, stage: Stage) -> None:
        """Make the stage's table."""
        self._run(f"create or replace table {quote(stage.name)} as {stage.select}", stage)

    def view(self, stage: Stage) -> None:
        """Name the stage's select without storing it."""
        self._run(f"create or replace view {quote(stage.name)} as {stage.select}", stage)

    def rows(self, select: str) -> list[tuple[Any, ...]]:
        """All rows of a small result."""
        return self.connection.execute(select).fetchall()

    def execute(self, statement: str) -> None:
        """Run a statement for its effect on a stage's table."""
        self.connection.execute(statement)

    def export(self, select: str, path: Path) -> None:
        """Write a result to one file, Parquet or CSV by its ending."""
        options = "format parquet, compression zstd" if path.suffix == ".parquet" else "format csv, header"
        self.connection.execute(f"copy ({select}) to {text(str(path))} ({options})")

    def _run(self, statement: str, stage: Stage) -> None:
        try:
            self.connection.execute(statement)
        except duckdb.InvalidInputException as error:
            # A file changed or broke between the look at its head and the read.
            first = str(error).splitlines()[0]
            raise DataError([Problem(stage.name, f"a file could not be read: {first[:200]}")]) from None


def _unnamed(headers: Sequence[str]) -> list[str]:
    """Headers as column names; a blank one gets a name of its own."""
    return [header or f"column_{place}" for place, header in enumerate(headers, 1)]


def _has_timezone(connection: duckdb.DuckDBPyConnection) -> bool:
    known = connection.execute("select count(*) from duckdb_settings() where lower(name) = 'timezone'").fetchone()
    return bool(known and known[0])
