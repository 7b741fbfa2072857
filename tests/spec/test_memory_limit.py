"""How much memory the engine takes: what it is told, or enough for a large run, and on a small machine a part of what there is."""

import os

import duckdb
import pytest
from pydantic import ByteSize, TypeAdapter

from nextbest.engines import duckdb as engines
from nextbest.settings import Settings


def limit(connection) -> int:
    return TypeAdapter(ByteSize).validate_python(connection.execute("select current_setting('memory_limit')").fetchone()[0])


def near(found: float, expected: float) -> bool:
    """DuckDB says its limit in tenths of a GiB, cut off: ours follows from its, and is said so again."""
    return expected - 0.25e9 < found <= expected


@pytest.fixture
def taken(tmp_path, monkeypatch):
    """The limit of an engine on a machine of so many bytes, of which DuckDB by itself takes four fifths."""
    connect = duckdb.connect
    monkeypatch.delenv("NEXTBEST_MEMORY_LIMIT", raising=False)

    def on(memory: float, **settings: str) -> int:
        monkeypatch.setattr(duckdb, "connect", lambda config: connect(config={"memory_limit": f"{int(memory * 4 / 5)}B", **config}))
        with engines.DuckDBEngine(tmp_path, Settings(**settings)) as engine:
            return limit(engine.connection)

    return on


def test_what_is_said_holds(taken):
    assert near(taken(64e9, memory_limit="2GB"), 2e9)
    assert near(taken(4e9, memory_limit="8GB"), 8e9)


@pytest.mark.parametrize("machine, expected", [(64e9, 5e9), (8e9, 5e9), (4e9, 2.5e9), (2e9, 1.25e9)])
def test_else_it_is_enough_and_no_more_than_five_eighths(taken, machine, expected):
    assert near(taken(machine), expected)


def test_duckdb_by_itself_takes_no_more_than_four_fifths():
    """Else the fixture above, and the engine, reckon with a smaller machine than there is."""
    with duckdb.connect() as connection:
        assert limit(connection) <= engines.OWN_SHARE * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
