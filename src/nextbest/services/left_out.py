"""Left out: customers whom what a server gives out must not hold."""

from collections.abc import Collection
from dataclasses import dataclass

import duckdb

from nextbest.plan.stage import text


@dataclass(frozen=True)
class LeftOut:
    """By code, and by the salted hash that is kept of those erased."""

    codes: Collection[str] = ()
    erased: Collection[str] = ()
    salt: str = ""


NOBODY = LeftOut()


def kept(connection: duckdb.DuckDBPyConnection, code: str, left_out: LeftOut) -> str:
    """SQL: whether a row may be given out, by the customer's `code` in it (an expression). Makes the tables that it asks."""
    tests = ["true"]
    for name, values in (("codes", left_out.codes), ("erased", left_out.erased)):
        if values:
            connection.execute(f"create or replace temp table {name} (value varchar)")
            connection.executemany(f"insert into {name} values (?)", [[value] for value in values])
    if left_out.codes:
        tests.append(f"{code} not in (from codes)")
    if left_out.erased:
        tests.append(f"sha256({text(left_out.salt + ':')} || {code}) not in (from erased)")
    return " and ".join(f"coalesce({test}, true)" for test in tests)
