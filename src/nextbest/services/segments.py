"""Segments: the declared groups of a run and those found in it, each with its worth, how it differs, and what to offer it."""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt
import pandas as pd
import yaml

from nextbest.errors import Problem, UsageError
from nextbest.intake.scan import parquet
from nextbest.measure import segments as measure
from nextbest.measure.experiments import detectable
from nextbest.measure.ranking import Figure
from nextbest.plan.stage import quote, text
from nextbest.playbook.bind import Bound
from nextbest.playbook.bind_learning import bound_activity_learning
from nextbest.playbook.model import Worth
from nextbest.run import Run

MEMBERS = "members.parquet"
NUMBERS = ("integer", "number", "money")
MOST = 100_000
"""Customers that intervals, profiles and found groups are computed from; sizes and sums are of all."""
LEAST = 30
"""Customers below which a group is only counted."""
GRID = 5
STAGES = ("ineligible", "held", "unsuitable", "weak", "ranked")
"""How far an offer comes."""


@dataclass(frozen=True)
class Offered:
    """An offer that some of a group get a message about: how many, and what is expected of it in all (None where unknown)."""

    offer: str
    product: str
    customers: int
    expected_profit: float | None


@dataclass(frozen=True)
class Group:
    """A group of customers. Figures are means a customer, None where unknown; `at_stake` is the sum of the playbook's `stake`.

    `detectable`: the smallest relative fall of the risk that an experiment with half of the group left alone could show.
    """

    name: str
    meaning: str
    when: str
    customers: int
    share: float
    value: Figure | None = None
    trend: Figure | None = None
    risk: Figure | None = None
    at_stake: float | None = None
    offers: tuple[Offered, ...] = ()
    profile: tuple[measure.Difference, ...] = ()
    detectable: float | None = None

    @property
    def expected_profit(self) -> float | None:
        """Of the first offers, in all."""
        known = [item.expected_profit for item in self.offers if item.expected_profit is not None]
        return sum(known) if known else None


@dataclass(frozen=True)
class Cell:
    """Customers of one fifth by recency (1 bought last) and one by frequency (5 buys most), and their mean value."""

    recency: int
    frequency: int
    customers: int
    value: float | None


@dataclass(frozen=True)
class Segments:
    """All groups of a run. `everyone` is the whole; `at_risk` those of whom the playbook says so, where there is a forecast.

    `known`: customers whose risk is known; `losing`: messages that are expected to cost more than they earn; `meanings`: found
    group → language → words.
    """

    book: Bound
    language: str
    everyone: Group
    at_risk: Group | None
    declared: tuple[Group, ...]
    found: tuple[Group, ...]
    overlap: pd.DataFrame
    grid: list[Cell] | None
    clusters: measure.Clusters | None
    dropped: Mapping[str, int]
    withheld: Mapping[str, int]
    members: pd.DataFrame = field(repr=False)
    known: int
    losing: Offered
    meanings: Mapping[str, Mapping[str, str]]

    def write(self, folder: Path) -> None:
        """members.parquet (customers × groups) and found.yaml (the found groups as entries of a segments.yaml)."""
        self.members.to_parquet(folder / MEMBERS, index=False)
        entries = {group.name: {"when": group.when, "meaning": dict(self.meanings[group.name])} for group in self.found}
        (folder / "found.yaml").write_text(yaml.safe_dump(entries, allow_unicode=True, sort_keys=False, width=120), encoding="utf-8")


def segments(run: str | Path, *, language: str | None = None, seed: int = 0) -> Segments:
    """The groups of a run of `decide` whose playbook says in `worth` what customers are weighed by. Raises UsageError."""
    done = Run(run)
    book = done.book
    worth, language = book.model.business.worth, language or book.model.business.languages[0]
    if worth is None:
        what = "does not say what a customer is worth"
        raise UsageError([Problem(f"playbook '{book.model.business.name}'", what, "add `worth` to playbook.yaml, as `shop` has it")])
    if language not in book.model.business.languages:
        raise UsageError([Problem(f"language {language}", "not a language of the playbook", ", ".join(book.model.business.languages))])
    with duckdb.connect() as connection:
        connection.execute("set enable_progress_bar = false")
        bench = _Bench(done, book, worth, language, seed, connection)
        return bench.made()


@dataclass
class _Bench:
    run: Run
    book: Bound
    worth: Worth
    language: str
    seed: int
    connection: duckdb.DuckDBPyConnection

    def made(self) -> Segments:
        key = quote(self.book.code)
        files = {name: parquet(self.run.folder / f"{name}.parquet") for name in ("features", "decisions", "messages")}
        sent = (  # not always the offer of rank 1: the contact policy may let it rest
            f"select {key}, d.offer as sent_offer, d.product as sent_product, d.expected_profit from {files['decisions']} as d "
            f"join {files['messages']} as m using ({key}) where d.offer = m.offer and m.withheld is null"
        )
        self.connection.execute(f"create view people as from {files['features']} left join ({sent}) using ({key})")
        some = f"select * from people order by hash(cast({key} as varchar) || {text(str(self.seed))}) limit {MOST}"
        self.frame = self.connection.execute(f"from ({some}) order by {key}").df()
        if len(self.frame) == 0:
            raise UsageError([Problem(str(self.run.folder), "nobody was scored in this run", "decide for some customers first")])
        columns = self.book.model.business.sources[self.book.model.business.customers].columns
        taken = [name for name, column in columns.items() if column.type in NUMBERS or (column.type == "category" and column.values)]
        taken += list(self.book.features)
        self.looked_at = [name for name in taken if name in self.frame and name not in ("language", "time_zone")]
        self._check_risk()
        declared = [
            self._group(name, segment.meaning.get(self.language, name), str(segment.when), quote(name), self.book.segments[name].columns)
            for name, segment in self.book.model.segments.items()
        ]
        free = (name for name in (f"found_{place}" for place in itertools.count(1)) if name not in self.book.segments)
        written = {str(segment.when) for segment in self.book.model.segments.values()}
        rules = dict(zip(free, (rule for rule in self._found() if _text(rule) not in written), strict=False))
        rest = ~measure.half(len(self.frame), self.seed)
        found = [
            self._group(name, self._words(rule, self.language), _text(rule), _sql(rule), [item.feature for item in rule], rest)
            for name, rule in rules.items()
        ]
        members = self._members({group.name: quote(group.name) for group in declared} | {name: _sql(rule) for name, rule in rules.items()})
        reached = f"select {key}, max(list_position({list(STAGES)}, verdict)) as stage from {files['decisions']} group by 1"
        dropped = self._counted(
            f"select ({list(STAGES)})[stage], count(*) from ({reached}) where stage < {len(STAGES)} group by stage order by stage"
        )
        risk = quote(self.worth.risk) if self.worth.risk else "null"
        losing = "select count(*), coalesce(sum(expected_profit), 0) from people where expected_profit < 0"
        return Segments(
            book=self.book,
            language=self.language,
            everyone=self._group("everyone", "", "true", "true", ()),
            at_risk=self._at_risk(),
            declared=tuple(declared),
            found=tuple(found),
            overlap=measure.overlap(members[[group.name for group in declared]]),
            grid=self._grid(),
            clusters=measure.clusters(self.frame[self._apart_from(self._outcome())], self.seed),
            dropped=dropped,
            withheld=self._counted(
                f"select withheld, count(*) from {files['messages']} where withheld is not null group by 1 order by 2 desc, 1"
            ),
            members=members,
            known=int(self.connection.execute(f"select count({risk}) from people").fetchall()[0][0]),
            losing=Offered("", "", *self.connection.execute(losing).fetchall()[0]),
            meanings={
                name: {language: self._words(rule, language) for language in self.book.model.business.languages}
                for name, rule in rules.items()
            },
        )

    def _check_risk(self) -> None:
        if self.worth.risk is not None and not self.frame[self.worth.risk].dropna().between(0, 1).all():
            what = f"'{self.worth.risk}' is no probability: some lie outside 0 to 1"
            raise UsageError([Problem("worth.risk", what, "name a feature between 0 and 1")])

    def _counted(self, select: str) -> dict[str, int]:
        return {str(name): int(count) for name, count in self.connection.execute(select).fetchall()}

    def _at_risk(self) -> Group | None:
        name = self.worth.at_risk
        if name is None or self.frame[name].notna().sum() < LEAST:
            return None
        return self._group("at_risk", "", str(self.book.model.features.features[name].value), f"{quote(name)} = 1", [name])

    def _group(
        self, name: str, meaning: str, when: str, condition: str, named: Iterable[str], among: npt.NDArray[np.bool_] | None = None
    ) -> Group:
        """`named`: the features of its rule. In them, and in what is made of them, it differs by definition: they are not compared.
        `among`: the customers that figures and differences are of; counts and sums are of all."""
        rows = self.frame if among is None else self.frame[among]
        inside = self._inside(rows, condition)
        stake = quote(self.worth.stake) if self.worth.stake else "null"
        where = f"from people where coalesce({condition}, false)"
        counted = f"select count(*), sum({stake}), (select count(*) from people) {where}"
        [(customers, at_stake, everyone)] = self.connection.execute(counted).fetchall()
        if customers < LEAST or not inside.any():
            return Group(name, meaning, when, customers, customers / everyone)
        figures = {entry: _mean(rows[column], inside) for entry, column in self.worth.names.items() if entry in ("value", "trend", "risk")}
        offers = self.connection.execute(
            f"select sent_offer, sent_product, count(*), sum(expected_profit) {where} and sent_offer is not null "
            "group by all order by 3 desc, 1"
        ).fetchall()
        known = figures.get("risk")
        compared = rows[self._apart_from([*named, *self._outcome()])]
        return Group(
            name,
            meaning,
            when,
            customers,
            customers / everyone,
            **figures,
            at_stake=at_stake,
            offers=tuple(Offered(*item) for item in offers),
            profile=tuple(measure.profile(compared, inside)) if not inside.all() else (),
            detectable=_smallest_fall(known.value, customers) if known else None,
        )

    def _inside(self, rows: pd.DataFrame, condition: str) -> npt.NDArray[np.bool_]:
        self.connection.register("sampled", rows)
        found = self.connection.execute(f"select coalesce({condition}, false) from sampled").fetchnumpy()
        self.connection.unregister("sampled")
        return np.asarray(next(iter(found.values())), dtype=bool)

    def _found(self) -> list[tuple[measure.Condition, ...]]:
        """Where what is at stake is concentrated, among those of whom it is known; without a forecast the value."""
        stake = self.frame[self.worth.stake] if self.worth.stake else None
        target = stake if stake is not None and stake.notna().sum() >= 2 * LEAST else self.frame[self.worth.value]
        explained = [name for name in (self.worth.value, self.worth.stake) if name]
        among = self.frame[self._apart_from([*explained, *self._outcome()])]
        return [item.conditions for item in measure.rules(among, target.to_numpy(np.float64, na_value=np.nan), LEAST, self.seed)]

    def _outcome(self) -> list[str]:
        """The risk, and the label that it forecasts: what is to be explained explains nothing."""
        learning = bound_activity_learning(self.book)
        return [name for name in (self.worth.risk, self.worth.stake, learning.model.label if learning else None) if name]

    def _apart_from(self, named: Iterable[str]) -> list[str]:
        """The features that share nothing with those named."""
        shared = self._roots(*named)
        return [name for name in self.looked_at if not shared & self._roots(name)]

    def _roots(self, *names: str) -> set[str]:
        """The cells and columns behind features."""
        found: set[str] = set()
        for name in names:
            rule = self.book.features.get(name)
            found |= set(self.book.roots(rule)) if rule else {name}
        return found

    def _words(self, conditions: tuple[measure.Condition, ...], language: str) -> str:
        signs = {"<=": "≤", ">": ">", "=": "=", "<>": "≠"}
        return ", ".join(f"{self.book.called(item.feature, language)} {signs[item.sign]} {item.bound}" for item in conditions)

    def _members(self, conditions: Mapping[str, str]) -> pd.DataFrame:
        items = [f"coalesce({condition}, false) as {quote(name)}" for name, condition in conditions.items()]
        return self.connection.execute(f"select {', '.join([quote(self.book.code), *items])} from people order by 1").df()

    def _grid(self) -> list[Cell] | None:
        """Recency × frequency in fifths of the customers: how many, and their mean value. None where the playbook names neither."""
        if self.worth.recency is None or self.worth.frequency is None:
            return None
        names = [self.worth.recency, self.worth.frequency]
        known = self.frame.dropna(subset=names)
        if len(known) < LEAST:
            return None
        fifths, value = [_fifths(known[name]) for name in names], known[self.worth.value].to_numpy(np.float64, na_value=np.nan)
        rows = {(down, across): (fifths[0] == down) & (fifths[1] == across) for down in range(1, GRID + 1) for across in range(1, GRID + 1)}
        return [
            Cell(down, across, int(inside.sum()), float(np.nanmean(value[inside])) if (~np.isnan(value[inside])).any() else None)
            for (down, across), inside in rows.items()
        ]


def _mean(column: "pd.Series[float]", inside: npt.NDArray[np.bool_]) -> Figure | None:
    values = column.to_numpy(np.float64, na_value=np.nan)[inside]
    return measure.mean(values) if (~np.isnan(values)).sum() >= 2 else None


def _smallest_fall(risk: float, customers: int) -> float | None:
    """The smallest relative fall of a risk that so many customers show, half of them left alone; None where none is large enough."""
    if not 0 < risk < 1:
        return None
    fall = detectable(1 - risk, customers) * (1 - risk) / risk  # a fall of the risk is a rise of those who stay
    return fall if fall < 1 else None


def _fifths(values: "pd.Series[float]") -> npt.NDArray[np.int64]:
    """1 to 5, the lowest first; equal values are in one fifth."""
    rank = values.rank(method="average", pct=True).to_numpy(np.float64)
    return np.asarray(np.ceil(rank * GRID).clip(1, GRID), dtype=np.int64)


def _text(rule: tuple[measure.Condition, ...]) -> str:
    """As it stands in a playbook."""
    return " and ".join(f"{item.feature} {item.sign} {_bound(item)}" for item in rule)


def _sql(rule: tuple[measure.Condition, ...]) -> str:
    return " and ".join(f"{quote(item.feature)} {item.sign} {_bound(item)}" for item in rule)


def _bound(condition: measure.Condition) -> str:
    return text(condition.bound) if isinstance(condition.bound, str) else f"{condition.bound:g}"
