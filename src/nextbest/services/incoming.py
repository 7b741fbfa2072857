"""Files of events for the workspace, read with the same care as a bank's tables: any encoding, delimiter, date."""

from collections.abc import Mapping
from pathlib import Path

from nextbest.engines.duckdb import DuckDBEngine
from nextbest.errors import Problem, UsageError
from nextbest.intake.files import find, to_utf8
from nextbest.plan import staging
from nextbest.plan.stage import Stage, quote, text
from nextbest.playbook.contact import known_zone
from nextbest.playbook.model import Source

_ZONED = r"(Z|z|[+-][0-9]{2}:?[0-9]{2})$"


def incoming(engine: DuckDBEngine, file: str | Path, name: str, source: Source, temp: Path, time_zone: str) -> None:
    """Make the table `name`: one row of the file, typed, `happened` in seconds, `row` its number and `as_written`.

    A time without a zone is the given one's. Raises DataError for what is no such table, UsageError for no such zone.
    """
    if not known_zone(time_zone):
        raise UsageError([Problem(f"time zone {time_zone}", "unknown", "an IANA name, e.g. Asia/Almaty")])
    found = find(None, {name: [Path(file)]}, {name: source})
    files = [to_utf8(item, temp / "utf8") for item in found.files]
    rows = "\nunion all by name\n".join(staging.read_rows(source, scan, item) for scan, item in engine.scan(files))
    written = f"cast({staging.raw('happened')} as varchar)"
    local = f"epoch(timezone({text(time_zone)}, cast(happened as timestamp)))"
    seconds = f"case when regexp_matches({written}, '{_ZONED}') then epoch(happened) else {local} end"
    columns = ", ".join(quote(column) for column in source.columns if column != "happened")
    engine.create(
        Stage(
            name,
            "one row of the file",
            f"select row_number() over () as row, {columns}, cast(floor({seconds}) as bigint) as happened, "
            f"{staging.as_written(source)} as as_written from ({rows})",
        )
    )


def rejected(engine: DuckDBEngine, select: str, reasons: Mapping[str, str], path: Path | None) -> dict[str, int]:
    """Write rejected rows (columns row, reason, as_written) to a CSV file; returns reason → how many."""
    counts = dict(engine.rows(f"select reason, count(*) from ({select}) group by 1 order by 1"))
    if path is not None and counts:
        whens = " ".join(f"when {text(reason)} then {text(advice)}" for reason, advice in reasons.items())
        engine.export(f"select row, reason, case reason {whens} end as advice, as_written from ({select}) order by row", path)
    return counts
