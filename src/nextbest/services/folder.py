"""An output folder that appears whole or not at all."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nextbest.errors import Problem, UsageError


@contextmanager
def written_whole(out: Path, mark: str = "run.json") -> Iterator[Path]:
    """A scratch folder beside `out` that takes its place when the block ends well, and vanishes when it does not.

    An earlier run's folder (it holds the file `mark`) is replaced; any other folder with something in it is refused (UsageError).
    """
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / mark).is_file())):
        raise UsageError([Problem(str(out), "there is something else here already", "name a new folder, or an earlier run's")])
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    except OSError as error:
        raise UsageError([Problem(str(out), f"cannot be made: {error.strerror}", "name another folder")]) from None
    scratch.chmod(0o755)
    try:
        yield scratch
        _swap(scratch, out)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _swap(scratch: Path, out: Path) -> None:
    old = scratch.with_name(scratch.name + "-old")
    if out.exists():
        out.rename(old)
    try:
        scratch.rename(out)
    except OSError:
        if old.exists():
            old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)
