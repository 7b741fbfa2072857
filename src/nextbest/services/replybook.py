"""The replies of a run as a look-up by customer: one SQLite file, read-only once written."""

import sqlite3
from pathlib import Path

import pyarrow.parquet as pq

BATCH = 20_000


def write_replybook(run: Path) -> Path:
    """Make `replies.db` of a run's replies.parquet. Memory stays bounded: batch by batch."""
    scratch = run / ".replies.db"
    scratch.unlink(missing_ok=True)
    connection = sqlite3.connect(scratch, isolation_level=None)
    try:
        connection.execute("pragma journal_mode = off")
        connection.execute("pragma synchronous = off")
        connection.execute("create table reply (customer text primary key, reply blob not null) without rowid")
        connection.execute("begin")
        for batch in pq.ParquetFile(run / "replies.parquet").iter_batches(BATCH):
            customers = [str(code) for code in batch.column("customer").to_pylist()]
            replies = [reply.encode() for reply in batch.column("reply").to_pylist()]
            connection.executemany("insert into reply values (?, ?)", zip(customers, replies, strict=True))
        connection.execute("commit")
    finally:
        connection.close()
    return scratch.replace(run / "replies.db")


class Replybook:
    """Reads the replies of one run. Threads may share it: SQLite serialises their reads."""

    def __init__(self, run: Path):
        uri = f"{(run / 'replies.db').resolve().as_uri()}?mode=ro&immutable=1"
        self.connection = sqlite3.connect(uri, uri=True, check_same_thread=False)

    def get(self, customer: str) -> bytes | None:
        """The reply about a customer, as JSON; None for one who is not in the run."""
        row = self.connection.execute("select reply from reply where customer = ?", (customer,)).fetchone()
        return None if row is None else bytes(row[0])

    def page(self, after: str, limit: int) -> list[tuple[str, bytes]]:
        """Customers and replies in the order of their codes, from the one after `after`."""
        return self.connection.execute("select customer, reply from reply where customer > ? order by 1 limit ?", (after, limit)).fetchall()

    def count(self) -> int:
        """How many customers there are."""
        return int(self.connection.execute("select count(*) from reply").fetchone()[0])

    def close(self) -> None:
        """Free the file."""
        self.connection.close()
