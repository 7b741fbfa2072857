"""Files handed in, as they are kept: under a fit name, within a bound, and beside what is there already."""

import itertools
import re
from pathlib import Path
from typing import BinaryIO

from nextbest.errors import DataError, Problem, UsageError
from nextbest.intake.files import SUFFIXES

_CHUNK = 1 << 20


def free_beside(path: Path) -> Path:
    """The path, or one beside it that nothing stands at."""
    suffix = "".join(path.suffixes)
    stem = path.name.removesuffix(suffix)
    return next(p for n in itertools.count() if not (p := path.with_name(f"{stem}-{n + 1}{suffix}" if n else path.name)).exists())


def safe_name(name: str) -> str:
    """A file's bare name, fit to be kept. Raises UsageError for what is no table file."""
    bare = re.sub(r"[^\w.-]", "_", Path(name.replace("\\", "/")).name)[-100:].lstrip(".")
    if not bare.lower().endswith(SUFFIXES):
        raise UsageError([Problem(bare or "file", "not a table by its name", f"one of {', '.join(SUFFIXES)}")])
    return bare


def write_bounded(content: BinaryIO, path: Path, most: int) -> None:
    """Write the content, of at most so many bytes. Raises UsageError for more, DataError for none."""
    size = 0
    with path.open("wb") as file:
        while chunk := content.read(_CHUNK):
            size += len(chunk)
            if size > most:
                raise UsageError([Problem("file", f"larger than {most} bytes", "split it, or raise NEXTBEST_SERVER_MOST_BYTES")])
            file.write(chunk)
    if size == 0:
        raise DataError([Problem(path.name, "the file is empty (0 bytes)", "export it again")])
