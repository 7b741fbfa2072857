"""Policies: what another way of choosing would have earned, from the records of a playbook that explores."""

import json
import tempfile
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from sqlalchemy import Connection, select

from nextbest.arrays import Floats
from nextbest.engines.duckdb import DuckDBEngine
from nextbest.errors import DataError, Problem, UsageError
from nextbest.measure.offpolicy import Estimate, Overlap, doubly_robust, gain, overlap
from nextbest.plan.stage import quote, text
from nextbest.services.moment import day_of
from nextbest.services.outcomes import EVENTS
from nextbest.settings import Settings
from nextbest.store import ledger, tables
from nextbest.store.workspace import Workspace, fetch_all

POLICIES = {
    "ranking": "position = 1",
    "propensity": "position = first_value(position) over (of_decision order by open desc, propensity desc, position)",
    "benefit": "position = first_value(position) over (of_decision order by open desc, benefit desc, position)",
    "random": "open / sum(open) over of_decision",
    "eligible": "1 / count(*) over of_decision",
}
"""Name → SQL: the probability with which the policy would have chosen an offer, of those that the customer might have.

`open` is 1 for the choices that there were, by `position`, and 0 for the others, which have none."""

ELIGIBLE = "'ranked', 'unsuitable', 'weak'"
"""Verdicts on offers that the customer might have had."""

CERTAIN, WAITING = "decided without exploration", "answers may still come"
"""Why a decision is left out."""

LEAST = 5
"""Answers, and decisions without one, from which on the error of a share is told by the normal approximation (Cochran's rule)."""

AS_GOOD_AS = 20
"""An offer's rate of answers is drawn towards that of all offers as if so many decisions more had gone that way."""


@dataclass(frozen=True)
class Policy:
    """One policy: answers per decision, what that is more than `ranking` earns, and how far the log reaches.

    `beyond`: the share of its choices that were not open. No log has an answer to these: the average of other customers who got
    that offer, though it was not their first, speaks for them.
    """

    name: str
    value: Estimate
    more: Estimate | None
    overlap: Overlap
    beyond: float


@dataclass(frozen=True)
class Policies:
    """What each policy would have earned. `left_out`: why → how many decisions. `rate`: answers per decision as they came.

    `unjudged`: offers that `eligible` would choose too, and that too few got in another place than the first: it is judged without them.
    """

    playbook: str
    event: str
    until: date
    decisions: int
    customers: int
    rate: float
    policies: tuple[Policy, ...]
    left_out: dict[str, int]
    unjudged: tuple[str, ...]

    @property
    def table(self) -> pd.DataFrame:
        """One row per policy."""
        rows = [
            {"policy": item.name, "value": item.value.value, "low": item.value.low, "high": item.value.high}
            | ({"more": item.more.value, "more_low": item.more.low, "more_high": item.more.high} if item.more else {})
            | {"effective": item.overlap.effective, "thin": item.overlap.thin, "beyond": item.beyond}
            for item in self.policies
        ]
        return pd.DataFrame(rows)

    def _repr_html_(self) -> str:
        return str(self.table.to_html(index=False))


def policies(*, workspace: str | Path, playbook: str | None = None, event: str = "accepted", until: date | str | None = None) -> Policies:
    """Judge policies on the recorded decisions of a playbook, by whether the message was answered with `event`.

    A policy chooses among the offers that could go out to that customer then: what filters, caps and consents left open, as far as the
    playbook explores. `ranking` takes the first of them, as the playbook would without exploring; `random` any of them; `propensity`
    and `benefit` the highest. `eligible` takes any offer that the customer was eligible for, had agreed to hear of (a purpose that some
    open offer has too) and that did not rest, suitable or not, strong or weak, near the top or not. Decisions whose answers may still come
    after the day `until` (by default after the latest answer to one of them) are left out; customers for whom nothing was open have no
    decision here. Raises UsageError, DataError, StoreError.
    """
    if event not in EVENTS:
        raise UsageError([Problem(f"event {event[:40]}", "is none", f"one of {', '.join(EVENTS)}")])
    with (
        tempfile.TemporaryDirectory(dir=Settings().temp_folder) as temp,
        DuckDBEngine(Path(temp)) as engine,
        Workspace(workspace, create=False) as store,
        store.reading() as connection,
    ):
        name, o = _playbook(connection, playbook), tables.outcome.c
        answers = select(o.run_id, o.place, o.event, o.happened).where(o.attributed)
        kinds = pa.schema([("run_id", pa.string()), ("place", pa.int64()), ("event", pa.string()), ("happened", pa.int64())])
        engine.load("all_answers", fetch_all(connection, answers, kinds))
        certain = _load(connection, engine, name)
        [(latest,)] = engine.rows("select max(happened) from all_answers semi join decided using (run_id, place)")
        if until is not None:
            latest = int(datetime.combine(day_of(until, "until"), datetime.max.time(), UTC).timestamp())
        if latest is None:
            what = "no answer to a decision that was drawn"
            raise DataError([Problem("outcomes", what, "nextbest outcomes import; a playbook explores with `exploration` in contact.yaml")])
        day = datetime.fromtimestamp(latest, UTC).date()
        engine.execute(f"create table answers as select distinct run_id, place from all_answers where event = {text(event)}")
        engine.execute(f"create table settled as from decided where ends <= {latest}")
        [(waiting,)] = engine.rows(f"select count(*) from decided where ends > {latest}")
        left_out = {CERTAIN: certain, WAITING: waiting}
        unjudged, frame = _options(engine), _frame(engine)
        if len(frame) < 2 or frame.reward.nunique() < 2:
            what = f"{len(frame)} decisions of '{name}' to judge by, {int(frame.reward.sum())} of them answered with {event}"
            if left_out[WAITING]:
                what += f"; answers to {left_out[WAITING]} more may still come after {day}"
            fix = "explore (`exploration` in contact.yaml), bring answers (nextbest outcomes import), or name a later --until"
            raise DataError([Problem("ledger", what, fix)])
    who = frame.who.to_numpy(np.int64)
    found = tuple(_judged(frame, who, name) for name in POLICIES)
    return Policies(name, event, day, len(frame), len(np.unique(who)), float(frame.reward.mean()), found, left_out, unjudged)


def _playbook(connection: Connection, named: str | None) -> str:
    known = sorted(connection.execute(select(tables.playbook.c.name).distinct()).scalars())
    if named is None and len(known) == 1:
        return str(known[0])
    if named is None or named not in known:
        what = "has decided nothing here" if named else "several have decided here" if known else "nothing is decided here yet"
        raise UsageError([Problem(f"playbook {named or ''}".strip(), what, f"one of {', '.join(known)}" if known else "nextbest decide")])
    return named


def _load(connection: Connection, engine: DuckDBEngine, playbook: str) -> int:
    """The table `decided`, of the decisions that were drawn, and when answers to each end; how many others there are."""
    kind = "option varchar, purpose varchar, verdict varchar, rests varchar, position bigint, propensity double, benefit double"
    engine.execute(
        "create table decided (run_id varchar, place bigint, customer varchar, offer varchar, chance double, ends bigint, "
        f"offers struct({kind})[])"
    )
    certain = 0
    e = tables.entry.c
    entries = select(e.header, e.content).where(e.kind == "decision").order_by(e.seq).execution_options(yield_per=1)
    for written, content in connection.execute(entries):
        header = json.loads(written)
        if header["playbook"]["name"] != playbook:
            continue
        part = ledger.unpacked(content)
        engine.load("part", part.append_column("place", pa.array(range(header["first"], header["first"] + len(part)))))
        engine.execute(_insert(header))
        [(count,)] = engine.rows("select count(*) from part where (record ->> 'send_at') is not null and (record ->> 'chance') is null")
        certain += count
    return certain


def _insert(header: dict[str, Any]) -> str:
    offered = header["offered"]
    windows = " ".join(f"when {text(item['offer'])} then {item['attribution']}" for item in offered)
    named, purposes = (f"[{', '.join(text(item[name]) for item in offered)}]" for name in ("offer", "purpose"))
    return f"""insert into decided
select {text(header["run_id"])}, place, customer, offer, chance,
  coalesce(cast(record ->> 'send_at' as bigint), {int(datetime.fromisoformat(header["moment"]).timestamp())})
    + case offer {windows} end,
  list_transform({named}, lambda x, i: {{option: x, purpose: {purposes}[i], verdict: verdicts[i] ->> 0, rests: verdicts[i] ->> 5,
    position: nullif(list_position(choices, x), 0),
    propensity: cast(verdicts[i] ->> 3 as double), benefit: cast(verdicts[i] ->> 2 as double)}})
from (select place, customer, record, record ->> 'offer' as offer, cast(record ->> 'chance' as double) as chance,
    cast(record -> 'choices' as varchar[]) as choices, cast(record -> 'verdicts' as json[]) as verdicts
  from part where (record ->> 'chance') is not null and ((record ->> 'send_at') is not null or (record ->> 'held_by') = 'no_text'))"""


def _options(engine: DuckDBEngine) -> tuple[str, ...]:
    """The table `options`: per settled decision each offer that some policy may choose. Returns the offers of which too little is known.

    An offer that was not open is known from decisions, LEAST answered and LEAST not in either half of the customers, that sent it without
    it being the first.
    """
    engine.execute(f"""create table considered as
select * exclude (purpose, verdict, rests), option = offer as chosen,
  cast(position is not null as double) as open, coalesce(position = 1, false) as first,
  position is null and verdict in ({ELIGIBLE}) and rests is null
    and bool_or(position is not null) over (partition by run_id, place, purpose) as closed
from (select * exclude (offers), unnest(offers, recursive := true)
  from (select d.*, cast(a.place is not null as double) as reward,
      cast('0x' || sha256(customer)[1:8] as bigint) % 2 as half
    from settled as d left join answers as a using (run_id, place)))""")
    enough = f"sum(reward) >= {LEAST} and sum(1 - reward) >= {LEAST}"
    by_half = f"select option, half from considered where chosen and not first group by all having {enough}"
    known = f"select option from ({by_half}) group by 1 having count(*) = 2"
    probabilities = ", ".join(f"coalesce(cast({sql} as double), 0) as {quote(name)}" for name, sql in POLICIES.items())
    engine.execute(f"""create table options as
select * exclude (propensity, benefit), {probabilities} from considered where open = 1 or (closed and option in ({known}))
window of_decision as (partition by run_id, place)""")
    unknown = engine.rows(f"select distinct option from considered where closed and option not in ({known}) order by 1")
    return tuple(option for (option,) in unknown)


def _frame(engine: DuckDBEngine) -> pd.DataFrame:
    """One row per decision: who, reward, chance, expected; per policy its probability of what was chosen, what it expects, and
    the share of its choices that were not open.

    What is expected of an offer, as the first or another, in one half of the customers is learned in the other. Of what was not open
    no answer corrects it; so each answer that it was learned from carries its part of the error (`informs`: its influence on the mean).
    """
    engine.execute(f"""create table rates as
with everywhere as (select half, first, avg(reward) as mean, count(*) as n from options where chosen group by all)
select o.half, o.first, o.option, (sum(o.reward) + {AS_GOOD_AS} * e.mean) / (count(*) + {AS_GOOD_AS}) as rate, count(*) as n
from options as o join everywhere as e using (half, first) where o.chosen
group by o.half, o.first, o.option, e.mean
union all select half, first, null, mean, n from everywhere""")
    engine.execute("""create table expected as
select o.*, coalesce(r.rate, m.rate, (select avg(reward) from options where chosen)) as expects, r.n as learned_from from options as o
left join rates as r on r.half = 1 - o.half and r.option = o.option and r.first = o.first
left join rates as m on m.half = 1 - o.half and m.option is null and m.first = o.first""")
    weights = ", ".join(f"sum({quote(name)}) / any_value(learned_from) as {quote(name)}" for name in POLICIES)
    engine.execute(f"""create table informs as
select 1 - half as half, option, any_value(expects) as rate, {weights} from expected where open = 0 group by 1, 2""")
    columns = "".join(
        f", max(e.{name}) filter (chosen) as {name}"
        f", sum(e.{name} * expects) + max(coalesce(i.{name} * (reward - i.rate), 0)) filter (chosen) as {quote(f'{name} expects')}"
        f", sum(e.{name} * (1 - open)) as {quote(f'{name} beyond')}"
        for name in POLICIES
    )
    select_frame = f"""select dense_rank() over (order by any_value(customer)) - 1 as who, any_value(reward) as reward,
  any_value(chance) as chance, max(expects) filter (chosen) as expected{columns}
from expected as e left join informs as i on i.half = e.half and i.option = e.option and not e.first
group by run_id, place order by run_id, place"""
    return engine.batches(select_frame, 100_000).read_all().to_pandas()


def _judged(frame: pd.DataFrame, who: Any, name: str) -> Policy:
    def column(of: str) -> Floats:
        return np.asarray(frame[of].to_numpy(np.float64))

    reward, chance, expected = column("reward"), column("chance"), column("expected")
    target, own = column(name), column(f"{name} expects")
    more = None
    if name != "ranking":
        more = gain(reward, chance, (target, column("ranking")), expected, (own, column("ranking expects")), who)
    value, beyond = doubly_robust(reward, chance, target, expected, own, who), float(column(f"{name} beyond").mean())
    return Policy(name, value, more, overlap(chance, target), beyond)
