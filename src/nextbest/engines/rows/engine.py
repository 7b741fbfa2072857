"""Stages over tables that are lists of rows. DuckDB says what a stage means; it holds the tables' columns, and no row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from nextbest.engines import arrow
from nextbest.engines.duckdb import DuckDBEngine
from nextbest.engines.rows.asking import Asking
from nextbest.engines.rows.expressions import Rows
from nextbest.engines.rows.plans import plan_of
from nextbest.engines.rows.relations import Relation, World, kinds_of, relation
from nextbest.engines.rows.types import Type, UnsupportedError, given
from nextbest.intake.table import TableFile
from nextbest.plan.stage import Stage, quote, together
from nextbest.settings import Settings

MOST_PLANNED = 400
_KEPT_OPTIMIZERS = {"expression_rewriter", "unused_columns", "common_subexpressions"}
"""What the optimiser may do to a plan. All else pays for many rows only, and makes plans that are harder to follow."""


@dataclass(frozen=True)
class _Planned:
    """A select, ready to run. `kinds`: its columns' types; `schema`: the same for Arrow, once it was asked for;
    `fits`: the tables that have such columns."""

    made: Relation
    kinds: tuple[Type, ...]
    schema: list[pa.Schema] = field(default_factory=list)
    fits: set[str] = field(default_factory=set)


class RowsEngine:
    """An engine for the rows of one customer, and then of another, by one thread.

    Every method raises UnsupportedError for what it cannot run.
    """

    def __init__(self, folder: Path):
        self.connection = DuckDBEngine(folder, Settings(threads=1)).connection
        known = {name for (name,) in self.connection.execute("select name from duckdb_optimizers()").fetchall()}
        self.connection.execute(f"set disabled_optimizers = '{','.join(sorted(known - _KEPT_OPTIMIZERS))}'")
        self._asking = Asking(self.connection)
        self._tables: dict[str, Rows] = {}
        self._columns: dict[str, list[tuple[Any, ...]]] = {}
        self._views: dict[str, str] = {}
        self._planned: dict[str, _Planned] = {}

    def create(self, stage: Stage) -> None:
        """Make the stage's table."""
        if stage.name not in self._columns:
            self._define(stage.name, f"as {stage.select} limit 0")
        self._tables[stage.name] = self._rows(stage.select)
        self._fits(stage.name, stage.select, names=True)

    def union(self, name: str, selects: Sequence[str]) -> None:
        """Make a table of all rows of several selects."""
        self.create(together(name, selects))

    def view(self, stage: Stage) -> None:
        """Name the stage's select without storing it."""
        if self._views.get(stage.name) != stage.select:
            self.connection.execute(f"create or replace view {quote(stage.name)} as {stage.select}")
            self._views[stage.name] = stage.select
            self._planned.clear()  # a plan holds its views' selects

    def rows(self, select: str) -> list[tuple[Any, ...]]:
        """All rows of a small result, as DuckDB's client would give them."""
        if select.startswith("describe "):
            return self._columns[select.removeprefix("describe ").strip('"')]
        found, kinds = self._rows(select), self._planned[select].kinds
        return [tuple([given(value, kind) for value, kind in zip(row, kinds, strict=True)]) for row in found]

    def insert(self, table: str, select: str) -> None:
        """Add rows to a stage's table."""
        found = self._rows(select)
        self._fits(table, select)
        self._tables[table] = [*self._tables[table], *found]

    def delete(self, table: str, where: str) -> None:
        """Take rows out of a stage's table."""
        gone = self._rows(f"select coalesce({where}, false) from {quote(table)}")
        self._tables[table] = [row for row, (is_gone,) in zip(self._tables[table], gone, strict=True) if not is_gone]

    def update(self, table: str, column: str, value: str, where: str) -> None:
        """Set a column of some rows of a stage's table."""
        changed = f"case when {where} then {value} else {quote(column)} end as {quote(column)}"
        select = f"select * replace ({changed}) from {quote(table)}"
        found = self._rows(select)
        self._fits(table, select)
        self._tables[table] = found

    def execute(self, statement: str) -> None:
        """No statement is run as it stands."""
        raise UnsupportedError("a statement that is no select")

    def drop(self, table: str) -> None:
        """A table that is no longer needed: it is filled anew the next time."""
        if table in self._tables:
            self._tables[table] = []

    def load(self, name: str, table: pa.Table) -> None:
        """Make a small table of Arrow's."""
        kinds = arrow.kinds_of(table.schema)
        if kinds is None:
            raise UnsupportedError("a table of Arrow's with columns of another kind")
        self.fill(name, kinds, table.to_pylist())

    def show(self, name: str, table: pa.Table) -> None:
        """Let a small table of Arrow's be asked by a name."""
        self.load(name, table)

    def fill(self, name: str, columns: dict[str, str], rows: Sequence[dict[str, Any]]) -> None:
        """Make a table of a few rows. `columns`: name → type; a column that a row lacks is null."""
        if name not in self._columns:
            self._define(name, f"({', '.join(f'{quote(column)} {kind}' for column, kind in columns.items())})")
        if [column for column, *_ in self._columns[name]] != list(columns):
            raise UnsupportedError(f"a table whose columns change ({name})")
        self._tables[name] = [tuple([row.get(column) for column in columns]) for row in rows]

    def scan(self, files: Sequence[TableFile]) -> list[tuple[str, TableFile]]:
        """No files are read here."""
        raise UnsupportedError("a scan of files")

    def batches(self, select: str, size: int) -> pa.RecordBatchReader:
        """A result as Arrow, so many rows at a time."""
        rows = self.rows(select)
        known = self._planned[select].schema
        if not known:
            known.append(self.connection.sql(select).to_arrow_table().schema)
        [schema] = known
        arrays = [pa.array([row[place] for row in rows], field.type) for place, field in enumerate(schema)]
        return pa.RecordBatchReader.from_batches(schema, pa.Table.from_arrays(arrays, schema=schema).to_batches(size))

    def export(self, results: Mapping[Path, str]) -> None:
        """No files are written here."""
        raise UnsupportedError("an export to a file")

    def _define(self, name: str, definition: str) -> None:
        self.connection.execute(f"create or replace table {quote(name)} {definition}")
        self._columns[name] = self.connection.execute(f"describe {quote(name)}").fetchall()

    def _fits(self, table: str, select: str, names: bool = False) -> None:
        """Raises UnsupportedError where a select's columns are not the table's."""
        known = self._planned[select].fits
        if table in known:
            return
        own = [(column, kind) for column, kind, *_ in self._columns[table]]
        found = [(column, kind) for column, kind, *_ in self.connection.execute(f"describe {select}").fetchall()]
        if [kind for _, kind in own] != [kind for _, kind in found] or (names and own != found):
            raise UnsupportedError(f"a table whose columns change ({table})")
        known.add(table)

    def _rows(self, select: str) -> Rows:
        planned = self._planned.pop(select, None) or self._plan(select)
        self._planned[select] = planned  # at the end: what was not asked for the longest goes first
        if len(self._planned) > MOST_PLANNED:
            self._planned.pop(next(iter(self._planned)))
        try:
            return planned.made(World(self._tables))
        except (UnsupportedError, MemoryError):
            raise
        except Exception as error:  # a value beyond what Python's functions take, or one that DuckDB refuses: it shall say so itself
            raise UnsupportedError(f"a value ({type(error).__name__})", always=False) from error

    def _plan(self, select: str) -> _Planned:
        try:
            root = plan_of(self.connection, select)
            return _Planned(relation(root, self._asking), tuple(kinds_of(root)))
        except UnsupportedError:
            raise
        except Exception as error:
            raise UnsupportedError(f"a plan of a form that is not known ({type(error).__name__})") from error
