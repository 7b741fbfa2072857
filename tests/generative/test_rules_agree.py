"""The engine and the plain Python oracle give the same value for any rule on any row."""

import math

import duckdb
from hypothesis import given, settings
from hypothesis import strategies as st

from nextbest.rules.parse import Scope, bind
from nextbest.rules.reference import evaluate
from nextbest.rules.render import sql, with_leaders

SCOPE = Scope(frozenset({"a", "b", "flag"}), {"spend": ("x", "y", "z")}, {"k": 2.5, "neg": -1})
NUMBERS = st.one_of(st.none(), st.integers(-50, 50).map(float), st.floats(-1e6, 1e6, allow_nan=False).map(lambda v: round(v, 3)))
CELLS = st.integers(0, 1_000_000_000).map(lambda hundredths: hundredths / 100)

atoms = st.sampled_from(["a", "b", "p.k", "p.neg", "spend['x']", "spend['y', 'z']", "1", "0", "2.5", "-3", "top_sum(spend, 2)"])
numbers = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        st.tuples(inner, inner).map(lambda t: f"ratio({t[0]}, {t[1]})"),
        st.tuples(inner, inner).map(lambda t: f"least({t[0]}, {t[1]})"),
        st.tuples(inner, inner).map(lambda t: f"greatest({t[0]}, {t[1]})"),
        st.tuples(inner, inner).map(lambda t: f"coalesce({t[0]}, {t[1]})"),
        inner.map(lambda x: f"abs({x})"),
        inner.map(lambda x: f"ln({x})"),
        inner.map(lambda x: f"sqrt({x})"),
        inner.map(lambda x: f"exp(least({x}, 20))"),
        inner.map(lambda x: f"ramp({x}, 2, 2)"),
        inner.map(lambda x: f"floor({x})"),
        inner.map(lambda x: f"ramp({x}, 1, 3)"),
    ),
    max_leaves=6,
)
conditions = st.recursive(
    st.one_of(
        st.tuples(numbers, st.sampled_from(["<", "<=", ">", ">=", "=", "<>"]), numbers).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        st.tuples(numbers, numbers, numbers).map(lambda t: f"({t[0]} between {t[1]} and {t[2]})"),
        st.tuples(numbers, numbers).map(lambda t: f"({t[0]} in (1, 0, {t[1]}))"),
        numbers.map(lambda x: f"({x} is null)"),
        st.just("flag"),
    ),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda t: f"({t[0]} and {t[1]})"),
        st.tuples(inner, inner).map(lambda t: f"({t[0]} or {t[1]})"),
        inner.map(lambda x: f"(not {x})"),
    ),
    max_leaves=4,
)
cases = st.tuples(conditions, numbers, numbers).map(lambda t: f"case when {t[0]} then {t[1]} else {t[2]} end")
rows = st.fixed_dictionaries(
    {"a": NUMBERS, "b": NUMBERS, "flag": st.one_of(st.none(), st.booleans()), "spend[x]": CELLS, "spend[y]": CELLS, "spend[z]": CELLS}
)
connection = duckdb.connect()
KINDS = {"flag": "boolean"}


def in_engine(rule, row):
    columns = ", ".join(f'cast(${i} as {KINDS.get(name, "double")}) as "{name}"' for i, name in enumerate(row, 1))
    select = f"select {sql(rule, 'duckdb')} from ({with_leaders(f'select {columns}', [rule])})"
    return connection.execute(select, list(row.values())).fetchone()[0]


@settings(max_examples=100, deadline=None)
@given(cells=st.lists(st.sampled_from([0, 0.01, 100, 8e10, 1e12, 8.9e13, -5e12]), min_size=3, max_size=3), place=st.integers(1, 5))
def test_the_largest_cells_of_giants(cells, place):
    """Each cell stands where it is, however large, also beside its equals."""
    row = dict(zip(("spend[x]", "spend[y]", "spend[z]"), cells, strict=True))
    key, total = (bind(f"{name}(spend, {place})", SCOPE) for name in ("top_key", "top_sum"))
    assert in_engine(key, row) == evaluate(key, row)
    assert math.isclose(in_engine(total, row), evaluate(total, row), rel_tol=1e-12)


@settings(max_examples=100, deadline=None)
@given(row=rows, place=st.integers(1, 3))
def test_the_largest_cell_by_name(row, place):
    rule = bind(f"top_key(spend, {place})", SCOPE)
    assert in_engine(rule, row) == evaluate(rule, row)


@settings(max_examples=400, deadline=None)
@given(text=st.one_of(numbers, conditions, cases), row=rows)
def test_engine_and_oracle_agree(text, row):
    rule = bind(text, SCOPE)
    expected, got = evaluate(rule, row), in_engine(rule, row)
    if isinstance(expected, bool) or expected is None or got is None:
        assert got == expected, text
    else:
        assert math.isclose(float(got), expected, rel_tol=1e-9, abs_tol=1e-9), text
