"""Functions over texts, as DuckDB has them. Its patterns are RE2's: the same library reads them here."""

import re
from collections.abc import Callable
from datetime import datetime
from operator import add
from typing import Any

import re2

from nextbest.engines.rows.types import DUCKDB_1, WHOLE, Type, UnsupportedError

Function = Callable[..., Any]
Fixed = list[Any]
"""The arguments that are constants; None for the others."""

_SPACES = " \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
_TIME_MARKS = frozenset("YmdHMS")
"""Marks of strftime() that Python and DuckDB write alike, from the year 1000 on."""


def _upper(text: str) -> str:
    """Letter by letter: no letter becomes two."""
    return text.upper() if text.isascii() else "".join(map(_one_upper, text))


def _one_upper(letter: str) -> str:
    if letter == "ß":
        return "ẞ"
    return next((large for large in (letter.upper(), letter.title()) if len(large) == 1), letter)


def _lower(text: str) -> str:
    """Letter by letter: a sigma at the end is as any other."""
    if text.isascii() or not ("Σ" in text or "İ" in text):
        return text.lower()
    return "".join("σ" if letter == "Σ" else "i" if letter == "İ" else letter.lower() for letter in text)


def _translate(text: str, old: str, new: str) -> str:
    table: dict[int, str | None] = {}
    for place, letter in enumerate(old):
        table.setdefault(ord(letter), new[place] if place < len(new) else None)
    return text.translate(table)


_NO_LETTERS = ("",) if DUCKDB_1 else ()


def split(text: str | None, mark: str | None) -> tuple[str, ...] | None:
    """string_split(): without a mark the text stays whole, at an empty one it falls into letters."""
    if text is None or mark is None:
        return None if text is None else (text,)
    return tuple(text.split(mark)) if mark else tuple(text) or _NO_LETTERS


TEXTS: dict[str, Function] = {
    "||": add,
    "lower": _lower,
    "upper": _upper,
    "length": len,
    "len": len,
    "replace": lambda text, old, new: text.replace(old, new) if old else text,
    "translate": _translate,
    "trim": lambda text, letters=_SPACES: text.strip(letters) if letters else text,
    "ltrim": lambda text, letters=_SPACES: text.lstrip(letters) if letters else text,
    "rtrim": lambda text, letters=_SPACES: text.rstrip(letters) if letters else text,
    "starts_with": str.startswith,
    "prefix": str.startswith,
    "suffix": str.endswith,
    "contains": lambda text, part: part in text,
}
"""Over texts alone."""


_REFERENCE = re.compile(r"\\(.?)", re.DOTALL)


def _pattern(fixed: Fixed) -> Any:
    if len(fixed) < 2 or fixed[1] is None:
        raise UnsupportedError("a pattern that is no constant")
    return re2.compile(fixed[1])


def _options(fixed: Fixed, place: int) -> str:
    if len(fixed) <= place:
        return ""
    if fixed[place] not in ("", "g"):
        raise UnsupportedError("options of a pattern")
    return str(fixed[place])


def _matches(fixed: Fixed) -> Function:
    _options(fixed, 2)
    found = _pattern(fixed).search
    return lambda text, *_: found(text) is not None


def _full_match(fixed: Fixed) -> Function:
    _options(fixed, 2)
    found = _pattern(fixed).fullmatch
    return lambda text, *_: found(text) is not None


def _extract_all(fixed: Fixed) -> Function | None:
    if len(fixed) != 2:
        return None
    pattern = _pattern(fixed)
    return lambda text, _: tuple([match.group() for match in pattern.finditer(text)])


def _extract(fixed: Fixed) -> Function | None:
    """The first part of a text that is like the pattern, or a group of it. `k`, which DuckDB 2 adds itself: the text, where none is."""
    group, options = fixed[2] if len(fixed) > 2 else 0, fixed[3] if len(fixed) > 3 else ""
    if not isinstance(group, int) or options not in ("", "k"):
        return None
    found = _pattern(fixed).search

    def part(text: str, *_: Any) -> str:
        match = found(text)
        return (match.group(group) or "") if match else text if options else ""

    return part


def _replace(fixed: Fixed) -> Function | None:
    count = 0 if "g" in _options(fixed, 3) else 1
    if fixed[2] is None:
        return None
    pattern = _pattern(fixed)
    if pattern.search("") or pattern.search("x"):  # it may match where nothing stands: DuckDB counts such places in its own way
        return None
    parts = _REFERENCE.split(fixed[2])  # texts, and between them what stands after a backslash
    if any(not (part == "\\" or (part.isdigit() and int(part) <= pattern.groups)) for part in parts[1::2]):
        return None
    made = [part if place % 2 == 0 or part == "\\" else int(part) for place, part in enumerate(parts)]

    def new(match: Any) -> str:
        return "".join([(match.group(part) or "") if isinstance(part, int) else part for part in made])

    return lambda text, *_: pattern.sub(new, text, count)


def _split(fixed: Fixed) -> Function | None:
    pattern = _pattern(fixed)
    if len(fixed) != 2 or pattern.groups or pattern.search(""):
        return None
    return lambda text, _: tuple(pattern.split(text))


PATTERNS: dict[str, Callable[[Fixed], Function | None]] = {
    "regexp_matches": _matches,
    "regexp_full_match": _full_match,
    "regexp_extract": _extract,
    "regexp_extract_all": _extract_all,
    "regexp_replace": _replace,
    "string_split_regex": _split,
}
"""Over a text and a pattern that is a constant."""


def formatted(kinds: list[Type], result: Type, fixed: Fixed) -> Function | None:
    """format() of a whole number with its thousands apart."""
    return (lambda _, value: f"{value:,}") if fixed[0] == "{:,}" and kinds[1].id in WHOLE else None


def moment_written(kinds: list[Type], result: Type, fixed: Fixed) -> Function | None:
    """strftime() of a moment, by marks that all write alike."""
    how = fixed[1] or ""
    marks = {part[:1] for part in how.split("%")[1:]}
    if kinds[0].id != "TIMESTAMP" or not how or not marks <= _TIME_MARKS:
        return None

    def text(value: datetime, _: str) -> str:
        if value.year < 1000:
            raise ValueError
        return value.strftime(how)

    return text
