"""Functions over lists, structs and maps, as DuckDB has them."""

from collections.abc import Callable
from typing import Any

from nextbest.engines.rows.texts import Fixed, Function
from nextbest.engines.rows.types import DUCKDB_1, WHOLE, Type, UnsupportedError, order


def item_at(values: Any, place: int) -> Any:
    """The item at a place from 1, or from the end where it is below 0; None outside."""
    size = len(values)
    if place < 0:
        place += size + 1
    return values[place - 1] if 1 <= place <= size else None


def position(values: tuple[Any, ...] | None, sought: Any) -> int | None:
    """Where a value, or null, stands first, from 1. NaN is equal to itself."""
    if values is None:
        return None
    if sought != sought:
        return next((place for place, value in enumerate(values, 1) if value != value), None)
    return values.index(sought) + 1 if sought in values else None


def contains(values: tuple[Any, ...] | None, sought: Any) -> bool | None:
    """Whether a value is in a list. That null is not in an empty one only DuckDB 2 knows."""
    if values is None or (sought is None and (values or DUCKDB_1)):
        return None
    return position(values, sought) is not None


LISTS: dict[str, Function] = {
    "len": len,
    "length": len,
    "array_length": len,
    "list_has_any": lambda values, others: any(value is not None and position(others, value) for value in values),
    "list_has_all": lambda values, others: all(position(values, other) for other in others if other is not None),
}
"""Over a list, and values."""


def member(kinds: list[Type], result: Type, fixed: Fixed) -> Function | None:
    """struct_extract(): by name, or by place from 1."""
    place = fixed[1] - 1 if isinstance(fixed[1], int) else [name.lower() for name in kinds[0].names].index(str(fixed[1]).lower())
    return lambda values, _: values[place]


def extracted(kinds: list[Type], result: Type, fixed: Fixed) -> Function | None:
    """A list's item, a text's letter or a struct's member."""
    if kinds[0].id == "VARCHAR":
        return lambda text, place: item_at(text, place) or ""
    if kinds[0].id == "STRUCT":
        return member(kinds, result, fixed)
    return item_at if kinds[0].id == "LIST" else None


def sliced(kinds: list[Type], result: Type, fixed: Fixed) -> Function | None:
    """A part of a list or a text; an empty list says that there is no bound."""
    known = len(kinds) == 3 and kinds[0].id in ("LIST", "VARCHAR") and all(kind.id in WHOLE | {"LIST"} for kind in kinds[1:])
    return _slice if known else None


def _slice(values: Any, first: Any, last: Any) -> Any:
    """From one place to another, both included, counted from 1, or from the end below 0."""
    size = len(values)
    start = 0 if first == () else size + first if first < 0 else first - 1
    end = size if last == () else size + last + 1 if last < 0 else last
    return values[max(start, 0) : max(end, 0)]


def in_order(reverse: bool) -> Callable[[list[Type], Type, Fixed], Function | None]:
    """list_sort(), list_reverse_sort(): nulls stand last either way."""

    def of(kinds: list[Type], result: Type, fixed: Fixed) -> Function | None:
        if len(kinds) > 1:
            return None
        key = order(kinds[0].of[0])

        def values_in_order(values: tuple[Any, ...]) -> tuple[Any, ...]:
            known = sorted((value for value in values if value is not None), key=key, reverse=reverse)
            return (*known, *[None] * (len(values) - len(known)))

        return values_in_order

    return of


def at_key(kinds: list[Type], result: Type, fixed: Fixed) -> Function | None:
    """What a map holds under a key."""
    if fixed[0] is not None:
        known = dict(fixed[0])
        return lambda _, key: known.get(key)
    return lambda pairs, key: next((value for one, value in pairs if one == key), None)


def numbers(kinds: list[Type], result: Type, fixed: Fixed) -> Function | None:
    """range(): whole numbers from one bound up to the other."""
    return (lambda *bounds: tuple(range(*bounds))) if len(kinds) < 3 and all(kind.id in WHOLE for kind in kinds) else None


def with_lambda(name: str, children: list[Function], body: Function, has_index: bool) -> Function:
    """list_transform() or list_filter() as a function of a row; `body` sees an item, and what the lambda caught.

    Raises UnsupportedError.
    """
    if name not in ("list_transform", "list_filter", "list_apply", "array_transform", "array_filter") or has_index:
        raise UnsupportedError(f"{name} with {'an index' if has_index else 'a lambda'}")
    items, caught = children[0], children[1:]
    keeps = name.endswith("filter")

    def value(row: tuple[Any, ...]) -> Any:
        values = items(row)
        if values is None:
            return None
        beside = tuple([child(row) for child in caught])
        if keeps:
            return tuple([one for one in values if body((one, *beside))])
        return tuple([body((one, *beside)) for one in values])

    return value
