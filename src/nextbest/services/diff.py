"""Diff: what a change of playbook does to the same customers, before anyone approves it."""

import tempfile
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import duckdb

from nextbest.intake.scan import csv, parquet
from nextbest.plan.stage import quote, text
from nextbest.playbook.load import load
from nextbest.playbook.model import Playbook
from nextbest.report.diff import write_diff
from nextbest.services.decide import decide
from nextbest.services.folder import written_whole
from nextbest.services.progress import Progress, silent
from nextbest.settings import Settings

MOST_MOVES = 15


@dataclass(frozen=True)
class Diff:
    """Two playbooks over the same data. Benefit is a month's, in the playbook's currency, of the first offers.

    Value is lever × propensity of the first offers, added up: the acceptances that the business expects, as it weighs them.
    A playbook declares no margins yet; with them it would be money.
    """

    old: dict[str, str]
    new: dict[str, str]
    as_of: str
    customers: int
    offers_changed: int
    messages_changed: int
    benefit: tuple[float, float]
    value: tuple[float, float]
    reach: list[dict[str, Any]]
    moves: list[dict[str, Any]]
    groups: list[dict[str, Any]]
    group_reach: list[dict[str, Any]]
    group_column: str | None
    folder: Path


def diff(old: str | Path, new: str | Path, data: str | Path, *, as_of: date | str, out: str | Path, progress: Progress = silent) -> Diff:
    """Decide with both playbooks and compare. Writes diff.html and changes.parquet (a row per customer with a change) to `out`.

    Nothing is recorded, and no workspace is heeded: the difference is the playbooks' alone.
    Raises PlaybookError, DataError, UsageError.
    """
    target = Path(out)
    with written_whole(target, mark="diff.html") as folder, tempfile.TemporaryDirectory(dir=Settings().temp_folder) as temp:
        runs = [decide(data, book, as_of=as_of, out=Path(temp) / name, progress=progress) for name, book in (("old", old), ("new", new))]
        models = [load(book).model for book in (old, new)]
        with duckdb.connect() as connection:
            connection.execute("set enable_progress_bar = false")
            for name, run in zip(("old", "new"), runs, strict=True):
                _first_offers(connection, name, run.folder, run.book.model)
            books = [run.record["playbook"] for run in runs]
            found = _compared(connection, models[1], runs[1].folder, books, runs[0].record["as_of"], target)
            connection.execute(f"copy (from changes where changed or reworded) to {text(str(folder / 'changes.parquet'))} (format parquet)")
        write_diff(found, folder / "diff.html")
    return found


def _first_offers(connection: duckdb.DuckDBPyConnection, name: str, folder: Path, model: Playbook) -> None:
    """Grain: one customer of the run, with the first offer's figures and the text."""
    key = model.business.code
    levers = " ".join(f"when {text(offer)} then {item.lever}" for offer, item in model.offers.items())
    connection.execute(
        f"""create table {name} as
select r.{quote(key)} as customer, d.offer, d.benefit, d.confidence, d.propensity * case d.offer {levers} end as value,
  r.push_notification as message
from {csv(folder / "recommendations.csv")} as r
left join (from {parquet(folder / "decisions.parquet")} where rank = 1) as d
on cast(d.{quote(key)} as varchar) = r.{quote(key)}"""
    )


def _compared(
    connection: duckdb.DuckDBPyConnection, model: Playbook, folder: Path, books: list[dict[str, str]], as_of: str, out: Path
) -> Diff:
    def rows(select: str) -> list[dict[str, Any]]:
        found = connection.execute(select)
        names = [column[0] for column in found.description]
        return [dict(zip(names, values, strict=True)) for values in found.fetchall()]

    connection.execute(
        """create table changes as
select customer, o.offer as offer_old, n.offer as offer_new, o.offer is distinct from n.offer as changed,
  o.benefit as benefit_old, n.benefit as benefit_new, o.confidence as confidence_old, n.confidence as confidence_new,
  o.value as value_old, n.value as value_new,
  nullif(o.message, '') as message_old, nullif(n.message, '') as message_new,
  nullif(o.message, '') is distinct from nullif(n.message, '') as reworded
from old as o full join new as n using (customer) order by try_cast(customer as bigint), customer"""
    )
    [total] = rows(
        "select count(*) as customers, count(*) filter (changed) as changed, count(*) filter (reworded) as reworded, "
        "coalesce(sum(benefit_old), 0) as before, coalesce(sum(benefit_new), 0) as after, "
        "coalesce(sum(value_old), 0) as value_before, coalesce(sum(value_new), 0) as value_after from changes"
    )
    of_offer = "select coalesce(offer, 'no offer') as offer, count(*) as n, cast(coalesce(median(benefit), 0) as double) as benefit"
    reach = rows(
        f"""select offer, coalesce(o.n, 0) as old, coalesce(n.n, 0) as new,
  coalesce(o.benefit, 0) as benefit_old, coalesce(n.benefit, 0) as benefit_new
from ({of_offer} from old group by 1) as o full join ({of_offer} from new group by 1) as n using (offer)
order by abs(coalesce(n.n, 0) - coalesce(o.n, 0)) desc, offer"""
    )
    moves = rows(
        f"""select coalesce(offer_old, 'no offer') as old, coalesce(offer_new, 'no offer') as new, count(*) as customers,
  cast(sum(coalesce(benefit_new, 0) - coalesce(benefit_old, 0)) as double) as benefit
from changes where changed group by 1, 2 order by customers desc, old, new limit {MOST_MOVES}"""
    )
    column = model.business.group
    groups, group_reach = [], []
    if column is not None:
        features = parquet(folder / "features.parquet")
        key = model.business.code
        groups = rows(
            f"""select coalesce({quote(column)}, '?') as "group", count(*) as customers, count(*) filter (changed) as changed,
  cast(sum(coalesce(benefit_new, 0) - coalesce(benefit_old, 0)) as double) as benefit
from {features} as f join changes as c on cast(f.{quote(key)} as varchar) = c.customer group by 1 order by 1"""
        )
        group_reach = rows(
            f"""with grouped as (select coalesce({quote(column)}, '?') as "group", offer_old, offer_new
  from {features} as f join changes as c on cast(f.{quote(key)} as varchar) = c.customer),
sides as (select "group", coalesce(offer_old, 'no offer') as offer, 1 as old, 0 as new from grouped
  union all select "group", coalesce(offer_new, 'no offer'), 0, 1 from grouped)
select "group", offer, cast(sum(old) as bigint) as old, cast(sum(new) as bigint) as new from sides
group by 1, 2 having sum(old) <> sum(new) order by 1, abs(sum(new) - sum(old)) desc, 2"""
        )
    return Diff(
        old=books[0], new=books[1], as_of=as_of, customers=total["customers"], offers_changed=total["changed"],
        messages_changed=total["reworded"], benefit=(float(total["before"]), float(total["after"])),
        value=(total["value_before"], total["value_after"]), reach=reach, moves=moves,
        groups=groups, group_reach=group_reach, group_column=column, folder=out,
    )  # fmt: skip
