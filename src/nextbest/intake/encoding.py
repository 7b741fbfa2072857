"""How a text file is encoded: UTF-8, or a Cyrillic code page."""

import codecs
import gzip
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, cast

from charset_normalizer import from_bytes

from nextbest.errors import DataError, Problem
from nextbest.intake.table import TableFile

CHUNK = 1 << 20
_KAZAKH = "ҚқҢңӘә".encode("kz1048")
"""Letters in whose place cp1251 has some of Serbian and Macedonian."""


def refused(path: Path, what: str, fix: str = "") -> DataError:
    """The error for a file that cannot be read."""
    return DataError([Problem(path.name, what, fix)])


def opened(path: Path, zipped: bool) -> BinaryIO:
    """The file's bytes, unpacked."""
    return cast(BinaryIO, gzip.open(path, "rb") if zipped else path.open("rb"))


def encoding_of(path: Path, zipped: bool) -> str:
    """UTF-8 where every byte agrees, else a Cyrillic code page. Streams, so that size does not matter.

    A file that is UTF-8 but for a few bytes is refused: a guess would turn every word of it into another.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    odd = bytearray()
    bom = valid = False
    try:
        with opened(path, zipped) as file:
            head = file.read(CHUNK)
            if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                return "utf-16"
            bom = head.startswith(codecs.BOM_UTF8)
        with opened(path, zipped) as file:
            for number, line in enumerate(file, 1):
                if line.isascii():
                    continue
                try:
                    decoder.decode(line, final=True)
                    valid = True
                except UnicodeDecodeError:
                    if valid:
                        raise refused(path, f"line {number} is not UTF-8, and others are", "export the file again as UTF-8") from None
                    odd += line
                    if len(odd) > CHUNK:
                        break
    except (OSError, EOFError):
        raise refused(path, "the gzip file is damaged", "compress it again") from None
    if odd and valid:
        raise refused(path, "some lines are UTF-8 and some are not", "export the file again as UTF-8")
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


def to_utf8(file: TableFile, folder: Path) -> TableFile:
    """The file itself where it is plain UTF-8, else a UTF-8 copy in `folder`, made in a stream."""
    if file.kind == "parquet" or file.encoding == "utf-8":
        return file
    folder = folder / str(len(list(folder.iterdir())) if folder.exists() else 0)
    folder.mkdir(parents=True)
    copy = folder / file.path.name.removesuffix(".gz")
    try:
        with opened(file.path, file.kind == "csv.gz") as source, copy.open("w", encoding="utf-8", newline="") as target:
            reader = codecs.getreader(file.encoding)(source)
            while chunk := reader.read(CHUNK):
                target.write(chunk)
    except UnicodeDecodeError:
        raise refused(file.path, f"neither UTF-8 nor {file.encoding}", "export the file again as UTF-8") from None
    return replace(file, path=copy, kind="csv", encoding="utf-8")
