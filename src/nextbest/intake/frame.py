"""A CSV or Parquet file as one frame: for tables that have no place in a playbook."""

from collections.abc import Mapping
from pathlib import Path

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
