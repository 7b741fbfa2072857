"""Reading: the files of every source as typed tables, with each problem counted and each odd row kept aside."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import duckdb

from nextbest.engines.base import Engine
from nextbest.engines.duckdb import MALFORMED, DuckDBEngine
from nextbest.errors import DataError, Problem, UsageError
from nextbest.intake.files import Found, find, to_utf8
from nextbest.plan import features, staging
from nextbest.plan.cell import parsed
from nextbest.plan.stage import Stage, quote, text
from nextbest.playbook.bind import Bound
from nextbest.playbook.load import Loaded
from nextbest.playbook.sources import Source
from nextbest.services.progress import Progress
from nextbest.settings import Settings

_REJECTS = """select cast(null as varchar) as source, cast(null as varchar) as source_file, cast(null as bigint) as line,
  cast(null as varchar) as problem, cast(null as boolean) as kept, cast(null as varchar) as row where false"""


@dataclass
class Reading:
    """Makes the customers table and the activity tables, and beside them `rejects`: one row that was left out or is odd.

    `problems` counts what was found; `counts` says how many rows of each source were read and kept. `remembered`: the
    purposes whose consents stand in the engine's table of that name. `others`: tables beside the playbook's sources.
    """

    book: Bound
    found: Found
    engine: Engine
    temp: Path
    problems: list[dict[str, Any]] = field(default_factory=list)
    counts: dict[str, Any] = field(default_factory=dict)
    id_type: str = "varchar"
    remembered: tuple[str, ...] = ()
    others: Mapping[str, Source] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.engine.create(Stage("rejects", "one row that was left out or is odd", _REJECTS))

    @property
    def sources(self) -> dict[str, Source]:
        """Every table that is read."""
        return {**self.book.model.business.sources, **self.others}

    @property
    def key(self) -> str:
        """The customer's code, quoted."""
        return quote(self.book.code)

    def _rows_of(self, name: str) -> str:
        source = self.sources[name]
        if source.made_of and not self.found.of(name):
            return staging.codes_of(source, self.sources[source.made_of], self._rows_of(source.made_of))
        if not self.found.of(name):
            return staging.no_rows(source)
        files = [to_utf8(file, self.temp / "utf8") for file in self.found.of(name)]
        return "\nunion all by name\n".join(staging.read_rows(source, scan, file) for scan, file in self.engine.scan(files))

    def _stage(self, name: str, staged: str, rows: str) -> None:
        """The typed columns without what is only for rejects, so that none of it is computed."""
        raws = [staging.raw(column) for column in self.sources[name].columns]
        lean = f"select * exclude ({', '.join(raws)}, source_file) from ({rows})"
        try:
            self.engine.create(Stage(staged, "one row of the file", lean))
        except duckdb.Error as error:
            # The engine's own words may hold a customer's values: they stay in the cause, for a debugger.
            what = f"the files cannot be read together ({type(error).__name__})"
            raise DataError([Problem(name, what, "export them again as UTF-8 CSV or Parquet, all of one kind")]) from error

    def customers(self) -> None:
        """One row per customer. Decides how codes are typed: whole numbers where all of them are."""
        name = self.book.model.business.customers
        rows = staging.customers(self.book, self._rows_of(name), self.remembered)
        staged = f"{name}_rows"
        self._stage(name, staged, rows)
        self.id_type = self.type_of(self.sources[name].code, staged)
        self.engine.create(Stage(name, "one customer", staging.distinct_customers(self.book, staged, self.id_type)))
        [(read,)] = self.engine.rows(f"select count(*) from {quote(staged)}")
        rejected = self._note(name, staged, rows)
        if self.found.of(name) or not self.sources[name].made_of:
            self._malformed(name)
        else:
            drop_malformed(self.engine)  # they are told when the rows themselves are read
        self.counts[name] = {"read": read, "kept": read - rejected}

    def activity(self, name: str) -> None:
        """An activity table, rows that stand twice left out."""
        rows = staging.activity(self.book, name, self._rows_of(name), self.book.model.business.customers, self.id_type)
        self._stage(name, name, rows)
        rejected = self._note(name, name, rows)
        clean = f"row_hash is not null and (problem is null or not {staging.is_rejected()})"
        [(read, doubles)] = self.engine.rows(
            f"select count(*), count(*) filter ({clean}) - count(distinct row_hash) filter ({clean}) from {quote(name)}"
        )
        if doubles:
            self._leave_out_doubles(name, rows, clean)
            self._problem(name, "duplicate_row", doubles)
        self._malformed(name)
        self.counts[name] = {"read": read, "kept": read - rejected - doubles}
        if read and rejected == read:
            self._nothing_left(name)

    def _nothing_left(self, name: str) -> None:
        found = [item for item in self.problems if item["table"] == name and not item["kept"]]
        why = ", ".join(f"{item['rows']} {item['problem']}" for item in found)
        fix = "; ".join(f"{item['problem']}: {item['advice']}" for item in found)
        raise DataError([Problem(name, f"every row would be left out: {why}", f"check the as-of day and the codes; {fix}")])

    def features(self, progress: Progress, more: int = 0) -> int:
        """Everything read and summed up: the tables `features` and `population`. `more`: steps that follow; returns how many there are."""
        business = self.book.model.business
        activity = [name for name in business.sources if name != business.customers]
        steps = len(activity) + 2 + more
        progress(f"reading {business.customers}", 1, steps)
        self.customers()
        self.engine.create(features.left_alone(self.book))
        for place, name in enumerate(activity, 2):
            progress(f"reading {name}", place, steps)
            self.activity(name)
            self.engine.create(features.cells(self.book, name))
        progress("computing features", steps - more, steps)
        self.engine.create(features.features(self.book))
        self.engine.create(features.population(self.book))
        return steps

    def listed(self) -> list[dict[str, Any]]:
        """The problems by table, the left out rows first."""
        return sorted(self.problems, key=lambda item: (item["kept"], item["table"], item["problem"]))

    def odd(self) -> list[Problem]:
        """The problems in words, to be told where they may be the cause of another."""
        return [
            Problem(f"{item['table']}.{item['column'] or ''}".rstrip("."), f"{item['rows']} rows {item['problem']}", item["advice"])
            for item in self.listed()
        ]

    def write_rejects(self, beside: Path) -> Path | None:
        """Keep the odd rows in `<beside>.rejects.parquet`, None where there are none; an earlier file goes."""
        path = beside.with_suffix(".rejects.parquet")
        if not self.engine.rows("select 1 from rejects limit 1"):
            path.unlink(missing_ok=True)
            return None
        self.engine.export("from rejects order by all", path)
        return path

    def other(self, name: str, rows: Callable[[str], str]) -> None:
        """Another table, as `<name>_rows`: `rows` makes of a SELECT of typed rows one with `problem`."""
        select, staged = rows(self._rows_of(name)), f"{name}_rows"
        self._stage(name, staged, select)
        [(read,)] = self.engine.rows(f"select count(*) from {quote(staged)}")
        rejected = self._note(name, staged, select)
        if self.found.of(name):
            self._malformed(name)
        self.counts[name] = {"read": read, "kept": read - rejected}

    def type_of(self, code: str, staged: str) -> str:
        """How a table's codes are typed: whole numbers where all of them are."""
        whole_codes = f"regexp_matches({quote(code)}, {text(staging.WHOLE)})"
        kept = f"problem is null or not {staging.is_rejected()}"
        [(whole,)] = self.engine.rows(f"select coalesce(bool_and({whole_codes}), false) from {quote(staged)} where {kept}")
        return "bigint" if whole else "varchar"

    def _leave_out_doubles(self, name: str, rows: str, clean: str) -> None:
        repeated = f"select row_hash, min(rowid) as first from {quote(name)} where {clean} group by 1 having count(*) > 1"
        self.engine.create(Stage("doubled", "one row that stands more than once", repeated))
        again = "row_hash in (select row_hash from doubled) and rowid not in (select first from doubled)"
        self.engine.delete(name, f"{clean} and {again}")
        self._reject(
            name,
            f"select *, 'duplicate_row' as problem_found from ({rows}) where {clean} and row_hash in (select row_hash from doubled) "
            "qualify row_number() over (partition by row_hash) > 1",
        )

    def _note(self, name: str, staged: str, rows: str) -> int:
        """Gather the problems of a staged table and keep the odd rows aside; returns how many rows are left out."""
        rejected = 0
        found = self.engine.rows(f"select problem, count(*) from {quote(staged)} where problem is not null group by 1 order by 1")
        for problem, count in found:
            rejected += count if problem in staging.REJECTED else 0
            self._problem(name, problem, count)
        if found:
            self._reject(name, f"select *, problem as problem_found from ({rows}) where problem is not null")
        return rejected

    def _problem(self, table: str, problem: str, count: int) -> None:
        kind, _, column = problem.partition(":")
        kept = kind in staging.KEPT
        advice = (staging.KEPT if kept else staging.REJECTED)[kind]
        self.problems.append({"table": table, "problem": kind, "column": column or None, "rows": count, "kept": kept, "advice": advice})

    def _reject(self, name: str, select: str) -> None:
        kept = " or ".join(f"problem_found like {text(kind + '%')}" for kind in staging.KEPT)
        part = (
            f"select {text(name)} as source, source_file, cast(null as bigint) as line, "
            f"cast(problem_found as varchar) as problem, {kept} as kept, "
            f"{staging.as_written(self.sources[name])} as row from ({select})"
        )
        self._add_rejects(part)

    def _malformed(self, name: str) -> None:
        """Rows that the reader could not split into cells."""
        if not self.engine.rows(f"select 1 from duckdb_tables() where table_name = '{MALFORMED}'"):
            return
        part = (
            f"select distinct {text(name)} as source, parse_filename(s.file_path) as source_file, m.line as line, "
            f"'malformed_row' as problem, false as kept, m.csv_line as row from {MALFORMED} as m "
            f"join {MALFORMED}_scan as s using (scan_id, file_id)"
        )
        [(count,)] = self.engine.rows(f"select count(*) from (select distinct source_file, line from ({part}))")
        if count:
            self._add_rejects(part)
            self._problem(name, "malformed_row", count)
        drop_malformed(self.engine)

    def _add_rejects(self, part: str) -> None:
        self.engine.insert("rejects", part)


def drop_malformed(engine: Engine) -> None:
    """Forget which rows a scan could not split into cells."""
    for table in (MALFORMED, f"{MALFORMED}_scan"):
        engine.drop(table)


def latest_day(loaded: Loaded, found: Found, engine: DuckDBEngine, temp: Path) -> date:
    """The latest day that stands in an activity table. Raises UsageError where there is none."""
    days: list[date] = []
    for name, source in loaded.model.business.sources.items():
        column = source.columns.get("date")
        files = [to_utf8(file, temp / "dates") for file in found.of(name) if "date" in file.columns]
        if column is None or not files:
            continue
        for scan, file in engine.scan(files):
            header = file.columns["date"]
            value = parsed(column, quote(header), file.native.get(header))
            [(day,)] = engine.rows(f"select cast(max({value}) as date) from {scan}")
            days += [day] if day else []
        drop_malformed(engine)  # they are told when the rows themselves are read
    if not days:
        raise UsageError([Problem("as-of", "no table has a date to take it from", "say --as-of 2025-08-31")])
    latest: date = max(days)
    return latest


@contextmanager
def read_customers(data: str | Path, book: Bound, progress: Progress) -> Iterator[Reading]:
    """The tables of a folder, read up to `features` and `population`. Raises DataError."""
    with tempfile.TemporaryDirectory(dir=Settings().temp_folder) as temp, DuckDBEngine(Path(temp)) as engine:
        reading = Reading(book, find(Path(data), {}, book.model.business.sources), engine, Path(temp))
        reading.features(progress)
        yield reading
