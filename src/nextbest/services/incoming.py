"""Files of events for the workspace, read with the same care as a bank's tables: any encoding, delimiter, date."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import duckdb

from nextbest.engines.duckdb import MALFORMED, DuckDBEngine
from nextbest.errors import DataError, Problem, UsageError
from nextbest.intake.encoding import to_utf8
from nextbest.intake.files import find
from nextbest.plan import staging
from nextbest.plan.stage import Stage, quote, text
from nextbest.playbook.contact import known_zone
from nextbest.playbook.sources import Source

_ZONED = r":[0-9]{2}(\.[0-9]+)?\s*([Zz]|[+-][0-9]{2}(:?[0-9]{2})?)$"
"""A time that names its zone."""

NAME = r"^[a-z][a-z0-9_-]*$"
"""Purposes and channels are written small, as in a playbook."""


def code_of(customer: str | int) -> str:
    """A customer's code as the tables have it: without spaces around, and 12.0 is 12. Raises UsageError for an empty one."""
    code = re.sub(r"^([0-9]+)\.0+$", r"\1", str(customer).strip())
    if not code:
        raise UsageError([Problem("customer", "the code is empty", "name the customer")])
    return code


def incoming(
    engine: DuckDBEngine,
    file: str | Path,
    name: str,
    source: Source,
    temp: Path,
    time_zone: str,
    either: Sequence[Sequence[str]] = (),
) -> None:
    """Make the table `name`: one row of the file, typed, `happened` in seconds, `row` its number and `as_written`.

    Of the groups of columns in `either`, one has to be there.
    A time without a zone is the given one's. Raises DataError for what is no such table, UsageError for no such zone.
    """
    if not known_zone(time_zone):
        raise UsageError([Problem(f"time zone {time_zone}", "unknown", "an IANA name, e.g. Asia/Almaty")])
    if not Path(file).is_file():
        raise UsageError([Problem(str(file), "is no file", "name a CSV or Parquet file")])
    found = find(None, {name: [Path(file)]}, {name: source})
    if either and not any(set(group) <= set(item.columns) for item in found.files for group in either):
        groups = ", or ".join(" and ".join(group) for group in either)
        raise DataError([Problem(Path(file).name, "nothing says what its events are about", f"add columns: {groups}")])
    files = [to_utf8(item, temp / "utf8") for item in found.files]
    rows = "\nunion all by name\n".join(staging.read_rows(source, scan, item) for scan, item in engine.scan(files))
    written = f"trim(cast({staging.raw('happened')} as varchar))"
    local = f"epoch(timezone({text(time_zone)}, cast(happened as timestamp)))"
    seconds = f"case when regexp_matches({written}, '{_ZONED}') then epoch(try_cast({written} as timestamptz)) else {local} end"
    columns = ", ".join(quote(column) for column in source.columns if column != "happened")
    try:
        engine.create(
            Stage(
                name,
                "one row of the file",
                f"select row_number() over () as row, {columns}, cast(floor({seconds}) as bigint) as happened, "
                f"{staging.as_written(source)} as as_written from ({rows})",
            )
        )
    except duckdb.Error as error:  # its own words may hold a customer's values
        what = f"the file cannot be read ({type(error).__name__})"
        raise DataError([Problem(Path(file).name, what, "export it again as UTF-8 CSV or Parquet")]) from error
    malformed = "select cast(null as bigint) as row, cast(null as varchar) as reason, cast(null as varchar) as as_written where false"
    if engine.rows(f"select 1 from duckdb_tables() where table_name = '{MALFORMED}'"):
        malformed = f"select distinct line as row, 'malformed_row' as reason, csv_line as as_written from {MALFORMED}"
    engine.create(Stage("malformed", "one row that cannot be split into cells", malformed))


def rejected(engine: DuckDBEngine, select: str, reasons: Mapping[str, str], path: Path | None) -> dict[str, int]:
    """Write rejected rows (columns row, reason, as_written), malformed ones with them, to a CSV file; returns reason → how many."""
    select = f"select row, reason, as_written from ({select}) union all from malformed"
    reasons = {**reasons, "malformed_row": staging.REJECTED["malformed_row"]}
    counts = dict(engine.rows(f"select reason, count(*) from ({select}) group by 1 order by 1"))
    if path is not None:
        whens = " ".join(f"when {text(reason)} then {text(advice)}" for reason, advice in reasons.items())
        engine.export({path: f"select row, reason, case reason {whens} else null end as advice, as_written from ({select}) order by row"})
    return counts
