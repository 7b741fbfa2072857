"""A workspace: one database, SQLite in a folder or PostgreSQL by URL, with one writer at a time.

Every write goes through `writing()`, which lets one process in at a time: what it read before it wrote is still true
when it commits. Readers never wait.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, Table, create_engine, event, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from nextbest.errors import Problem, StoreError, UsageError
from nextbest.store.tables import note

_LOCK = 0x6E6578746265  # any number will do, so long as nobody else's is the same
_WAIT_SECONDS = 60
_BATCH = 50_000
PRAGMAS = {"page_size": "32768", "synchronous": "full", "journal_mode": "wal", "secure_delete": "on"}


class Workspace:
    """Opened by folder or by `postgresql://` URL; made on first use (unless told not to), and brought up to date.

    Raises UsageError for what is no workspace, StoreError for a database that cannot be reached or written.
    """

    def __init__(self, place: str | Path, create: bool = True):
        self.place = str(place)
        if not create and "://" not in self.place and not (Path(place) / "nextbest.db").is_file():
            raise UsageError([Problem(self.place, "no workspace is here", "check the path; decide makes one on first use")])
        self.engine = _engine(self.place)
        try:
            self._migrate()
        except SQLAlchemyError as error:
            raise self.error(error) from error

    def __enter__(self) -> "Workspace":
        return self

    def __exit__(self, *_: object) -> None:
        self.engine.dispose()

    @property
    def name(self) -> str:
        """The place without a password."""
        return make_url(self.place).render_as_string(hide_password=True) if "://" in self.place else self.place

    def error(self, error: SQLAlchemyError) -> StoreError:
        """A database's error as ours. Its own words are kept short: they may hold a customer's values."""
        cause = str(getattr(error, "orig", None) or error).strip().splitlines()[0][:120]
        return StoreError(
            [
                Problem(
                    self.name,
                    f"the workspace cannot be used ({cause})",
                    "mend the database, then run again",
                )
            ]
        )

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A consistent look at the database."""
        options = {"isolation_level": "REPEATABLE READ"} if self.engine.dialect.name == "postgresql" else {}
        with self._guarded(), self.engine.connect().execution_options(**options) as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that no other writer overlaps. It commits when the block ends well, and otherwise leaves nothing."""
        with self._guarded(), self.engine.connect().execution_options(exclusive=True) as connection, connection.begin():
            if connection.dialect.name == "postgresql":
                connection.exec_driver_sql(f"select pg_advisory_xact_lock({_LOCK})")
            yield connection

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise self.error(error) from error

    def _migrate(self) -> None:
        config = Config()
        config.set_main_option("script_location", str(files("nextbest.store") / "migrations"))
        newest = ScriptDirectory.from_config(config).get_current_head()
        with self.reading() as connection:
            current = MigrationContext.configure(connection).get_current_revision()
        if current == newest:
            return
        with self.writing() as connection:
            config.attributes["connection"] = connection
            try:
                command.upgrade(config, "head")
            except Exception as error:
                if isinstance(error, SQLAlchemyError):
                    raise
                what = "the workspace was made by a newer Nextbest"
                raise StoreError([Problem(self.name, what, "update Nextbest, or name another workspace")]) from error


def now(connection: Connection) -> int:
    """The time in seconds, which never runs back: with the clock set back it stands still at the latest time seen."""
    seen = connection.execute(select(note.c.value).where(note.c.name == "latest time seen")).scalar()
    latest = max(int(time.time()), int(seen or 0))
    if seen is None:
        connection.execute(note.insert().values(name="latest time seen", value=str(latest)))
    elif latest > int(seen):
        connection.execute(note.update().where(note.c.name == "latest time seen").values(value=str(latest)))
    return latest


def salt(connection: Connection) -> str:
    """The workspace's own salt for the hashes of erased customers, drawn once."""
    known = known_salt(connection)
    if not known:
        known = os.urandom(16).hex()
        connection.execute(note.insert().values(name="salt", value=known))
    return known


def known_salt(connection: Connection) -> str:
    """The salt, where it was drawn: it was, once anyone is erased."""
    return connection.execute(select(note.c.value).where(note.c.name == "salt")).scalar() or ""


def insert_all(connection: Connection, table: Table, rows: pa.Table) -> None:
    """Insert an Arrow table in bulk: COPY on PostgreSQL, one prepared statement fed batch by batch on SQLite.

    ADBC would be twice as fast on SQLite (1.2 s for a million rows), but in a transaction of its own: reading what
    was promised and promising more has to be one transaction.
    """
    names = rows.column_names
    driver: Any = connection.connection.cursor()
    try:
        if connection.dialect.name == "postgresql":
            with driver.copy(f"copy {table.name} ({', '.join(names)}) from stdin (format csv)") as copy:
                for batch in rows.to_batches(_BATCH):
                    sink = pa.BufferOutputStream()
                    pyarrow.csv.write_csv(batch, sink, pyarrow.csv.WriteOptions(include_header=False, quoting_style="all_valid"))
                    copy.write(sink.getvalue().to_pybytes())
            return
        statement = f"insert into {table.name} ({', '.join(names)}) values ({', '.join('?' * len(names))})"
        for batch in rows.to_batches(_BATCH):
            driver.executemany(statement, zip(*(column.to_pylist() for column in batch.columns), strict=True))
    finally:
        driver.close()


def fetch_all(connection: Connection, statement: Any, schema: pa.Schema) -> pa.Table:
    """A query's rows as an Arrow table, batch by batch."""
    result = connection.execute(statement.execution_options(yield_per=_BATCH))
    batches = []
    for part in result.partitions():
        columns = zip(*part, strict=True)
        batches.append(pa.record_batch([pa.array(column, kind.type) for column, kind in zip(columns, schema, strict=True)], schema=schema))
    return pa.Table.from_batches(batches, schema)


def _engine(place: str) -> Engine:
    if "://" in place:
        try:
            url = make_url(place)
            if url.get_backend_name() != "postgresql":
                raise UsageError([Problem("workspace", f"no workspace on {url.get_backend_name()}", "a folder, or postgresql://…")])
            return create_engine(url.set(drivername="postgresql+psycopg"), connect_args={"connect_timeout": 10})
        except ArgumentError:
            raise UsageError([Problem("workspace", "not a folder or URL", "e.g. workspace, or postgresql://host/name")]) from None
        except ModuleNotFoundError:
            raise UsageError([Problem("workspace", "PostgreSQL needs a driver", "pip install 'nextbest[postgres]'")]) from None
    folder = Path(place)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError([Problem(place, f"cannot be made: {error.strerror}", "name a folder")]) from None
    # No connection is kept open: on a file that was removed meanwhile, writing would seem to succeed.
    engine = create_engine(f"sqlite:///{folder / 'nextbest.db'}", connect_args={"timeout": _WAIT_SECONDS}, poolclass=NullPool)

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _: object) -> None:
        connection.isolation_level = None  # transactions begin where we say so, below
        for name, value in PRAGMAS.items():
            connection.execute(f"pragma {name} = {value}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("begin immediate" if connection.get_execution_options().get("exclusive") else "begin")

    return engine
