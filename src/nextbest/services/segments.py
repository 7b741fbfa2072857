"""Segments: the declared groups of a run and those found in it, each with its worth, how it differs, and what to offer it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt
import pandas as pd
import yaml

from nextbest.arrays import Floats
from nextbest.errors import Problem, UsageError
from nextbest.measure import segments as measure
from nextbest.measure.experiments import detectable
from nextbest.measure.ranking import Figure
from nextbest.plan.stage import quote, text
from nextbest.playbook.bind import Bound
from nextbest.playbook.bind_learning import bound_activity_learning
from nextbest.playbook.model import Worth
from nextbest.run import Run

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
    """A group of customers. Figures are means a customer, None where unknown; `at_stake` is the sum of risk × value a month.

    `detectable`: the smallest relative lift that an experiment with half of the group left alone could show.
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
    """All groups of a run. `everyone` is the whole; `at_risk` those from the playbook's bound on, where there is a forecast."""

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

    def write(self, folder: Path) -> None:
        """members.parquet (customers × groups) and found.yaml (the found groups as entries of a segments.yaml)."""
        folder.mkdir(parents=True, exist_ok=True)
        self.members.to_parquet(folder / "members.parquet", index=False)
        entries = {group.name: {"when": group.when, "meaning": {self.language: group.meaning}} for group in self.found}
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
        files = {name: f"read_parquet({text(str(self.run.folder / name) + '.parquet')})" for name in ("features", "decisions", "messages")}
        first = (
            f"select {key}, d.offer as first_offer, d.product as first_product, d.expected_profit from {files['decisions']} as d "
            f"join {files['messages']} as m using ({key}) where d.rank = 1 and m.withheld is null"
        )
        self.connection.execute(f"create view people as from {files['features']} left join ({first}) using ({key})")
        some = f"select * from people order by hash(cast({key} as varchar) || {text(str(self.seed))}) limit {MOST}"
        self.frame = self.connection.execute(f"from ({some}) order by {key}").df()
        if len(self.frame) == 0:
            raise UsageError([Problem(str(self.run.folder), "nobody was scored in this run", "decide for some customers first")])
        columns = self.book.model.business.sources[self.book.model.business.customers].columns
        kinds = ("integer", "number", "money", "category")
        taken = [name for name, column in columns.items() if column.type in kinds] + list(self.book.features)
        self.looked_at = [name for name in taken if name in self.frame and name not in ("language", "time_zone")]
        declared = [
            self._group(name, segment.meaning.get(self.language, name), str(segment.when), quote(name), self.book.segments[name].columns)
            for name, segment in self.book.model.segments.items()
        ]
        rules = {f"found_{place}": item.conditions for place, item in enumerate(self._found(), 1)}
        found = [
            self._group(name, self._words(rule), _text(rule), _sql(rule), [item.feature for item in rule]) for name, rule in rules.items()
        ]
        members = self._members({group.name: quote(group.name) for group in declared} | {name: _sql(rule) for name, rule in rules.items()})
        reached = f"select {key}, max(list_position({list(STAGES)}, verdict)) as stage from {files['decisions']} group by 1"
        dropped = self._counted(
            f"select ({list(STAGES)})[stage], count(*) from ({reached}) where stage < {len(STAGES)} group by stage order by stage"
        )
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
        )

    def _counted(self, select: str) -> dict[str, int]:
        return {str(name): int(count) for name, count in self.connection.execute(select).fetchall()}

    def _at_risk(self) -> Group | None:
        if self.worth.risk is None or self.book.at_risk is None or self.frame[self.worth.risk].notna().sum() < LEAST:
            return None
        limit = f"{self.book.at_risk:g}"
        condition = f"{quote(self.worth.risk)} >= {limit}"
        return self._group("at_risk", "", f"{self.worth.risk} >= {limit}", condition, [self.worth.risk])

    def _group(self, name: str, meaning: str, when: str, condition: str, named: Iterable[str]) -> Group:
        """`named`: the features of its rule. In them, and in what is made of them, it differs by definition: they are not compared."""
        inside = self._inside(condition)
        risk, value = (quote(column) if column else "null" for column in (self.worth.risk, self.worth.value))
        where = f"from people where coalesce({condition}, false)"
        row = self.connection.execute(f"select count(*), sum({risk} * {value}), (select count(*) from people) {where}").fetchone()
        assert row is not None
        customers, at_stake, everyone = row
        if customers < LEAST:
            return Group(name, meaning, when, customers, customers / everyone)
        figures = {entry: self._mean(column, inside) for entry, column in self.worth.names.items() if entry in ("value", "trend", "risk")}
        offers = self.connection.execute(
            f"select first_offer, first_product, count(*), sum(expected_profit) {where} and first_offer is not null "
            "group by all order by 3 desc, 1"
        ).fetchall()
        known = figures.get("risk")
        rate = known.value if known and 0 < known.value < 1 else None
        compared = self.frame[self._apart_from([*named, *self._outcome()])]
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
            detectable=detectable(rate, customers) if rate else None,
        )

    def _mean(self, column: str, inside: npt.NDArray[np.bool_]) -> Figure | None:
        values = self.frame[column].to_numpy(np.float64, na_value=np.nan)[inside]
        return measure.mean(values) if (~np.isnan(values)).sum() >= 2 else None

    def _inside(self, condition: str) -> npt.NDArray[np.bool_]:
        self.connection.register("sampled", self.frame)
        rows = self.connection.execute(f"select coalesce({condition}, false) from sampled").fetchnumpy()
        self.connection.unregister("sampled")
        return np.asarray(next(iter(rows.values())), dtype=bool)

    def _found(self) -> list[measure.Found]:
        """Where what is at stake is concentrated: risk × value, or without a forecast the value."""
        value = self._numbers(self.worth.value)
        risk = self._numbers(self.worth.risk) if self.worth.risk else np.full(len(value), np.nan)
        target = np.nan_to_num(value * risk if (~np.isnan(risk)).sum() >= LEAST else value)
        return measure.rules(self.frame[self._apart_from([self.worth.value, *self._outcome()])], target, self.seed)

    def _outcome(self) -> list[str]:
        """The risk, and the label that it forecasts: what is to be explained explains nothing."""
        learning = bound_activity_learning(self.book)
        return [name for name in (self.worth.risk, learning.model.label if learning else None) if name]

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

    def _numbers(self, column: str) -> Floats:
        return np.asarray(self.frame[column].to_numpy(np.float64, na_value=np.nan))

    def _words(self, conditions: tuple[measure.Condition, ...]) -> str:
        signs = {"<=": "≤", ">": ">", "=": "=", "<>": "≠"}
        return ", ".join(f"{self.book.called(item.feature, self.language)} {signs[item.sign]} {item.bound}" for item in conditions)

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
            Cell(down, across, int(inside.sum()), float(value[inside].mean()) if inside.any() else None)
            for (down, across), inside in rows.items()
        ]


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
