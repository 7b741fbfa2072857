"""Online: one customer decided at a time, from rows that are posted, by the same statements as a batch."""

import hashlib
import json
import logging
import re
import tempfile
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nextbest.engines.repeated import RepeatedEngine
from nextbest.engines.rows.engine import RowsEngine
from nextbest.engines.rows.types import UnsupportedError
from nextbest.errors import DataError, Problem
from nextbest.intake.files import Found
from nextbest.intake.table import TableFile
from nextbest.plan import features, records, staging
from nextbest.plan.cell import AMBIGUOUS
from nextbest.plan.replies import replies
from nextbest.plan.stage import FILE_COLUMN, quote
from nextbest.playbook.bind import Bound
from nextbest.playbook.sources import Source
from nextbest.services.incoming import code_of
from nextbest.services.job import Job
from nextbest.services.memory import Memory
from nextbest.services.provenance import provenance, run_id_of
from nextbest.services.reading import Reading
from nextbest.services.summing import sum_up
from nextbest.store.workspace import Workspace

if TYPE_CHECKING:
    from nextbest.services.forecasts import Forecast

Rows = Mapping[str, Sequence[Mapping[str, Any]]]
"""Source → its rows, as one customer's tables hold them. Columns go by any name that the playbook accepts."""

_LOG = logging.getLogger("nextbest.server")

MOST_ROWS = 20_000
"""Rows of one customer in one table."""


@dataclass
class _Posted(Reading):
    """Reading of rows that stand in the engine's tables `posted <source>`, as text."""

    def _rows_of(self, name: str, numbers: bool = False) -> str:
        business = self.book.model.business
        source = business.sources[name]
        columns = tuple(source.columns)
        file = TableFile(name, Path("posted"), "posted", dict(zip(columns, columns, strict=True)), columns)
        return staging.read_rows(source, quote(_table(name)), file, business=business)

    def type_of(self, code: str, staged: str) -> str:
        """Text, whoever is posted: the engine's tables stay from one customer to the next."""
        return "varchar"

    def _malformed(self, name: str) -> None:
        """Posted rows are split into cells as they come."""

    def nothing_left(self, name: str) -> None:
        """Of a file it would be an accident; one customer may have bought before the horizon only. The problems are told."""

    def unknown_features(self, names: Iterable[str]) -> None:
        """Of a file it would be a column that is missing; of one customer something is always unknown."""


def _table(source: str) -> str:
    return f"posted {source}"


@dataclass
class Online:
    """Decides with one playbook for one day. `usual`: what was usual in the last batch, else the playbook's defaults hold.

    `models`: folders that `train` wrote; what they say stands in the customer columns that learn.yaml names, where a post lacks them.
    One decision at a time: a second caller waits. Rows that are Python values make it; DuckDB does, some ten times slower, where
    models are asked, and where a playbook holds what rows cannot do.
    """

    book: Bound
    usual: Mapping[str, float | None] | None = None
    workspace: Workspace | None = None
    models: Sequence[Path] = ()
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="nextbest-online-")
        self._rows: RowsEngine | None = None
        if not self.models:
            try:
                self._rows = RowsEngine(Path(self._folder.name))
            except UnsupportedError as error:
                self._without_rows(error)
        self._repeated: RepeatedEngine | None = None
        self._linted = False
        self._forecasts: list[Forecast] = []
        self._digests: list[dict[str, str]] = []
        if self.models:
            from nextbest.services import forecasts  # what models need takes seconds to import

            self._forecasts, self._digests = forecasts.forecasts(self.models, self.book), forecasts.digests(self.models)

    def _without_rows(self, error: UnsupportedError) -> None:
        _LOG.warning("fresh decisions run in DuckDB", extra={"what": f"{self.book.model.business.name}: {error}"})
        if self._rows:
            self._rows.connection.close()
            self._rows = None

    def close(self) -> None:
        """Free the engines."""
        for engine in (self._rows, self._repeated):
            if engine:
                engine.connection.close()
        self._folder.cleanup()

    def decide(self, rows: Rows, *, moment: datetime, record: bool = False) -> dict[str, Any]:
        """The reply for the one customer of `rows`. `record`: reserve and write it into the workspace's ledger.

        Consents, earlier contacts and suppressions of the workspace are heeded either way. Raises DataError for rows that
        cannot be read (with a problem for each), StoreError.
        """
        posted = named_rows(self.book, rows)
        with self._lock:
            if self._rows:
                try:
                    return self._decide(self._rows, posted, moment, record)
                except UnsupportedError as error:
                    if error.always:
                        self._without_rows(error)
            if self._repeated is None:
                self._repeated = RepeatedEngine(Path(self._folder.name))
            return self._decide(self._repeated, posted, moment, record)

    def _decide(
        self, engine: RowsEngine | RepeatedEngine, posted: dict[str, list[dict[str, str | None]]], moment: datetime, record: bool
    ) -> dict[str, Any]:
        book = self.book
        business = book.model.business
        job = Job(book, engine, moment, usual=self.usual or {}, linted=self._linted and engine is self._repeated)
        for name, source in business.sources.items():
            engine.fill(_table(name), {**dict.fromkeys(source.columns, "varchar"), FILE_COLUMN: "varchar"}, posted[name])
        reading = _Posted(book, Found((), (), {}), engine, Path(self._folder.name))
        key = book.code
        code = code_of(posted[business.customers][0][key] or "")
        memory = self._memory(posted, moment, code, record)
        if memory:
            reading.remembered = memory.consents(job)
        reading.customers()
        engine.create(features.left_alone(book, holdouts=memory is not None, erased_salt=memory.erased_salt if memory else ""))
        sum_up(reading)
        engine.create(records.places(book))
        job.features()
        for forecast in self._forecasts:
            forecast.fill(reading)
        if self._forecasts:
            job.features_again()
        job.score()
        if memory and record:
            memory.reserve(job)
        elif memory:
            memory.look(job)
        else:
            job.no_past()
            job.hold(explore=False)
        job.write()
        if memory and record:
            memory.record(job, Path(self._folder.name))
            memory.late(job)
        self._linted = job.linted and engine is self._repeated  # for rows, the patterns cost less than a search among known shapes
        stage = replies(book, memory.run_id if memory and memory.recorded else None)
        found = engine.rows(f"select reply from ({stage.select})")
        said = json.loads(found[0][0]) if found else self._erased(code)
        return {**said, "problems": reading.problems}

    def _erased(self, code: str) -> dict[str, Any]:
        """The reply about somebody who had themselves erased: nothing of them stands in any stage."""
        business = self.book.model.business
        return {
            "customer": code, "playbook": business.name, "version": business.version, "as_of": self.book.as_of.isoformat(),
            "currency": business.currency, "run_id": None, "decision_id": None, "left_alone": "erased", "segments": [], "gaps": [],
            "offers": [], "message": None,
        }  # fmt: skip

    def _memory(self, posted: dict[str, list[dict[str, str | None]]], moment: datetime, code: str, record: bool) -> Memory | None:
        if self.workspace is None:
            return None
        content = json.dumps([posted, dict(self.usual or {})], sort_keys=True, ensure_ascii=False).encode()
        header = provenance(self.book, moment, hashlib.sha256(content).hexdigest(), models=self._digests)
        run_id = run_id_of(header) if record else ""  # what is not recorded is no run: it sees the workspace as it is now
        return Memory(self.workspace, run_id, header, only=code)


def named_rows(book: Bound, rows: Rows) -> dict[str, list[dict[str, str | None]]]:
    """The rows under the playbook's own column names, as text. Raises DataError with every problem, naming table and column."""
    business = book.model.business
    problems = [Problem(name, "no such table", f"one of {', '.join(business.sources)}") for name in rows if name not in business.sources]
    named: dict[str, list[dict[str, str | None]]] = {}
    for name, source in business.sources.items():
        given = rows.get(name, [])
        if len(given) > MOST_ROWS:
            problems.append(Problem(name, f"{len(given)} rows", f"at most {MOST_ROWS} for one customer"))
            continue
        known = {header.lower(): column for column, item in source.columns.items() for header in (column, *item.names)}
        columns = {header: known.get(header.strip().lower()) for row in given for header in row}
        unknown = sorted(header for header, column in columns.items() if column is None)
        problems += [Problem(f"{name}.{header[:40]}", "no such column", f"one of {', '.join(source.columns)}") for header in unknown]
        nested = sorted({header for row in given for header, value in row.items() if _is_nested(value)})
        problems += [
            Problem(f"{name}.{header[:40]}", "is no value", "send a text, a number, true, false or a list of them") for header in nested
        ]
        named[name] = [{column: _as_text(value) for header, value in row.items() if (column := columns[header])} for row in given]
        problems += _missing(name, source, named[name])
    if len(rows.get(business.customers, [])) != 1:
        problems.append(Problem(business.customers, "not exactly one row", "post the one customer to decide for"))
    key = book.code
    if not problems and not (named[business.customers][0].get(key) or "").strip():
        problems.append(Problem(f"{business.customers}.{key}", "is empty", "fill in the customer's code"))
    if problems:
        raise DataError(problems)
    code = named[business.customers][0][key]
    for name, source in business.sources.items():  # rows of one customer need not repeat whose they are
        own = source.code
        named[name] = [{**row, own: row.get(own) or code} for row in named[name]]
    return named


def _missing(name: str, source: Source, rows: list[dict[str, str | None]]) -> list[Problem]:
    required = [c for c, item in source.columns.items() if item.required and item.type != "id"]
    return [Problem(f"{name}.{c}", "is missing", "add the column") for c in required if any(c not in row for row in rows)]


def _is_nested(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and any(isinstance(item, dict | list) for item in value))


def _as_text(value: Any) -> str | None:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ";".join(str(item) for item in value)
    if isinstance(value, float) and re.match(AMBIGUOUS, str(value)):  # a number, which a digit more tells from thousands
        return f"{value}0"
    return None if value is None else str(value)
