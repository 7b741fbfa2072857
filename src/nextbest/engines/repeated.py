"""The embedded engine for the same few stages over and over: one customer after another.

Its tables are made once and then only emptied and filled, and each statement is planned once: planning takes most of
the time that one customer's row needs. DuckDB plans a prepared statement anew at every run once a table was made after
it, so that such statements are prepared again.
"""

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from nextbest.engines.arrow import kinds_of
from nextbest.engines.duckdb import DuckDBEngine
from nextbest.plan.stage import Stage, quote, text, together
from nextbest.settings import Settings

MOST_PLANNED = 400
_CHANGES = ("insert", "update", "delete")


class RepeatedEngine(DuckDBEngine):
    """Like DuckDBEngine; a stage that is made again is run again as planned. For one thread at a time."""

    def __init__(self, folder: Path):
        super().__init__(folder, Settings(threads=1))
        # A plan that trusts what the tables held when it was made (say, that a column is always 3) is wrong for the next customer.
        self.connection.execute("set disabled_optimizers = 'statistics_propagation,compressed_materialization'")
        self._tables: set[str] = set()
        self._views: dict[str, str] = {}
        self._planned: dict[str, tuple[str, int]] = {}
        self._made, self._names = 0, itertools.count()

    def create(self, stage: Stage) -> None:
        """Make the stage's table, or fill it anew."""
        if stage.name not in self._tables:
            self._make(stage.name, f"as {stage.select} limit 0")
        self._run(f"delete from {quote(stage.name)}")
        self._run(f"insert into {quote(stage.name)} {stage.select}")

    def union(self, name: str, selects: Sequence[str]) -> None:
        """Make the table of all rows of several selects, or fill it anew."""
        self.create(together(name, selects))

    def view(self, stage: Stage) -> None:
        """Name the stage's select without storing it."""
        if self._views.get(stage.name) != stage.select:
            super().view(stage)
            self._views[stage.name] = stage.select
            self._made += 1

    def rows(self, select: str) -> list[tuple[Any, ...]]:
        """All rows of a small result."""
        return self._run(select)

    def execute(self, statement: str) -> None:
        """Run a statement for its effect on a stage's table."""
        if statement.startswith(_CHANGES):
            self._run(statement)
        else:
            super().execute(statement)
            self._made += 1

    def drop(self, table: str) -> None:
        """A table that is no longer needed: it is filled anew the next time."""

    def load(self, name: str, table: pa.Table) -> None:
        """Make a small table of Arrow's, or fill it anew."""
        kinds = kinds_of(table.schema)
        if kinds is not None:
            self.fill(name, kinds, table.to_pylist())
        else:
            super().load(name, table)
            self._made += 1

    def show(self, name: str, table: pa.Table) -> None:
        """Let a small table of Arrow's be asked by a name."""
        self.load(name, table)

    def fill(self, name: str, columns: dict[str, str], rows: list[dict[str, Any]]) -> None:
        """Make a table of a few rows, or fill it anew. `columns`: name → type; a column that a row lacks is null."""
        if name not in self._tables:
            self._make(name, f"({', '.join(f'{quote(column)} {kind}' for column, kind in columns.items())})")
        self._run(f"delete from {quote(name)}")
        if rows:
            shape = json.dumps([columns], ensure_ascii=False).replace("'", "''")
            listed = ", ".join(f"r.{quote(column)}" for column in columns)
            values = json.dumps(rows, ensure_ascii=False, default=str)
            self._run(f"insert into {quote(name)} select {listed} from (select unnest(from_json(?::json, '{shape}')) as r)", values)

    def _make(self, name: str, definition: str) -> None:
        self.connection.execute(f"create table {quote(name)} {definition}")
        self._tables.add(name)
        self._made += 1

    def _run(self, statement: str, *values: str) -> list[tuple[Any, ...]]:
        name, made = self._planned.get(statement, ("", -1))
        if made != self._made:
            if name or len(self._planned) >= MOST_PLANNED:
                old, _ = self._planned.pop(statement if name else next(iter(self._planned)))
                self.connection.execute(f"deallocate {old}")
            name = f"planned_{next(self._names)}"
            self.connection.execute(f"prepare {name} as {statement}")
            self._planned[statement] = (name, self._made)
        given = f"({', '.join(text(value) for value in values)})" if values else ""
        return self.connection.execute(f"execute {name}{given}").fetchall()
