"""Reading: the files of every source as typed tables, with each problem counted and each odd row kept aside."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from nextbest.engines.base import Engine
from nextbest.engines.duckdb import MALFORMED, DuckDBEngine
from nextbest.errors import DataError, Problem, UsageError
from nextbest.intake.encoding import to_utf8
from nextbest.intake.files import Found
from nextbest.plan import staging
from nextbest.plan.cell import parsed
from nextbest.plan.stage import Stage, quote, text
from nextbest.playbook.bind import Bound
from nextbest.playbook.load import Loaded
from nextbest.playbook.sources import Source

_REJECTS = """select cast(null as varchar) as source, cast(null as varchar) as source_file, cast(null as bigint) as line,
  cast(null as varchar) as problem, cast(null as boolean) as kept, cast(null as varchar) as row where false"""

_MET = f"from {MALFORMED} as m join {MALFORMED}_scan as s using (scan_id, file_id)"
"""SQL: the rows that the reader could not split into cells, with their files."""


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
    _unsplit: dict[str, int] = field(default_factory=dict)

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

    @property
    def activity(self) -> list[str]:
        """The playbook's sources but the customers."""
        business = self.book.model.business
        return [name for name in business.sources if name != business.customers]

    def _numbers(self, name: str) -> bool:
        """Whether the codes of all files of a table are whole numbers by their type."""
        files = self.found.of(name)
        return bool(files) and all(staging.has_numbers(self.sources[name], file) for file in files)

    def _rows_of(self, name: str, numbers: bool = False) -> str:
        source = self.sources[name]
        if source.made_of and not self.found.of(name):
            return staging.codes_of(source, self.sources[source.made_of], self._rows_of(source.made_of))
        if not self.found.of(name):
            return staging.no_rows(source)
        files = [to_utf8(file, self.temp / "utf8") for file in self.found.of(name)]
        business = self.book.model.business
        return "\nunion all by name\n".join(
            staging.read_rows(source, scan, file, numbers, business) for scan, file in self.engine.scan(files)
        )

    def _lean(self, name: str, rows: str) -> str:
        """The typed columns without what is only for rejects, so that none of it is computed."""
        raws = [staging.raw(column) for column in self.sources[name].columns]
        return f"select * exclude ({', '.join(raws)}, source_file) from ({rows})"

    @contextmanager
    def readable(self, name: str) -> Iterator[None]:
        """What the engine cannot read of a table is told as a problem of its files. Raises DataError."""
        try:
            yield
        except duckdb.OutOfMemoryException:
            raise  # nothing is amiss with the files
        except (duckdb.Error, pa.ArrowException, OSError) as error:  # the last two while rows stream
            # The engine's own words may hold a customer's values: they stay in the cause, for a debugger.
            what = f"the files cannot be read ({type(error).__name__}): one is damaged, ends its lines in two ways, or is of another kind"
            raise DataError([Problem(name, what, "export them again, all as UTF-8 CSV or all as Parquet")]) from error

    def _stage(self, name: str, staged: str, rows: str) -> None:
        with self.readable(name):
            self.engine.create(Stage(staged, "one row of the file", self._lean(name, rows)))

    def customers(self) -> None:
        """One row per customer. Decides how codes are typed: whole numbers where all of them are."""
        name = self.book.model.business.customers
        numbers, staged, code = self._numbers(name), f"{name}_rows", quote(self.sources[name].code)
        written = self._rows_of(name, numbers)
        rows = staging.customers(self.book, written, self.remembered, doubles=False)
        self._stage(name, staged, rows)
        [(read, doubles)] = self.engine.rows(f"select count(*), count({code}) - count(distinct {code}) from {quote(staged)}")
        if doubles:
            rows = staging.customers(self.book, written, self.remembered)
            self._stage(name, staged, rows)
        self.id_type = "bigint" if numbers else self.type_of(self.sources[name].code, staged)
        self.engine.create(Stage(name, "one customer", staging.distinct_customers(self.book, staged, self.id_type)))
        if self.found.of(name) or not self.sources[name].made_of:  # else they are told when the rows themselves are read
            self._malformed(name)
        self.tell(name, rows, read, self._counted(staged))
        if self.none_kept(name):
            self.nothing_left(name)

    def activity_table(self, name: str) -> str:
        """Make an activity table to be asked; returns a SELECT of its rows with what is only for rejects.

        Text is read once and kept. Parquet is read anew by whoever asks: that takes less than keeping it.
        """
        numbers, customers = self._numbers(name), self.book.model.business.customers
        rows = staging.activity(self.book, name, self._rows_of(name, numbers), customers, self.id_type, numbers)
        lean = self._lean(name, rows)
        if any(file.kind != "parquet" for file in self.found.of(name)):
            self._stage(name, f"{name}_rows", rows)
            self._malformed(name)
            lean = f"select * from {quote(f'{name}_rows')}"
        self.engine.view(Stage(name, "one row of the file", lean))
        return rows

    def tell(self, name: str, rows: str, read: int, found: Mapping[str, int], doubled: bool = False) -> None:
        """Note the problems of a table of which `read` rows were read: how many rows have which, and the rows themselves.

        `doubled`: of rows that stand again the hashes are in the table of that name.
        """
        if not read and self.found.of(name) and not any(item["table"] == name for item in self.problems):
            self._problem(name, "no_rows", 0)
        rejected = sum(count for problem, count in found.items() if problem in staging.REJECTED)
        for problem, count in sorted(found.items()):
            self._problem(name, problem, count)
        if found.keys() - ({staging.DOUBLE} if doubled else set()):
            self._reject(name, f"select * from ({rows}) where problem is not null")
        if doubled:
            self._reject(name, staging.doubles(self.sources[name], rows))
        drop_malformed(self.engine)  # the same ones, met again
        self.counts[name] = {"read": read + self._unsplit.get(name, 0), "kept": read - rejected}

    def none_kept(self, name: str) -> bool:
        """Whether a table has rows and none can be used."""
        return bool(self.counts[name]["read"]) and not self.counts[name]["kept"]

    def nothing_left(self, name: str) -> None:
        """Of a table no row can be used. Raises DataError."""
        found = [item for item in self.problems if item["table"] == name and not item["kept"]]
        why = ", ".join(f"{item['rows']} {item['problem']}" for item in found)
        fix = "; ".join(f"{item['problem']}: {item['advice']}" for item in found)
        empty = [Problem(item["table"], "no rows", item["advice"]) for item in self.problems if item["problem"] == "no_rows"]
        raise DataError([*empty, Problem(name, f"every row would be left out: {why}", f"check the as-of day and the codes; {fix}")])

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
        self.engine.export({path: "from rejects order by all"})
        return path

    def other(self, name: str, rows: Callable[[str], str]) -> None:
        """Another table, as `<name>_rows`: `rows` makes of a SELECT of typed rows one with `problem`."""
        select, staged = rows(self._rows_of(name)), f"{name}_rows"
        self._stage(name, staged, select)
        [(read,)] = self.engine.rows(f"select count(*) from {quote(staged)}")
        if self.found.of(name):
            self._malformed(name)
        self.tell(name, select, read, self._counted(staged))

    def type_of(self, code: str, staged: str) -> str:
        """How a table's codes are typed: whole numbers where all of them are."""
        whole_codes = f"regexp_matches({quote(code)}, {text(staging.WHOLE)})"
        kept = f"problem is null or not {staging.is_rejected()}"
        [(whole,)] = self.engine.rows(f"select coalesce(bool_and({whole_codes}), false) from {quote(staged)} where {kept}")
        return "bigint" if whole else "varchar"

    def _counted(self, staged: str) -> dict[str, int]:
        return dict(self.engine.rows(f"select problem, count(*) from {quote(staged)} where problem is not null group by 1 order by 1"))

    def unknown_features(self, names: Iterable[str]) -> None:
        """Tell of those features that are unknown of every customer. Needs `features` and `population`."""
        names = list(names)
        counts = ", ".join(["count(*)", *(f"count({quote(name)})" for name in names)])
        [(customers, *known)] = self.engine.rows(f"select {counts} from features cross join population")
        for name, count in zip(names, known, strict=True):
            if customers and not count:
                self._problem(self.book.model.business.customers, f"unknown_feature:{name}", customers)

    def _problem(self, table: str, problem: str, count: int) -> None:
        kind, _, column = problem.partition(":")
        kept = kind in staging.KEPT
        advice = staging.KEPT.get(f"{kind}:{column}", staging.KEPT[kind]) if kept else staging.REJECTED[kind]
        self.problems.append({"table": table, "problem": kind, "column": column or None, "rows": count, "kept": kept, "advice": advice})

    def _reject(self, name: str, select: str) -> None:
        kept = f"split_part(cast(problem as varchar), ':', 1) in ({', '.join(map(text, staging.KEPT))})"
        part = (
            f"select {text(name)} as source, source_file, cast(null as bigint) as line, "
            f"cast(problem as varchar) as problem, {kept} as kept, "
            f"{staging.as_written(self.sources[name])} as row from ({select})"
        )
        with self.readable(name):
            self._add_rejects(part)

    def _malformed(self, name: str) -> None:
        """Rows that the reader could not split into cells."""
        if not self.engine.rows(f"select 1 from duckdb_tables() where table_name = '{MALFORMED}'"):
            return
        part = (
            f"select distinct {text(name)} as source, parse_filename(s.file_path) as source_file, m.line as line, "
            f"'malformed_row' as problem, false as kept, m.csv_line as row {_MET}"
        )
        [(count,)] = self.engine.rows(f"select count(*) from (select distinct source_file, line from ({part}))")
        self._check_quotes()
        if count:
            self._add_rejects(part)
            self._problem(name, "malformed_row", count)
            self._unsplit[name] = count
        drop_malformed(self.engine)

    def _check_quotes(self) -> None:
        """Behind a quotation mark that nobody closes the reader gives up, and tells nothing of the rest. Raises DataError."""
        open_ended = "m.error_type = 'UNQUOTED VALUE' and contains(rtrim(m.csv_line, chr(13) || chr(10)), chr(10))"
        found = self.engine.rows(f"select distinct parse_filename(s.file_path), m.line {_MET} where {open_ended} order by all")
        if found:
            what, fix = (
                "a quotation mark is opened and not closed: the rows behind it cannot be told apart",
                'close it, or write two of them ("")',
            )
            raise DataError([Problem(f"{file}, line {line}", what, fix) for file, line in found])

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
