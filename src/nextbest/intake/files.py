"""Find the files of each source, and learn encoding, delimiter and header of each. Reads heads, not tables."""

import codecs
import csv
import difflib
import fnmatch
import io
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb

from nextbest.errors import DataError, Problem, UsageError
from nextbest.intake.encoding import encoding_of, opened, refused
from nextbest.intake.scan import parquet
from nextbest.intake.table import TableFile
from nextbest.playbook.sources import Source

DELIMITERS = ",;\t|"
SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".txt", ".txt.gz", ".parquet", ".pq")
SIGNATURES = {
    b"PK\x03\x04": ("an Excel or zip file", "save it as CSV (UTF-8) or Parquet"),
    b"\xd0\xcf\x11\xe0": ("an old Excel file", "save it as CSV (UTF-8) or Parquet"),
    b"%PDF": ("a PDF", "export the table as CSV or Parquet"),
    b"\x89PNG": ("a picture", "export the table as CSV or Parquet"),
    b"<!DO": ("a web page", "export the table as CSV or Parquet"),
    b"<htm": ("a web page", "export the table as CSV or Parquet"),
}
_NO_COLUMN = "not a table of this kind: none of its columns is known"


@dataclass(frozen=True)
class Found:
    """The files of every source, and the files of the folder that no source claims."""

    files: tuple[TableFile, ...]
    unused: tuple[str, ...]
    ignored_columns: Mapping[str, tuple[str, ...]]

    def of(self, source: str) -> list[TableFile]:
        """The files of one source, in order of their paths."""
        return [file for file in self.files if file.source == source]


def find(
    data: Path | None, tables: Mapping[str, Iterable[Path]] | None, sources: Mapping[str, Source], optional: Collection[str] = ()
) -> Found:
    """The files of each source, from a folder, from explicit paths, or both. A folder called as a table is holds its parts.

    Raises UsageError where the folder or a path is none, DataError for what is wrong with files; with all problems.
    `tables`: None where no path can be given. A source that is `optional` may have no file.
    """
    problems: list[Problem] = []
    paths, unused = _assign(data, tables or {}, sources)
    found: list[TableFile] = []
    ignored: dict[str, set[str]] = {}
    for name, source in sources.items():
        if not paths[name] and name not in optional and not source.made_of and not source.optional:
            fix = f"name a file {' or '.join(source.files)} (.csv, .parquet, .gz)"
            fix += "" if tables is None else f", or pass --table {name}=PATH"
            fix += f"; not read: {', '.join(unused)}" if unused else ""
            problems.append(Problem(str(data or name), f"no file for '{name}'", fix))
        for path in paths[name]:
            try:
                file = _inspect(name, source, path)
            except DataError as error:
                problems += error.problems
                continue
            found.append(file)
            ignored.setdefault(name, set()).update(set(file.headers) - set(file.columns.values()))
    if problems:
        raise DataError(problems)
    return Found(tuple(found), tuple(unused), {name: tuple(sorted(headers)) for name, headers in ignored.items()})


def _assign(
    data: Path | None, tables: Mapping[str, Iterable[Path]], sources: Mapping[str, Source]
) -> tuple[dict[str, list[Path]], list[str]]:
    problems: list[Problem] = []
    paths: dict[str, list[Path]] = {name: [] for name in sources}
    unused: list[str] = []
    for name, given in tables.items():
        if name not in paths:
            problems.append(Problem(f"--table {name}", "no such source", f"one of {', '.join(paths)}"))
            continue
        for path in given:
            if path.is_file():
                paths[name].append(path)
            elif parts := _parts(path):
                paths[name] += parts
            else:
                what = "the folder holds no table" if path.is_dir() else "the file does not exist"
                problems.append(Problem(path.name, what, "name a file, or a folder of them (.csv, .parquet, .gz)"))
    if data is not None and not data.is_dir():
        problems.append(Problem(str(data), "not a folder", "name the folder that holds the tables"))
    if problems:
        raise UsageError(problems)
    if data is not None:
        entries = sorted(path for path in data.iterdir() if not path.name.startswith("."))
        for path in (path for path in entries if path.is_file()):
            owner = _owner(path, sources)
            if owner is None:
                unused.append(path.name)
            elif owner not in tables:
                paths[owner].append(path)
        for path in (path for path in entries if path.is_dir()):
            owner = next((name for name, source in sources.items() if _holds(path, name, source)), None)
            if owner is None or (paths[owner] and owner not in tables):  # beside a file it may be an earlier state of it
                unused.append(f"{path.name}/")
            elif owner not in tables:
                paths[owner] = _parts(path)
                unused += [part.relative_to(data).as_posix() for part in _visible(path) if part not in paths[owner]]
    return paths, sorted(unused)


def _holds(folder: Path, name: str, source: Source) -> bool:
    """Whether a folder holds a table in parts: it is called as the table is, with nothing before or behind."""
    called = {name, *(pattern.replace("*", "") for pattern in source.files)}
    return folder.name.lower() in {stem + suffix for stem in called for suffix in ("", *SUFFIXES)} and bool(_parts(folder))


def _parts(folder: Path) -> list[Path]:
    """The files of a table that stands in parts, as Spark writes it."""
    return [path for path in _visible(folder) if path.name.lower().endswith(SUFFIXES)]


def _visible(folder: Path) -> list[Path]:
    """All files below a folder, but what programs keep there for themselves: `_temporary`, `_delta_log`, `.crc`."""
    return sorted(p for p in folder.rglob("*") if p.is_file() and not any(part[0] in "._" for part in p.relative_to(folder).parts))


def _owner(path: Path, sources: Mapping[str, Source]) -> str | None:
    name = path.name.lower()
    suffix = next((s for s in sorted(SUFFIXES, key=len, reverse=True) if name.endswith(s)), None)
    if suffix is None:
        return None
    stem = name.removesuffix(suffix)
    return next(
        (source for source, item in sources.items() if any(fnmatch.fnmatchcase(stem, pattern) for pattern in item.files)),
        None,
    )


def source_of(path: Path, sources: Mapping[str, Source]) -> str:
    """Which source a file belongs to: by its name, or else by its columns. Raises DataError where it is no source's."""
    named = _owner(path, sources)
    if named is not None:
        return named
    known: dict[str, int] = {}
    problems: list[Problem] = []
    for name, source in sources.items():
        try:
            known[name] = len(_inspect(name, source, path).columns)
        except DataError as error:
            problems += error.problems
    if not known:
        told = dict.fromkeys(problem for problem in problems if not problem.what.startswith(("column", _NO_COLUMN)))
        raise DataError(list(told)) if told else refused(path, "its columns fit none of the tables", f"the tables: {', '.join(sources)}")
    return max(known, key=lambda name: known[name])


def _inspect(name: str, source: Source, path: Path) -> TableFile:
    if path.stat().st_size == 0:
        raise refused(path, "the file is empty (0 bytes)", "export it again, or remove it")
    with path.open("rb") as file:
        head = file.read(4)
    if path.name.lower().endswith((".parquet", ".pq")) or head == b"PAR1":
        return _inspect_parquet(name, source, path)
    for signature, (what, fix) in SIGNATURES.items():
        if head.lower().startswith(signature.lower()):
            raise refused(path, f"not a table: it is {what}", fix)
    return _inspect_csv(name, source, path, zipped=head[:2] == b"\x1f\x8b")


def _inspect_parquet(name: str, source: Source, path: Path) -> TableFile:
    try:
        with duckdb.connect() as connection:
            described = connection.execute(f"describe from {parquet(path)}").fetchall()
    except duckdb.Error:
        raise refused(path, "not a Parquet file, or damaged", "export it again") from None
    headers, types = (tuple(str(row[place]) for row in described) for place in (0, 1))
    return TableFile(name, path, "parquet", _match(path, source, headers), headers, types)


def _inspect_csv(name: str, source: Source, path: Path, zipped: bool) -> TableFile:
    encoding = encoding_of(path, zipped)
    blank, first = 0, ""
    try:
        with opened(path, zipped) as raw:
            for line in codecs.getreader(encoding)(raw, "replace"):
                if line.strip().strip("\ufeff"):
                    first = line
                    break
                blank += 1
    except (OSError, EOFError):
        raise refused(path, "the gzip file is damaged", "compress it again") from None
    if not first:
        raise refused(path, "the file holds no rows and no header", "export it again, or remove it")
    if "\0" in first:
        raise refused(path, "not a table: binary content", "export the table as CSV (UTF-8) or Parquet")
    options = []
    for delimiter in DELIMITERS:
        headers = tuple(h.strip().strip("\ufeff") for h in next(csv.reader([first], delimiter=delimiter), []))
        options.append((len(_known(source, headers)), -DELIMITERS.index(delimiter), delimiter, headers))
    *_, delimiter, headers = max(options)
    named = [header.lower() for header in headers if header]
    if len(set(named)) != len(named):
        raise refused(path, "a column name stands twice in the header", "rename one of the two")
    columns = _match(path, source, headers)
    return TableFile(name, path, "csv.gz" if zipped else "csv", columns, headers, delimiter=delimiter, encoding=encoding, blank_lines=blank)


def _known(source: Source, headers: Iterable[str]) -> dict[str, str]:
    """Contract column → header. A column's own name goes before its other names."""
    plain: dict[str, str] = {}
    for header in headers:
        plain.setdefault(_plain(header), header)  # of two that are alike the first is meant
    known = {}
    for column, item in source.columns.items():
        found = next((plain[_plain(name)] for name in [column, *item.names] if _plain(name) in plain), None)
        if found is not None:
            known[column] = found
    return known


def _plain(header: str) -> str:
    """A header without case, and with one underscore for spaces and the like: programs write them either way."""
    return re.sub(r"[\s_]+", "_", header.strip()).lower()


def _match(path: Path, source: Source, headers: tuple[str, ...]) -> dict[str, str]:
    known = _known(source, headers)
    for folder in path.parts[:-1]:  # as data lakes write it
        name, given, _ = folder.partition("=")
        if given and _known(source, [name]).keys() - known.keys():
            raise refused(path, f"the folder '{folder}' names a column that the file lacks", "export all columns into the files")
    missing = [name for name, column in source.columns.items() if column.required and name not in known]
    if not missing:
        return known
    if not known:
        raise refused(path, _NO_COLUMN, f"its first line must name {', '.join(missing)}")
    free = [header for header in headers if header not in known.values()]
    problems = []
    for name in missing:
        names = [name, *source.columns[name].names]
        close = [h for n in names for h in difflib.get_close_matches(n, free, n=1, cutoff=0.6)]
        hint = f"is it '{close[0]}'? Map it: " if close else "rename the column, or map it: "
        fix = f"{hint}playbook.yaml, sources, …, columns, {name}, names"
        problems.append(Problem(path.name, f"column '{' or '.join(names[:2])}' is missing", fix))
    raise DataError(problems)


def read_texts(path: Path) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a small CSV file of texts, in whatever encoding and delimiter. Raises DataError."""
    if path.stat().st_size == 0:
        raise refused(path, "the file is empty (0 bytes)", "export it again")
    csv.field_size_limit(1 << 26)
    with path.open("rb") as raw:
        zipped = raw.read(2) == b"\x1f\x8b"
    try:
        with io.TextIOWrapper(opened(path, zipped), encoding=encoding_of(path, zipped), newline="") as file:
            content = file.read().lstrip("\ufeff\r\n")
        delimiter = max(DELIMITERS, key=content.split("\n", 1)[0].count)
        header, *rows = csv.reader(io.StringIO(content, newline=""), delimiter=delimiter)
    except (csv.Error, UnicodeDecodeError, ValueError, OSError, EOFError):
        raise refused(path, "not a CSV file of texts", "save it as CSV (UTF-8)") from None
    width = len(header)
    # An unquoted delimiter in the last column cuts a text in two: what hangs over belongs to it.
    whole = [[*row[: width - 1], delimiter.join(row[width - 1 :])] if len(row) > width else row for row in rows]
    return [name.strip().strip("\ufeff") for name in header], whole
