"""Files as DuckDB reads them: as they stand, whatever they and their folders are called."""

import re
from pathlib import Path


def parquet(*paths: Path, how: str = "") -> str:
    """SQL: the rows of Parquet files. What a writer called binary is text; a folder called currency=USD is no column."""
    return f"read_parquet({_listed(paths)}, binary_as_string = true, hive_partitioning = false{f', {how}' if how else ''})"


def csv(*paths: Path, how: str = "all_varchar = true, header = true") -> str:
    """SQL: the rows of CSV files. Values stay text, unless it is said how they are read: a code 007 is not 7."""
    return f"read_csv({_listed(paths)}, hive_partitioning = false{f', {how}' if how else ''})"


def _listed(paths: tuple[Path, ...]) -> str:
    # A name with a bracket or a star is a name, and no pattern that other files fit.
    names = (re.sub(r"[\[*?]", r"[\g<0>]", str(path.absolute())).replace("'", "''") for path in paths)
    return "[" + ", ".join(f"'{name}'" for name in names) + "]"
