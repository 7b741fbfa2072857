"""One recognised file of a source."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class TableFile:
    """One readable file. `columns` maps contract columns to the file's own headers; `types` are a Parquet file's."""

    source: str
    path: Path
    kind: str
    columns: Mapping[str, str]
    headers: tuple[str, ...]
    types: tuple[str, ...] = ()
    delimiter: str = ","
    encoding: str = "utf-8"
    blank_lines: int = 0

    @property
    def shape(self) -> tuple[object, ...]:
        """Files of one shape are read together."""
        return self.kind, self.delimiter, self.blank_lines, self.headers, self.types, tuple(self.columns.items())

    @property
    def native(self) -> Mapping[str, str]:
        """Header → type in a Parquet file; empty for text files."""
        return dict(zip(self.headers, self.types, strict=False))
