"""A table of several selects, each run by a thread of its own, is one table to whoever asks."""

import time
from contextlib import nullcontext

import duckdb
import pytest
from tests.spec.test_export import LONG, threads

from nextbest.engines.duckdb import DuckDBEngine
from nextbest.engines.repeated import RepeatedEngine
from nextbest.engines.rows.engine import RowsEngine
from nextbest.plan.stage import Stage
from nextbest.settings import Settings

ENGINES = {
    "duckdb with one thread": lambda folder: DuckDBEngine(folder, Settings(threads=1)),
    "duckdb with five": lambda folder: DuckDBEngine(folder, Settings(threads=5)),
    "repeated": RepeatedEngine,
    "rows": lambda folder: nullcontext(RowsEngine(folder)),
}


@pytest.fixture(params=ENGINES)
def engine(request, tmp_path):
    with ENGINES[request.param](tmp_path) as found:
        yield found


def held(engine):
    return engine.rows("select n, said from texts order by n, said")


def select(*numbers, said="new"):
    return f"select unnest({list(numbers)}) as n, '{said}' as said"


def test_its_rows_are_those_of_all_selects_and_change_as_one_tables_do(engine):
    engine.union("texts", [select(1, 2), select(3), select(4, 5, said="other")])
    assert held(engine) == [(1, "new"), (2, "new"), (3, "new"), (4, "other"), (5, "other")]
    engine.delete("texts", "n in (2, 3, 5)")
    engine.insert("texts", select(3, said="again"))
    assert held(engine) == [(1, "new"), (3, "again"), (4, "other")]
    engine.delete("texts", "said = 'again'")
    assert held(engine) == [(1, "new"), (4, "other")]


def test_it_is_made_anew_with_more_selects_or_fewer(engine):
    for many in (1, 3, 2):
        engine.union("texts", [select(n) for n in range(many)])
        assert held(engine) == [(n, "new") for n in range(many)]


def test_a_select_may_ask_one_made_before(engine):
    engine.union("texts", [select(1), select(2)])
    engine.union("others", [f"select n + {add} as n from texts" for add in (0, 10)])
    assert engine.rows("select n from others order by n") == [(1,), (2,), (11,), (12,)]


def test_nothing_of_it_stays_where_it_is_dropped(tmp_path):
    with DuckDBEngine(tmp_path, Settings(threads=2)) as engine:
        engine.union("texts", [select(1), select(2)])
        engine.drop("texts")
        assert engine.rows("select table_name from information_schema.tables") == []
        engine.create(Stage("texts", "one number", select(7)))
        assert held(engine) == [(7, "new")]


def test_a_select_that_fails_ends_the_others(tmp_path):
    with DuckDBEngine(tmp_path, Settings(threads=2)) as engine:
        started = time.monotonic()
        with pytest.raises(duckdb.Error, match="no such thing"):
            engine.union("texts", [LONG, "select error('no such thing') as n"])
        assert time.monotonic() - started < 30 and threads(engine) == 2
        engine.union("texts", [select(1)])
        assert held(engine) == [(1, "new")] and engine.rows("select table_name from information_schema.tables order by 1") == [
            ("texts",),
            ("texts 1",),
        ]
