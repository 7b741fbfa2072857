"""The engine of rows says what DuckDB says: the same select over the same few rows, whatever the values."""

import math
import os
from datetime import date, datetime
from decimal import Decimal

import duckdb
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from nextbest.engines.duckdb import DuckDBEngine
from nextbest.engines.rows import engine as rows_engine
from nextbest.engines.rows.engine import RowsEngine
from nextbest.engines.rows.types import UnsupportedError
from nextbest.plan.stage import Stage

MOST = 200 if os.environ.get("NEXTBEST_PROOF") == "full" else 30

COLUMNS = {
    "a": "double", "b": "double", "i": "bigint", "j": "bigint", "n": "decimal(18,2)", "s": "varchar", "t": "varchar", "d": "date",
    "m": "timestamp", "f": "boolean", "xs": "double[]", "ws": "varchar[]", "e": "enum('low', 'high', 'medium')",
    "r": "struct(score double, place integer)[]",
}  # fmt: skip

EXPRESSIONS = """
a + b | a - b | a * b | a / b | -a | a % b | i + j | i - j | i * j | i % j | i // j | i / j | n + n | n * n | n - 1.5 | n / 3 | -n
abs(n) | round(a) | round(a, 2) | round(a, -2) | round(n, 1) | round(n) | floor(a) | ceil(a) | exp(least(a, 50)) | isfinite(a)
abs(i) | a = b | a <> b | a < b | a <= b | a > b | a >= b | s = t | s < t | n > 10 | a between b and 10 | a not between 0 and b
e < 'medium' | e = 'low' | a is distinct from b | s is not distinct from t | f and a > b | f or a > b | not f | f is null
a in (1, b, null) | s not in ('x', t) | coalesce(a, b, 0) | nullif(a, b) | case when a > b then 'more' when a = b then 'same' end
case s when 'x' then 1 when t then 2 else 3 end | greatest(a, b, 1) | least(a, b) | greatest(i, j) | greatest(n, 5) | least(s, t)
cast(a as varchar) | cast(i as varchar) | cast(n as varchar) | cast(f as varchar) | cast(d as varchar) | cast(m as varchar)
cast(e as varchar) | try_cast(a as decimal(18, 2)) | try_cast(a as decimal(9, 0)) | try_cast(a as integer) | try_cast(a as bigint)
cast(n as double) | cast(i as double) | try_cast(i as integer) | cast(n as decimal(12, 1)) | try_cast(n as decimal(4, 2))
try_cast(s as double) | try_cast(s as decimal(18, 2)) | try_cast(s as integer) | try_cast(s as bigint) | try_cast(s as boolean)
try_cast(s as date) | try_cast(s as timestamp) | try_cast(s as enum('x', 'y')) | cast(d as timestamp) | cast(m as date)
try_cast(a as float) | cast(i as decimal(38, 3)) | cast(f as integer) | s || t | concat(s, t) | concat_ws('-', s, t)
concat_ws(s, t, 'z') | lower(s) | upper(s) | length(s) | trim(s) | ltrim(s) | rtrim(s) | trim(s, 'x ') | replace(s, 'x', t)
replace(s, '', t) | translate(s, 'xya', '12') | string_split(s, ',') | string_split(s, '') | contains(s, t) | starts_with(s, t)
s[1] | s[-1] | s[2:] | s[:2] | s[-2:] | s[2:3] | s[i] | s like '%x%' | s ilike 'X%'
reverse(s) | md5(s) | try_cast(a as tinyint) | try_cast(a as utinyint) | ~i | a::float + 1
cast(n as decimal(12, 1))::varchar | (n * 0)::varchar | round(n)::varchar | -n::decimal(38, 4) | position(t in s)
regexp_matches(s, '^[0-9]+$') | regexp_matches(s, '(?i)ЖX') | regexp_full_match(s, '\\w*') | regexp_extract_all(s, '[0-9]+')
regexp_extract_all(s, '\\b\\w') | regexp_replace(s, '[xy]', '-') | regexp_replace(s, '[xy]', '-', 'g')
regexp_replace(s, '', '-', 'g') | regexp_replace(s, '(x)(y)?', '<\\1\\2>', 'g')
regexp_replace(s, '[a-x]', '\\\\\\0') | string_split_regex(s, '[;,]')
regexp_extract(s, '[0-9]+') | regexp_extract(s, '([a-z])([0-9])?', 2) | regexp_replace(s, '^([0-9]+)\\.0+$', '\\1')
regexp_extract(s, 'X', 0, 'i') | greatest(a, 'nan'::double) | round(a, -308) | string_split(t, s)
[1.5, null]::decimal(9, 2)[] | [date '2025-08-31', d] = [d, null] | {'n': 1.25, 'd': date '2025-08-31', 's': null} | map {'x': 1.5}[s]
[timestamp '2025-08-31 10:00:00', null] | ['low', 'high']::enum('low', 'high', 'medium')[]
list_contains([], s) | list_contains([1.5, 2], n) | case when j <> 0 and i // nullif(j, 0) > 0 then 1 end
format('{:,}', i) | format('{:.2f}', a) | strftime(m, '%Y-%m-%dT%H:%M:%SZ')
strftime(m, '%d.%m.%Y') | strftime(m, '%-d %b') | make_timestamp(1756702800000000 + i) | date_trunc('month', d)
d + interval 1 month | d - date '2025-01-01' | extract(dow from d) | m - interval 3 day
try_strptime(s, ['%d.%m.%Y', '%Y/%m/%d']) | epoch(m) | last_day(d) | [a, b] | [s, t] | {'x': a, 'y': s} | {'x': a, 'y': s}.y
len(xs) | xs[1] | xs[-1] | xs[i] | xs[2:] | xs[:2] | xs[-2:] | xs[i:j] | list_contains(xs, a) | list_contains(ws, s)
list_position(xs, a) | list_has_any(ws, [s, t]) | list_concat(ws, [s]) | list_sort(xs) | list_reverse_sort(xs) | list_sort(ws)
list_sort(r) | list_reverse_sort(r) | list_sum(xs) | list_avg(xs) | list_max(ws) | list_min(xs) | list_contains([a, b], a)
list_position([b, a], a) | list_sort([a, b, 1]) | list_has_any([a], [b, a]) | list_count(xs) | array_to_string(ws, ', ')
list_string_agg(ws) | list_distinct(ws) | list_unique(ws) | list_has_all(ws, [s]) | list_transform(xs, lambda x: x + b)
list_filter(xs, lambda x: x > a) | list_filter(r, lambda x: x.score > a and x.place < i) | list_transform(r, lambda x: x.place)
list_transform(list_filter(ws, lambda w: w <> s), lambda w: w || t) | list_transform(range(1, 4), lambda k: xs[k] * k)
list_filter(range(0, 3), lambda k: list_contains(ws, s) or k > i) | map {'x': 1, 'y': 2}[s] | map {'x': i}[t]
to_json({'a': a, 'n': n, 's': s, 'd': d, 'm': m, 'f': f, 'e': e, 'xs': xs, 'r': r, 'i': i}) | to_json(s) | to_json(xs)
json_array(a, s, n, d) | json_object('a', a) | to_json(map {'x': i}) | cast(to_json([a, b]) as varchar)
""".replace("\n", " | ")

odd = [0.0, -0.0, 1.0, -1.5, 2.5, 0.005, 1.005, 2.675, 1e15, 1e16, 1e20, 1e21, 1e-5, 1e-7, -0.125, math.nan]
number = st.one_of(st.none(), st.sampled_from(odd), st.just("nan").map(float), st.floats(-1e6, 1e6), st.floats(allow_infinity=False))
in_list = number.filter(lambda value: value == value)  # within a list DuckDB's client takes NaN for null
whole = st.one_of(st.none(), st.integers(-5, 5), st.integers(-(10**6), 10**6))
letters = st.text("xyXaЖжßΣİ0123 \t\u00a0,;.-:é😀", max_size=8)
word = st.one_of(
    st.none(),
    st.sampled_from(
        [
            "",
            "x",
            "12",
            "-3.75",
            "1e3",
            "true",
            "no",
            "2025-08-31",
            "2025-02-30",
            "31.12.2025",
            "2025-08-31 10:20:30",
            "2025-08-31T10:20:30.125",
            "2025-08-31T10:20:30Z",
            "2025-08-31 10:20:30+05",
            "1,5",
            " 7 ",
        ]
    ),
    letters,
)
ROW = st.fixed_dictionaries(
    {
        "a": number, "b": number, "i": whole, "j": whole, "s": word, "t": word, "f": st.none() | st.booleans(),
        "n": st.none() | st.decimals(-(10**7), 10**7, places=2), "d": st.none() | st.dates(date(1990, 1, 1), date(2100, 1, 1)),
        "m": st.none() | st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1)).map(lambda m: m.replace(microsecond=0)),
        "xs": st.none() | st.lists(in_list, max_size=4).map(tuple), "ws": st.none() | st.lists(word, max_size=4).map(tuple),
        "e": st.sampled_from([None, "low", "medium", "high"]),
        "r": st.none() | st.lists(st.tuples(in_list, st.integers(-3, 3)), max_size=4).map(tuple),
    }
)  # fmt: skip
PLAIN = {"a": 1.5, "b": 2.0, "i": 1, "j": 2, "s": "x", "t": "12", "f": True, "n": Decimal("1.25"), "d": date(2025, 8, 31),
         "m": datetime(2025, 8, 31, 10), "xs": (1.0, 2.0), "ws": ("x",), "e": "low", "r": ((1.5, 1),)}  # fmt: skip


def as_duckdb_takes(value, kind):
    if value is None:
        return None
    if kind.startswith("struct") and isinstance(value, tuple):
        return [{"score": score, "place": place} for score, place in value]
    return list(value) if isinstance(value, tuple) else value


def comparable(value):
    """With NaN equal to itself, and 1, 1.0 and true apart."""
    if isinstance(value, list | tuple):
        return [comparable(each) for each in value]
    if isinstance(value, dict):
        return {key: comparable(each) for key, each in value.items()}
    return (type(value).__name__, "nan" if value != value else value)


class Both:
    """The two engines, over the same table `g` of some rows."""

    def __init__(self, folder):
        self.rows, self.duckdb = RowsEngine(folder), DuckDBEngine(folder)
        self.duckdb.execute(f"create table g ({', '.join(f'{name} {kind}' for name, kind in COLUMNS.items())})")

    def fill(self, rows):
        self.rows.fill("g", COLUMNS, rows)
        self.duckdb.execute("delete from g")
        for row in rows:
            self.duckdb.connection.execute(
                f"insert into g values ({', '.join(f'cast(? as {kind})' for kind in COLUMNS.values())})",
                [as_duckdb_takes(row.get(name), kind) for name, kind in COLUMNS.items()],
            )

    def agree(self, select):
        assert comparable(self.rows.rows(select)) == comparable(self.duckdb.rows(select)), select


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    return Both(tmp_path_factory.mktemp("both"))


@pytest.fixture(scope="module")
def leaving_out(tmp_path_factory):
    """With plans whose joins pass on only the columns that are needed above them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows_engine, "_KEPT_OPTIMIZERS", {*rows_engine._KEPT_OPTIMIZERS, "column_lifetime"})
        yield Both(tmp_path_factory.mktemp("leaving_out"))


@pytest.mark.parametrize("line", [each.strip() for each in EXPRESSIONS.split(" | ") if each.strip()])
@settings(max_examples=MOST, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(row=PLAIN)
@given(row=ROW)
def test_an_expression_has_the_value_that_duckdb_gives_it(both, line, row):
    both.fill([row])
    try:
        expected = both.duckdb.rows(f"select {line} from g")
    except duckdb.Error:
        with pytest.raises((duckdb.Error, UnsupportedError)):
            both.rows.rows(f"select {line} from g")
        return
    assert comparable(both.rows.rows(f"select {line} from g")) == comparable(expected), line


SELECTS = """
select s, sum(a) as total, count(*), count(b), min(i), max(t) from g group by s order by s nulls last
select s, bool_and(f), bool_or(f), avg(b) from g group by s order by s nulls last
select count(*), sum(n), sum(i), sum(a) filter (b > 0), count(distinct s) from g
select list(i order by i desc nulls first), string_agg(s, ';' order by i) from g
select min_by(s, i), max_by(s, i), any_value(s), first(s) from g
select i, sum(a) over (partition by s) as whole from g order by all
select i, row_number() over (partition by s order by i desc nulls last, j, a, b) as n from g order by all
select distinct s, t from g order by all
select distinct on (s) s, i from g order by s, i nulls first, j
select s, i from g order by i desc nulls first, s, j limit 2 offset 1
select i, x from (select i, unnest(xs) as x from g) order by all
select i, v.k from g, (values (1, 'one'), (2, 'two')) as v(n, k) where v.n = g.i or v.n = g.j order by all
select g.i, h.j, h.s from g join g as h on g.i = h.j order by all
select g.i, h.j from g left join g as h on g.i = h.j and h.a > g.b order by all
select g.i, h.j from g right join g as h on g.i = h.j and g.f order by all
select g.i, h.j from g full join (select * from g where f) as h on g.i = h.j order by all
select i from g semi join (select j as i from g) using (i) order by all
select i from g anti join (select j as i from g) using (i) order by all
select i, i in (select j from g) as inside, i not in (select j from g where j is not null) as outside from g order by all
select i, exists (from g as h where h.j = g.i and h.a > g.b) as found from g order by all
select i, (select sum(h.a) from g as h where h.i < g.i and h.i > -3) as less from g order by all
select i, (select max(j) from g) as most from g order by all
select * exclude (xs, r) from g union all select * exclude (xs, r) from g where f order by all
select i, a from g union all by name select a, j as i from g order by all
select i from (select i, rowid - (select min(rowid) from g) as place from g) where place > 0
select b, count(*) from g group by b order by b nulls last
select count(distinct b) from g
select g.i, h.i from g join g as h on g.b = h.b order by all
select i, b in (select b from g where f) from g order by all
select [a] = [b], {'x': a} = {'x': b}, {'x': a} is distinct from {'x': b} from g order by all
select i from g union select j from g order by all
select case when count(*) > 2 then 'many' else 'few' end from g having count(*) >= 0
select s, list({'i': i, 'a': a} order by i, a) as rows from g group by s having count(*) > 1 order by s
select 1 from g limit 1
select i from g qualify row_number() over (partition by s order by i, j) > 1 order by all
""".strip().splitlines()


@pytest.mark.parametrize("select", SELECTS)
@settings(max_examples=MOST, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(ROW, max_size=6))
def test_a_select_has_the_rows_that_duckdb_gives_it(both, select, rows):
    rows = [
        {**row, "a": row["a"] and float(f"{min(max(row['a'], -1e6), 1e6):.1f}"), "n": row["n"] and row["n"].quantize(Decimal(1))}
        for row in rows
    ]
    both.fill(rows)
    both.agree(select)


def test_stages_are_made_of_stages_and_changed(both):
    both.fill([{**PLAIN, "i": place} for place in range(5)])
    for engine in (both.rows, both.duckdb):
        engine.create(Stage("half", "one row", "select i, i / 2 as half from g"))
        engine.view(Stage("seen", "one row", "select i from half where half >= 1"))
        engine.delete("half", "i = 3")
        engine.insert("half", "select 9::bigint, 4.5::double")
        engine.insert("half", "from half where i = 9")
        engine.update("half", "half", "0::double", "i > 3 or i is null")
    both.agree("from half order by all")
    both.agree("select count(*) from seen")
    assert both.rows.rows("describe half")[0][:2] == both.duckdb.rows("describe half")[0][:2]
    assert (
        both.rows.batches("select i, half from half", 100)
        .read_all()
        .equals(both.duckdb.batches("select i, half from half", 100).read_all())
    )
    for engine in (both.rows, both.duckdb):
        engine.drop("half")


def test_a_stage_is_filled_anew_for_everyone(both):
    stage = Stage("doubled", "one row", "select i, i * 2 as double from g")
    for value in (1, 2, None):
        both.fill([{**PLAIN, "i": value}])
        both.rows.create(stage)
        assert both.rows.rows("from doubled") == [(value, value and value * 2)]


JOINS = [f"select g.i, h.j, h.s from g {how} join g as h on g.i = h.j and g.b <= h.b" for how in ("", "left", "right", "full")]
JOINS += [f"select s, t from g {how} join (select j as i, b from g) as h on g.i = h.i and g.b <= h.b" for how in ("semi", "anti")]


@pytest.mark.parametrize("select", JOINS)
@settings(max_examples=MOST, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(ROW, max_size=6))
def test_a_join_may_leave_columns_out(leaving_out, select, rows):
    leaving_out.fill(rows)
    leaving_out.agree(f"from ({select}) order by all")


@pytest.mark.parametrize(
    "select",
    [
        "select stddev(a) from g",
        "select lag(i) over (order by j) from g",
        "select random() from g",
        "select sum(a) over (rows between unbounded preceding and current row) from g",
        "select regexp_matches(s, t) from g",
        "select list_transform(xs, lambda x, k: x + k) from g",
        "from g semi join (select j as i from g) using (i) using sample 1",
        "select g.i, h.i from g left join g as h on g.s = h.s and (g.f or h.f)",
        "select 1 from duckdb_tables()",
    ],
)
def test_what_rows_cannot_do_is_told_before_anything_is_made(both, select):
    with pytest.raises(UnsupportedError) as told:
        both.rows.rows(select)
    assert told.value.always


def test_a_table_keeps_its_columns(both):
    both.fill([PLAIN])
    both.rows.create(Stage("kept", "one row", "select i as a, a as b from g"))
    for change in (
        lambda: both.rows.create(Stage("kept", "one row", "select i as b, a as a from g")),
        lambda: both.rows.insert("kept", "select 1::bigint, 2::integer"),
        lambda: both.rows.fill("g", dict(reversed(COLUMNS.items())), [PLAIN]),
    ):
        with pytest.raises(UnsupportedError, match="columns change"):
            change()


def test_a_number_beyond_its_type_is_for_duckdb_to_refuse(both):
    both.fill([{**PLAIN, "i": 2**62}])
    with pytest.raises(UnsupportedError) as told:
        both.rows.rows("select i * 4 from g")
    assert not told.value.always
