"""Assignment: which arm of an experiment each customer is in. By chance, balanced within groups, and for good."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import duckdb

from nextbest.errors import DataError, Problem, UsageError
from nextbest.intake.frame import columns, scan, unusable, write
from nextbest.plan.contact import drawn_place
from nextbest.plan.stage import quote, text
from nextbest.playbook.contact import BUCKETS

ARM, EXPERIMENT = "arm", "experiment"
"""Columns of the file that is written, beside the customer's code."""


@dataclass(frozen=True)
class Assigned:
    """What was written: customers in each arm, and how many of them had been in it before."""

    path: Path
    arms: Mapping[str, int]
    kept: int


def assign(
    file: str | Path, *, out: str | Path, arms: Mapping[str, float], experiment: str, code: str | None = None, groups: tuple[str, ...] = ()
) -> Assigned:
    """Give each customer of a CSV or Parquet file an arm, and write code, `arm` and `experiment` to `out` (CSV or Parquet).

    `arms`: name → share; together 1. `experiment` is the salt: another name draws anew. `code` names the customers' column, the first
    by default. Within each combination of the columns `groups` the arms have their shares up to one customer, of those who are new in
    this call. Customers who stand in `out` already keep their arm, also those who are gone from the file; without groups a customer's
    arm follows from code and experiment alone. Raises DataError, UsageError.
    """
    source, target = Path(file), Path(out)
    _check(source, target, arms)
    with duckdb.connect() as connection:
        types = columns(connection, source)
        code = code or next(iter(types))
        if missing := [name for name in (code, *groups) if name not in types]:
            fix = f"it has {', '.join(types)}"
            raise UsageError([Problem(source.name, f"lacks the columns {', '.join(missing)}", fix)])
        if code in (ARM, EXPERIMENT):
            raise UsageError([Problem(f"code {code}", "is the name of a column that is written beside it", "rename it")])
        group = f"to_json([{', '.join(f'cast({quote(name)} as varchar)' for name in groups)}])" if groups else "''"
        connection.execute(
            f"create table people as select cast({quote(code)} as varchar) as customer, {group} as together from {scan(source)}"
        )
        _check_people(connection, source, code, len(arms))
        kept = _earlier(connection, target, code, types[code], arms, experiment)
        connection.execute(f"create table assigned as {_draw(arms, experiment, kept if groups else None)}")
        select = f"select cast(customer as {types[code]}) as {quote(code)}, arm, {text(experiment)} as experiment from assigned order by 1"
        write(connection, select, target)
        counts = dict(connection.execute("select arm, count(*) from assigned group by 1").fetchall())
    return Assigned(target, {name: counts.get(name, 0) for name in arms}, kept)


def _check(source: Path, target: Path, arms: Mapping[str, float]) -> None:
    problems = unusable(source, target)
    if len(arms) < 2 or not all(share > 0 for share in arms.values()) or not abs(sum(arms.values()) - 1) <= 1e-9:
        problems.append(Problem("arms", "are fewer than two, or their shares do not add up to 1", "e.g. control=0.5 and offer=0.5"))
    if problems:
        raise UsageError(problems)


def _check_people(connection: duckdb.DuckDBPyConnection, source: Path, code: str, arms: int) -> None:
    figures = "count(*) filter (coalesce(trim(customer), '') = ''), count(customer) - count(distinct customer), count(distinct together)"
    [(blank, twice, groups, people)] = connection.execute(f"select {figures}, count(*) from people").fetchall()
    problems = []
    if not people:
        problems.append(Problem(source.name, "has no rows", "hand in the customers of the experiment"))
    if blank:
        problems.append(Problem(source.name, f"{blank} rows have no {code}", "fill them in, or leave them out"))
    if twice:
        problems.append(Problem(source.name, f"{twice} rows repeat a {code}", "keep one row of each customer"))
    if groups > 1 and groups * arms > people:
        problems.append(Problem("groups", f"{groups} groups of {people} customers: most have nobody for some arm", "make them coarser"))
    if problems:
        raise DataError(problems)


def _earlier(connection: duckdb.DuckDBPyConnection, target: Path, code: str, kind: str, arms: Mapping[str, float], experiment: str) -> int:
    """The table `earlier`, of who has an arm already, and how many there are."""
    if not target.exists():
        connection.execute("create table earlier (customer varchar, arm varchar)")
        return 0
    there = f"{target}: the arms that were given before"
    if missing := [name for name in (code, ARM, EXPERIMENT) if name not in columns(connection, target)]:
        raise UsageError([Problem(there, f"lacks the columns {', '.join(missing)}", "name another file for --out")])
    known = f"cast(try_cast({quote(code)} as {kind}) as varchar)"
    connection.execute(f"create table earlier as select {known} as customer, arm, experiment from {scan(target)}")
    [(others, gone, odd, kept)] = connection.execute(
        """select list(distinct experiment) filter (experiment is distinct from $experiment),
  list(distinct arm) filter (not list_contains($arms, arm)),
  count(*) - count(distinct customer), count(*) from earlier""",
        {"experiment": experiment, "arms": list(arms)},
    ).fetchall()
    if others:
        raise UsageError([Problem(there, f"are of the experiment {', '.join(sorted(map(str, others)))}", "name another file for --out")])
    if odd:
        raise UsageError([Problem(there, f"{odd} rows with a {code} twice, or of another kind", "name another file for --out")])
    if gone:
        raise UsageError([Problem(there, f"have {', '.join(sorted(map(str, gone)))}", "keep every arm while the experiment runs")])
    return int(kept)


def _draw(arms: Mapping[str, float], experiment: str, kept: int | None) -> str:
    """SQL: everyone's arm. In a group customers stand in an order of chance, and a place of chance says where the first arm begins.

    `kept`: how many have an arm already, None without groups. It makes the place another in every call: a newcomer who comes alone
    would else always come to the same arm.
    """
    place = drawn_place(experiment, "customer")
    at = f"{place} / {BUCKETS}"
    if kept is not None:
        start = f"{drawn_place(f'{experiment} groups {kept}', 'together')} / {BUCKETS}"
        at = f"(row_number() over (partition by together order by {place}, customer) - 1 + {start}) / count(*) over (partition by together)"
    ends = list(accumulate(arms.values()))
    whens = " ".join(f"when drawn < {end!r} then {text(name)}" for name, end in zip(list(arms)[:-1], ends, strict=False))
    return f"""select customer, arm from earlier
union all
select customer, case {whens} else {text(list(arms)[-1])} end as arm
from (select customer, {at} as drawn from people anti join earlier using (customer))"""
