"""A CSV or Parquet file as one frame, or as rows in SQL: for tables that have no place in a playbook."""

from collections.abc import Mapping
from pathlib import Path

import duckdb
import pandas as pd

from nextbest.errors import DataError, Problem, UsageError

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
    """SQL: the file's rows. A CSV's values stay text: a code 007 is not 7."""
    name = "'" + str(path).replace("'", "''") + "'"
    return f"read_parquet({name})" if path.suffix in PARQUET else f"read_csv({name}, all_varchar = true)"


def columns(connection: duckdb.DuckDBPyConnection, path: Path) -> dict[str, str]:
    """Column → type, as `scan` gives them. Raises DataError."""
    try:
        return {str(row[0]): str(row[1]) for row in connection.execute(f"describe select * from {scan(path)}").fetchall()}
    except duckdb.Error:
        raise DataError([Problem(path.name, "not a table that can be read", "save it as CSV (UTF-8) or Parquet")]) from None
