"""What an engine does for the services. DuckDB is one; lists of rows are another, for one customer; Spark can be a third."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from nextbest.intake.table import TableFile
from nextbest.plan.stage import Stage


class Engine(Protocol):
    """Runs stages. One engine serves one run and is closed after it."""

    def scan(self, files: Sequence[TableFile]) -> list[tuple[str, TableFile]]:
        """Table functions over the files, one per shape, each with a file of that shape."""
        ...

    def execute(self, statement: str) -> None:
        """Run a statement for its effect on a stage's table."""
        ...

    def insert(self, table: str, select: str) -> None:
        """Add rows to a stage's table."""
        ...

    def delete(self, table: str, where: str) -> None:
        """Take rows out of a stage's table. `where` does not ask the table itself."""
        ...

    def update(self, table: str, column: str, value: str, where: str) -> None:
        """Set a column of some rows of a stage's table."""
        ...

    def drop(self, table: str) -> None:
        """Forget a table, if it is there."""
        ...

    def create(self, stage: Stage) -> None:
        """Make the stage's table."""
        ...

    def union(self, name: str, selects: Sequence[str]) -> None:
        """Make a table of all rows of several selects, in no order. `selects`: at least one, those with most rows first.

        Later only its rows change, by `insert` and `delete`, and it is made anew by `union` alone.
        """
        ...

    def view(self, stage: Stage) -> None:
        """Name the stage's select without storing it."""
        ...

    def rows(self, select: str) -> list[tuple[Any, ...]]:
        """All rows of a small result."""
        ...

    def load(self, name: str, table: pa.Table) -> None:
        """Make a table of Arrow's."""
        ...

    def show(self, name: str, table: pa.Table) -> None:
        """Let a table of Arrow's be asked by a name, without keeping it anywhere else; not by `batches`, `export` or `union`."""
        ...

    def batches(self, select: str, size: int) -> pa.RecordBatchReader:
        """A result as Arrow, so many rows at a time. Rows of a bare table come in the order in which they stand."""
        ...

    def export(self, results: Mapping[Path, str]) -> None:
        """Write results, each to its file, Parquet or CSV by its ending."""
        ...
