"""What rows leave to DuckDB: functions and casts of single values that are rare, or subtle enough to be written once."""

from collections.abc import Callable
from typing import Any

import duckdb

from nextbest.engines.rows.types import Type, UnsupportedError, given, held
from nextbest.plan.stage import quote

MOST_REMEMBERED = 10_000
LONGEST = 40
"""Casts of so many texts of so many letters are kept: the same days and amounts come with every customer."""


class Asking:
    """Asks DuckDB for the value of an expression over single values."""

    def __init__(self, connection: duckdb.DuckDBPyConnection):
        self._connection = connection
        self._answers: dict[tuple[Any, ...], Any] = {}

    def function(self, name: str, kinds: list[Type], result: Type, is_operator: bool) -> Callable[..., Any]:
        """`name` over values of these types."""
        marks = [f"cast(? as {kind.sql})" for kind in kinds]
        prefix = is_operator and len(marks) == 1
        call = f"{name} {marks[0]}" if prefix else f" {name} ".join(marks) if is_operator else f"{quote(name)}({', '.join(marks)})"
        return self._asked(call, kinds, result)

    def cast(self, kind: Type, result: Type, is_try: bool) -> Callable[..., Any]:
        """A value of one type as one of another; `is_try`: NULL where it is none."""
        asked = self._asked(f"{'try_cast' if is_try else 'cast'}(cast(? as {kind.sql}) as {result.sql})", [kind], result)
        if kind.id != "VARCHAR":
            return asked

        def remembered(value: str) -> Any:
            key = (result, is_try, value)
            if key not in self._answers:
                if len(value) > LONGEST:
                    return asked(value)
                if len(self._answers) >= MOST_REMEMBERED:
                    self._answers.clear()
                self._answers[key] = asked(value)
            return self._answers[key]

        return remembered

    def _asked(self, call: str, kinds: list[Type], result: Type) -> Callable[..., Any]:
        def answer(*values: Any) -> Any:
            passed = [given(value, kind) for value, kind in zip(values, kinds, strict=True)]
            try:
                [(said,)] = self._connection.execute(f"select {call}", passed).fetchall()
            except duckdb.BinderException as error:
                raise UnsupportedError(f"a call that cannot be asked alone ({call})") from error
            return held(said, result)

        return answer
