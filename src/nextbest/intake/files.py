"""Find the files of each source, and learn encoding, delimiter and header of each. Reads heads, not tables."""

import codecs
import csv
import difflib
import fnmatch
import gzip
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, cast

import duckdb
from charset_normalizer import from_bytes

from nextbest.errors import DataError, Problem, UsageError
from nextbest.intake.scan import parquet
from nextbest.intake.table import TableFile
from nextbest.playbook.sources import Source

DELIMITERS = ",;\t|"
SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".txt", ".txt.gz", ".parquet", ".pq")
CHUNK = 1 << 20
SIGNATURES = {
    b"PK\x03\x04": ("an Excel or zip file", "save it as CSV (UTF-8) or Parquet"),
    b"\xd0\xcf\x11\xe0": ("an old Excel file", "save it as CSV (UTF-8) or Parquet"),
    b"%PDF": ("a PDF", "export the table as CSV or Parquet"),
    b"\x89PNG": ("a picture", "export the table as CSV or Parquet"),
    b"<!DO": ("a web page", "export the table as CSV or Parquet"),
    b"<htm": ("a web page", "export the table as CSV or Parquet"),
}
_KAZAKH = "ҚқҢңӘә".encode("kz1048")
"""Letters in whose place cp1251 has some of Serbian and Macedonian."""
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
    """The files of each source, from a folder, from explicit paths, or both. A folder called like a table holds its parts.

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
                problems.append(Problem(path.name, "the file does not exist", "check the path"))
    if data is not None and not data.is_dir():
        problems.append(Problem(str(data), "not a folder", "name the folder that holds the tables"))
    if problems:
        raise UsageError(problems)
    if data is not None:
        for path in sorted(p for p in data.iterdir() if not p.name.startswith(".")):
            owner, parts = _owner(path, sources), _parts(path)
            if owner is None or not (parts or path.is_file()):
                unused.append(path.name + ("/" if path.is_dir() else ""))
            elif owner not in tables:
                paths[owner] += parts or [path]
    return paths, unused


def _parts(folder: Path) -> list[Path]:
    """The files of a table that stands in parts, as Spark writes it."""
    return sorted(p for p in folder.rglob("*") if p.is_file() and p.name.lower().endswith(SUFFIXES) and p.name[0] not in "._")


def _owner(path: Path, sources: Mapping[str, Source]) -> str | None:
    name = path.name.lower()
    suffix = next((s for s in sorted(SUFFIXES, key=len, reverse=True) if name.endswith(s)), "" if path.is_dir() else None)
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
        raise DataError(list(told)) if told else _refuse(path, "its columns fit none of the tables", f"the tables: {', '.join(sources)}")
    return max(known, key=lambda name: known[name])


def _refuse(path: Path, what: str, fix: str = "") -> DataError:
    return DataError([Problem(path.name, what, fix)])


def _inspect(name: str, source: Source, path: Path) -> TableFile:
    if path.stat().st_size == 0:
        raise _refuse(path, "the file is empty (0 bytes)", "export it again, or remove it")
    with path.open("rb") as file:
        head = file.read(4)
    if path.name.lower().endswith((".parquet", ".pq")) or head == b"PAR1":
        return _inspect_parquet(name, source, path)
    for signature, (what, fix) in SIGNATURES.items():
        if head.lower().startswith(signature.lower()):
            raise _refuse(path, f"not a table: it is {what}", fix)
    return _inspect_csv(name, source, path, zipped=head[:2] == b"\x1f\x8b")


def _inspect_parquet(name: str, source: Source, path: Path) -> TableFile:
    try:
        with duckdb.connect() as connection:
            described = connection.execute(f"describe from {parquet(path)}").fetchall()
    except duckdb.Error:
        raise _refuse(path, "not a Parquet file, or damaged", "export it again") from None
    headers, types = (tuple(str(row[place]) for row in described) for place in (0, 1))
    return TableFile(name, path, "parquet", _match(path, source, headers), headers, types)


def _inspect_csv(name: str, source: Source, path: Path, zipped: bool) -> TableFile:
    encoding = _encoding(path, zipped)
    blank, first = 0, ""
    try:
        with _open(path, zipped) as raw:
            for line in codecs.getreader(encoding)(raw, "replace"):
                if line.strip().strip("\ufeff"):
                    first = line
                    break
                blank += 1
    except (OSError, EOFError):
        raise _refuse(path, "the gzip file is damaged", "compress it again") from None
    if not first:
        raise _refuse(path, "the file holds no rows and no header", "export it again, or remove it")
    if "\0" in first:
        raise _refuse(path, "not a table: binary content", "export the table as CSV (UTF-8) or Parquet")
    options = []
    for delimiter in DELIMITERS:
        headers = tuple(h.strip().strip("\ufeff") for h in next(csv.reader([first], delimiter=delimiter), []))
        options.append((len(_known(source, headers)), -DELIMITERS.index(delimiter), delimiter, headers))
    *_, delimiter, headers = max(options)
    named = [header.lower() for header in headers if header]
    if len(set(named)) != len(named):
        raise _refuse(path, "a column name stands twice in the header", "rename one of the two")
    columns = _match(path, source, headers)
    return TableFile(name, path, "csv.gz" if zipped else "csv", columns, headers, delimiter=delimiter, encoding=encoding, blank_lines=blank)


def _open(path: Path, zipped: bool) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path, "rb") if zipped else path.open("rb"))


def _encoding(path: Path, zipped: bool) -> str:
    """UTF-8 where every byte agrees, else a Cyrillic code page. Streams, so that size does not matter.

    A file that is UTF-8 but for a few bytes is refused: a guess would turn every word of it into another.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    odd = bytearray()
    bom = valid = False
    try:
        with _open(path, zipped) as file:
            head = file.read(CHUNK)
            if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                return "utf-16"
            bom = head.startswith(codecs.BOM_UTF8)
        with _open(path, zipped) as file:
            for number, line in enumerate(file, 1):
                if line.isascii():
                    continue
                try:
                    decoder.decode(line, final=True)
                    valid = True
                except UnicodeDecodeError:
                    if valid:
                        raise _refuse(path, f"line {number} is not UTF-8, and others are", "export the file again as UTF-8") from None
                    odd += line
                    if len(odd) > CHUNK:
                        break
    except (OSError, EOFError):
        raise _refuse(path, "the gzip file is damaged", "compress it again") from None
    if odd and valid:
        raise _refuse(path, "some lines are UTF-8 and some are not", "export the file again as UTF-8")
    if odd:
        return _code_page(bytes(odd))
    return "utf-8-sig" if bom else "utf-8"


def _code_page(sample: bytes) -> str:
    """cp1251 where it reads as Cyrillic words, its Kazakh sister where some letters are Kazakh; else what the library finds likeliest.

    In cp1251 small letters are 0xE0–0xFF and capitals 0xC0–0xDF; in koi8-r the other way round.
    """
    high = [byte for byte in sample if byte >= 0x80]
    small, capital = (sum(low <= byte < low + 0x20 for byte in high) for low in (0xE0, 0xC0))
    kazakh = sum(byte in _KAZAKH for byte in high)
    if small + capital + kazakh >= 0.8 * len(high) and capital <= 2 * small:
        return "kz1048" if kazakh else "cp1251"
    best = from_bytes(sample[:200_000], cp_isolation=["cp1251", "cp866", "koi8_r"]).best()
    return best.encoding if best else "cp1251"


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
    missing = [name for name, column in source.columns.items() if column.required and name not in known]
    if not missing:
        return known
    if not known:
        raise _refuse(path, _NO_COLUMN, f"its first line must name {', '.join(missing)}")
    free = [header for header in headers if header not in known.values()]
    problems = []
    for name in missing:
        names = [name, *source.columns[name].names]
        close = [h for n in names for h in difflib.get_close_matches(n, free, n=1, cutoff=0.6)]
        hint = f"is it '{close[0]}'? Map it: " if close else "rename the column, or map it: "
        fix = f"{hint}playbook.yaml, sources, …, columns, {name}, names"
        problems.append(Problem(path.name, f"column '{' or '.join(names[:2])}' is missing", fix))
    raise DataError(problems)


def to_utf8(file: TableFile, folder: Path) -> TableFile:
    """The file itself where it is plain UTF-8, else a UTF-8 copy in `folder`, made in a stream."""
    if file.kind == "parquet" or file.encoding == "utf-8":
        return file
    folder = folder / str(len(list(folder.iterdir())) if folder.exists() else 0)
    folder.mkdir(parents=True)
    copy = folder / file.path.name.removesuffix(".gz")
    try:
        with _open(file.path, file.kind == "csv.gz") as source, copy.open("w", encoding="utf-8", newline="") as target:
            reader = codecs.getreader(file.encoding)(source)
            while chunk := reader.read(CHUNK):
                target.write(chunk)
    except UnicodeDecodeError:
        raise _refuse(file.path, f"neither UTF-8 nor {file.encoding}", "export the file again as UTF-8") from None
    return replace(file, path=copy, kind="csv", encoding="utf-8")


def read_texts(path: Path) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a small CSV file of texts, in whatever encoding and delimiter. Raises DataError."""
    if path.stat().st_size == 0:
        raise _refuse(path, "the file is empty (0 bytes)", "export it again")
    csv.field_size_limit(1 << 26)
    try:
        with path.open(encoding=_encoding(path, zipped=False), newline="") as file:
            first = file.readline()
            delimiter = max(DELIMITERS, key=first.count)
            file.seek(0)
            header, *rows = csv.reader(file, delimiter=delimiter)
    except (csv.Error, UnicodeDecodeError):
        raise _refuse(path, "not a CSV file of texts", "save it as CSV (UTF-8)") from None
    width = len(header)
    # An unquoted delimiter in the last column cuts a text in two: what hangs over belongs to it.
    whole = [[*row[: width - 1], delimiter.join(row[width - 1 :])] if len(row) > width else row for row in rows]
    return [name.strip().strip("\ufeff") for name in header], whole
