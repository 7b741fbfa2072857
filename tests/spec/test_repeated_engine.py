"""The engine for one customer after another: what is kept planned must not show."""

import pytest

from nextbest.engines import repeated
from nextbest.engines.repeated import RepeatedEngine
from nextbest.plan.stage import Stage


@pytest.fixture
def engine(tmp_path):
    with RepeatedEngine(tmp_path) as found:
        yield found


def test_a_stage_is_filled_anew(engine):
    for value in (1, 2, 3):
        engine.fill("given", {"x": "integer"}, [{"x": value}])
        engine.create(Stage("doubled", "one row", "select case x when 1 then 'one' when 2 then 'two' else 'many' end as said from given"))
        assert engine.rows("select said from doubled") == [({1: "one", 2: "two", 3: "many"}[value],)]


def test_missing_cells_are_null_and_quotes_are_text(engine):
    hostile = 'it\'s "quoted"; drop table given; --'
    engine.fill("given", {"a": "varchar", "b": "varchar"}, [{"a": hostile}, {"b": "x"}])
    assert engine.rows("select a, b from given order by a nulls last") == [(hostile, None), (None, "x")]
    engine.fill("given", {"a": "varchar", "b": "varchar"}, [])
    assert engine.rows("select count(*) from given") == [(0,)]


def test_a_table_made_later_does_not_spoil_what_is_planned(engine):
    engine.fill("given", {"x": "integer"}, [{"x": 1}])
    assert engine.rows("select x from given") == [(1,)]
    engine.fill("later", {"x": "integer"}, [{"x": 5}])
    engine.fill("given", {"x": "integer"}, [{"x": 2}])
    assert engine.rows("select x from given") == [(2,)]


def test_a_statement_that_fails_leaves_no_other_in_its_place(engine, monkeypatch):
    monkeypatch.setattr(repeated, "MOST_PLANNED", 8)
    for n in range(30):
        assert engine.rows(f"select {n}") == [(n,)]
        if n % 3 == 0:
            with pytest.raises(Exception, match="nothing"):
                engine.rows(f"select {n} from nothing")
        assert engine.rows(f"select {max(0, n - 5)}") == [(max(0, n - 5),)]
