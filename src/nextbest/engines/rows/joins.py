"""Joins of two lists of rows."""

from collections.abc import Iterable, Sequence
from typing import Any

from nextbest.engines.rows.asking import Asking
from nextbest.engines.rows.expressions import Row, Rows, comparison, key_value, kind_of
from nextbest.engines.rows.types import UnsupportedError


def kept(projected: Sequence[int] | None, width: int) -> Sequence[int]:
    """The places of the columns that a join keeps of one side: all, where its plan names none."""
    return projected or range(width)


class Match:
    """A join of two lists of rows: by what must be equal first, then by what else must hold. Raises UnsupportedError.

    `widths`: how many columns the rows of either side have.
    """

    def __init__(self, node: dict[str, Any], widths: list[int], asking: Asking):
        self.kind = node["join_type"]
        if self.kind not in ("INNER", "LEFT", "RIGHT", "FULL", "SEMI", "ANTI", "MARK", "SINGLE") or node.get("predicate"):
            raise UnsupportedError(f"a join of kind {self.kind}")
        if any(each["right"] is None for each in node["conditions"]):
            raise UnsupportedError("a join by more than comparisons")
        self.conditions = [
            (
                key_value(each["left"], asking), key_value(each["right"], asking),
                comparison(each["comparison"], kind_of(each["left"])), each["comparison"],
            )
            for each in node["conditions"]
        ]  # fmt: skip
        self.nothing = [(None,) * width for width in widths]
        more = [] if self.kind in ("SEMI", "ANTI") else [0] if self.kind == "MARK" else kept(node["right_projection_map"], widths[1])
        self.kept = [*kept(node["left_projection_map"], widths[0]), *(widths[0] + place for place in more)]
        self.leaves_out = bool(node["left_projection_map"] or node["right_projection_map"])

    def rows(self, left: Rows, right: Rows) -> Rows:
        """The joined rows, in the order of the left ones."""
        joined = self._joined(left, right)
        return [tuple([row[place] for place in self.kept]) for row in joined] if self.leaves_out else joined

    def _joined(self, left: Rows, right: Rows) -> Rows:
        keys = [[of_right(row) for _, of_right, _, _ in self.conditions] for row in right]
        equal = [place for place, condition in enumerate(self.conditions) if condition[3] in ("COMPARE_EQUAL", "COMPARE_NOT_DISTINCT_FROM")]
        index: dict[Row, list[int]] = {}
        for place, key in enumerate(keys):
            index.setdefault(tuple([key[each] for each in equal]), []).append(place)
        joined: Rows = []
        met: set[int] = set()
        for row in left:
            own = [of_left(row) for of_left, _, _, _ in self.conditions]
            among: Iterable[int] = index.get(tuple([own[each] for each in equal]), ()) if equal else range(len(right))
            found = [place for place in among if all(self._said(own, keys[place]))]
            joined += self._told(row, own, found, right, keys)
            met.update(found)
        if self.kind in ("RIGHT", "FULL"):
            joined += [(*self.nothing[0], *row) for place, row in enumerate(right) if place not in met]
        return joined

    def _told(self, row: Row, own: list[Any], found: list[int], right: Rows, keys: list[list[Any]]) -> Rows:
        if self.kind == "SEMI":
            return [row] if found else []
        if self.kind == "ANTI":
            return [] if found else [row]
        if self.kind == "MARK":
            return [(*row, True if found else self._unknown(own, keys))]
        if self.kind == "SINGLE" and len(found) > 1:
            raise UnsupportedError("a subquery that gives several rows")
        none = [] if self.kind in ("INNER", "RIGHT") else [(*row, *self.nothing[1])]
        return [(*row, *right[place]) for place in found] or none

    def _unknown(self, own: list[Any], keys: list[list[Any]]) -> bool | None:
        """What IN says of a row that nothing equals: unknown, where something might."""
        for key in keys:
            said = self._said(own, key)
            if None in said and False not in said:
                return None
        return False

    def _said(self, own: list[Any], key: list[Any]) -> list[bool | None]:
        return [compare(mine, its) for (_, _, compare, _), mine, its in zip(self.conditions, own, key, strict=True)]
