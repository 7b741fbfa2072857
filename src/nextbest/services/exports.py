"""What a run holds, for people and other programs: tables as files, statistics, segments."""

import tempfile
from pathlib import Path
from typing import Any

import duckdb

from nextbest.errors import Problem, UsageError
from nextbest.intake.scan import csv, parquet
from nextbest.plan.stage import quote, text
from nextbest.run import Run
from nextbest.services.left_out import NOBODY, LeftOut, kept
from nextbest.services.results import EVERYONE, Chosen, chosen_customers, code_in_row

TABLES = {
    "recommendations": "recommendations.csv",
    "decisions": "decisions.parquet",
    "messages": "messages.parquet",
    "rejects": "rejects.parquet",
}
MOST_IN_A_SHEET = 1_048_575
"""Rows under the header in one sheet of Excel."""


def export(run: Run, table: str, format: str, left_out: LeftOut = NOBODY, chosen: Chosen = EVERYONE) -> Path:
    """One table of the run as csv, parquet or xlsx, in a new temporary file, without some customers. `chosen`: only of these.

    Text that a spreadsheet would take for a formula gets an apostrophe before it, in csv and xlsx.
    Raises UsageError for an unknown table or format, or more rows than a sheet can hold.
    """
    if table not in TABLES or format not in ("csv", "parquet", "xlsx"):
        raise UsageError([Problem(f"export {table} as {format}", "unknown", f"{', '.join(TABLES)}; csv, parquet, xlsx")])
    source = run.folder / TABLES[table]
    reader = csv(source) if source.suffix == ".csv" else parquet(source)
    with tempfile.NamedTemporaryFile(suffix=f".{format}", delete=False) as file:
        path = Path(file.name)
    try:
        with duckdb.connect(config={"threads": 1}) as connection:
            columns = [(row[0], row[1]) for row in connection.execute(f"describe from {reader}").fetchall()]
            code = code_in_row(run) if table == "rejects" else f"cast({quote(columns[0][0])} as varchar)"
            among = "" if chosen == EVERYONE else f" and {code} in (select customer from ({chosen_customers(run, chosen)}))"
            rest = f"(from {reader} where {kept(connection, code, left_out)}{among})"
            plain = ", ".join(f"{_harmless(name, kind)} as {quote(name)}" for name, kind in columns)
            if format == "parquet":
                connection.execute(f"copy {rest} to {text(str(path))} (format parquet, compression zstd)")
            elif format == "csv":
                connection.execute(f"copy (select {plain} from {rest}) to {text(str(path))} (format csv, header)")
            else:
                _write_sheet(connection, f"select {plain} from {rest}", path)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path


def _harmless(name: str, kind: str) -> str:
    """SQL: a cell that is read as what it says, and never as a formula."""
    said = quote(name) if kind == "VARCHAR" else f"cast({quote(name)} as varchar)"
    if kind in ("VARCHAR",) or kind.startswith(("STRUCT", "ENUM")) or kind.endswith("[]"):
        return rf"case when regexp_matches({said}, '^[=+\-@\t\r]') then '''' || {said} else {said} end"
    return quote(name)


def _write_sheet(connection: duckdb.DuckDBPyConnection, select: str, path: Path) -> None:
    import xlsxwriter

    [(rows,)] = connection.execute(f"select count(*) from ({select})").fetchall()
    if rows > MOST_IN_A_SHEET:
        raise UsageError([Problem("export", f"{rows} rows do not fit into a sheet", "ask for csv or parquet")])
    with xlsxwriter.Workbook(path, {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False}) as book:
        sheet = book.add_worksheet()
        found = connection.execute(select)
        sheet.write_row(0, 0, [column[0] for column in found.description], book.add_format({"bold": True}))
        place = 1
        while batch := found.fetchmany(5000):
            for row in batch:
                sheet.write_row(place, 0, [value if isinstance(value, str | int | float | None) else str(value) for value in row])
                place += 1


def statistics(run: Run) -> dict[str, Any]:
    """Counts of the run; per offer how many get it first, with their median benefit and confidence; how many by verdict."""
    record = run.record
    with duckdb.connect(config={"threads": 1}) as connection:
        decisions = parquet(run.folder / "decisions.parquet")
        first = connection.execute(
            f"select offer, product, count(*), median(benefit), median(confidence) from {decisions} where rank = 1 "
            "group by all order by 3 desc, 1"
        ).fetchall()
        verdicts: dict[str, dict[str, int]] = {}
        for offer, verdict, count in connection.execute(
            f"select offer, verdict, count(*) from {decisions} group by all order by all"
        ).fetchall():
            verdicts.setdefault(offer, {})[verdict] = count
    return {
        **{name: record[name] for name in ("as_of", "playbook", "counts", "problems")},
        "offers": [
            {"offer": offer, "product": product, "first": count, "median_benefit": float(benefit), "median_confidence": confidence}
            for offer, product, count, benefit, confidence in first
        ],
        "verdicts": verdicts,
    }


def segments(run: Run) -> list[dict[str, Any]]:
    """Each declared segment: its size, its share of all, and the offers that come first in it."""
    found = []
    with duckdb.connect(config={"threads": 1}) as connection:
        features = parquet(run.folder / "features.parquet")
        decisions = parquet(run.folder / "decisions.parquet")
        key = quote(connection.execute(f"describe from {features}").fetchall()[0][0])
        [(total,)] = connection.execute(f"select count(*) from {features}").fetchall()
        for name, segment in run.book.model.segments.items():
            among = f"select {key} from {features} where {quote(name)}"
            [(size,)] = connection.execute(f"select count(*) from ({among})").fetchall()
            firsts = connection.execute(
                f"select offer, count(*) from {decisions} where rank = 1 and {key} in ({among}) group by 1 order by 2 desc, 1 limit 5"
            ).fetchall()
            found.append(
                {
                    "segment": name,
                    "meaning": segment.meaning,
                    "when": segment.when,
                    "size": size,
                    "share": size / total if total else 0.0,
                    "typical": segment.offers,
                    "first": [{"offer": offer, "customers": count} for offer, count in firsts],
                }
            )
    return found
