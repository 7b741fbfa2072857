"""A CSV or Parquet file as one frame, or as rows in SQL: for tables that have no place in a playbook."""

from collections.abc import Mapping
from pathlib import Path

import duckdb
import pandas as pd

from nextbest.errors import DataError, Problem, UsageError
from nextbest.intake.scan import csv, parquet

PARQUET = (".parquet", ".pq")


def read_frame(path: Path, kinds: Mapping[str, type] | None = None) -> pd.DataFrame:
    """The file's rows. `kinds`: columns of a CSV that are read as given. Raises DataError, UsageError."""
    try:
        return pd.read_parquet(path) if path.suffix in PARQUET else pd.read_csv(path, dtype=dict(kinds or {}))
    except FileNotFoundError:
        raise UsageError([Problem(str(path), "the file does not exist", "name a CSV or Parquet file")]) from None
    except (OSError, ValueError):
        raise DataError([Problem(path.name, "not a table that can be read", "save it as CSV (UTF-8) or Parquet")]) from None


def scan(path: Path) -> str:
    """SQL: the file's rows."""
    return parquet(path) if path.suffix in PARQUET else csv(path, how="all_varchar = true")


def columns(connection: duckdb.DuckDBPyConnection, path: Path) -> dict[str, str]:
    """Column → type, as `scan` gives them. Raises DataError."""
    try:
        return {str(row[0]): str(row[1]) for row in connection.execute(f"describe select * from {scan(path)}").fetchall()}
    except duckdb.Error:
        raise DataError([Problem(path.name, "not a table that can be read", "save it as CSV (UTF-8) or Parquet")]) from None


def unusable(source: Path, target: Path) -> list[Problem]:
    """What is wrong with a file to read and one to write, before either is opened."""
    problems = []
    if not source.is_file():
        problems.append(Problem(str(source), "the file does not exist", "name a CSV or Parquet file"))
    if target.suffix not in (*PARQUET, ".csv") or target.is_dir():
        problems.append(Problem(str(target), "neither a .parquet nor a .csv file", "name one"))
    return problems


def write(connection: duckdb.DuckDBPyConnection, select: str, path: Path) -> None:
    """The rows of a query as CSV or Parquet, whole or not at all. Raises UsageError where it cannot be written."""
    partial = path.with_name(f".{path.stem}.part{path.suffix}")
    kind = "format parquet, compression zstd" if path.suffix in PARQUET else "format csv, header"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection.execute(f"copy ({select}) to {_named(partial)} ({kind})")
        partial.replace(path)
    except (OSError, duckdb.IOException) as error:
        if partial.is_file():
            partial.unlink()
        what = f"cannot be written ({type(error).__name__})"
        raise UsageError([Problem(str(path), what, "name a place that may be written to")]) from None


def _named(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"
