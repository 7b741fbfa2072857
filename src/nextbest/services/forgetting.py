"""Taking a customer out of a run's outputs, for good."""

from collections.abc import Sequence
from pathlib import Path

import duckdb

from nextbest.intake.scan import csv, parquet
from nextbest.plan.stage import quote, text
from nextbest.services.replybook import write_replybook


def without(run: Path, customer: str) -> int:
    """Take a customer out of a run's tables, rejected rows among them; returns how many rows went. For one process at a time."""
    gone = 0
    for path in [*sorted(run.glob("*.parquet")), run / "recommendations.csv"]:
        reader, options = parquet(path), "format parquet, compression zstd"
        if path.suffix == ".csv":
            reader, options = csv(path), "format csv, header"
        with duckdb.connect(config={"threads": 1}) as connection:
            key = connection.execute(f"describe from {reader}").fetchall()[0][0]
            own = f"cast({quote(key)} as varchar) = ?"
            values: Sequence[str] = [customer]
            if path.name == "rejects.parquet":  # the row as it was written: a cell that is the code, or a line that cannot be split
                own = "(contains(row, to_json(?)::varchar) or (problem = 'malformed_row' and contains(row, ?)))"
                values = [customer, customer]
            [(count,)] = connection.execute(f"select count(*) from {reader} where {own}", values).fetchall()
            if count:
                scratch = path.with_name(f".{path.name}")
                rest = f"from {reader} where {own} is not true"
                connection.execute(f"copy ({rest}) to {text(str(scratch))} ({options})", values)
                scratch.replace(path)
                gone += count
    if gone:
        write_replybook(run)
    return gone
