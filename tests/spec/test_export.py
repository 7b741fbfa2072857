"""Results are written two files at a time, in the order of their rows, and one that fails ends the others."""

import concurrent.futures
import threading
import time

import duckdb
import pytest

from nextbest.engines.duckdb import DuckDBEngine
from nextbest.errors import UsageError
from nextbest.settings import Settings

LONG = "select count(*) as n from range(1000000) as a, range(1000000) as b where (a.range * b.range) % 7 = 3"
"""Minutes of work."""


def threads(engine):
    return engine.rows("select current_setting('threads')")[0][0]


@pytest.mark.parametrize("cores", [1, 2, 5])
def test_files_hold_their_rows_in_order_whatever_the_threads(cores, tmp_path):
    with DuckDBEngine(tmp_path, Settings(threads=cores)) as engine:
        engine.execute("create table numbers as select range as n, range % 10 as digit from range(300000)")
        engine.export(
            {tmp_path / f"{name}": f"select n, '{name}' as name from numbers order by n" for name in ("a.parquet", "b.parquet", "c.csv")}
        )
        assert threads(engine) == cores
        for name in ("a.parquet", "b.parquet", "c.csv"):
            placed = f"select *, row_number() over () as place from '{tmp_path / name}'"
            [(count, ordered)] = engine.rows(f"select count(*), bool_and(n = place - 1 and name = '{name}') from ({placed})")
            assert (count, ordered) == (300_000, True)


def test_one_that_fails_ends_the_others(tmp_path):
    with DuckDBEngine(tmp_path, Settings(threads=2)) as engine:
        started = time.monotonic()
        with pytest.raises(duckdb.Error, match="no such thing"):
            engine.export({tmp_path / "long.parquet": LONG, tmp_path / "wrong.parquet": "select error('no such thing') as n"})
        assert time.monotonic() - started < 30 and threads(engine) == 2


@pytest.mark.parametrize("again", [0, 3])
def test_a_stop_from_outside_ends_them(again, tmp_path, monkeypatch):
    """And so do several."""
    stops = [KeyboardInterrupt] * again

    def wait(*given, **options):
        if stops:
            raise stops.pop()
        return concurrent.futures.wait(*given, **options)

    monkeypatch.setattr("nextbest.engines.duckdb.wait", wait)
    with DuckDBEngine(tmp_path, Settings(threads=2)) as engine:
        monkeypatch.setattr("nextbest.engines.duckdb.as_completed", lambda futures: (_ for _ in ()).throw(KeyboardInterrupt))
        before = threading.active_count()
        with pytest.raises(KeyboardInterrupt):
            engine.export({tmp_path / f"{name}.parquet": LONG for name in "abc"})
        assert threads(engine) == 2 and threading.active_count() == before


def test_a_place_that_cannot_be_written_to_is_told(tmp_path):
    with DuckDBEngine(tmp_path) as engine, pytest.raises(UsageError, match=r"a\.parquet"):
        engine.export({tmp_path / "nowhere" / "a.parquet": "select 1 as n"})
