"""Forecasts: what trained models say of each customer, written into the customer columns that learn.yaml names."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa

from nextbest.engines.base import Engine
from nextbest.errors import Problem, UsageError
from nextbest.models.activity import Table
from nextbest.models.base import KnowsError, Model, Pairs
from nextbest.plan.features import rows_of
from nextbest.plan.stage import quote, text
from nextbest.playbook.bind import Bound
from nextbest.playbook.bind_learning import (
    BoundOfferLearning,
    bound_activity_learning,
    bound_offer_learning,
    bound_purchase_learning,
    bound_uplift_learning,
)
from nextbest.playbook.sources import Source
from nextbest.services.activity import read_activity
from nextbest.services.answers import Answers
from nextbest.services.effects import read_effects
from nextbest.services.model_files import CARD, PIPELINES, SEEN, STATE, Card, fits, read_card, read_model
from nextbest.services.purchases import history_of, read_purchases
from nextbest.services.reading import Reading

READ = (STATE, CARD, PIPELINES, SEEN)
"""The files that a model is read from: what else stands in its folder makes it no other."""
BATCH = 100_000
"""Customers that are in memory at a time."""


class Forecast(Protocol):
    """A trained model, and what it needs beside the playbook's sources."""

    @property
    def tables(self) -> dict[str, Source]:
        """What it reads beside the playbook's sources."""
        ...

    def read(self, reading: Reading) -> None:
        """Its own tables. Needs the customers."""
        ...

    def fill(self, reading: Reading) -> None:
        """Write into the customers' columns where they are blank. Needs `features` and `population`."""
        ...


def forecasts(folders: Iterable[str | Path], book: Bound) -> list[Forecast]:
    """The models of the folders that `nextbest train` wrote, fit for the playbook. Raises UsageError, PlaybookError."""
    found: dict[str, Forecast] = {}
    for folder in map(Path, folders):
        card = read_card(folder)
        if card.task not in MAKE:
            raise UsageError([Problem(str(folder), f"is a model of {card.task[:40]}", f"train one of {', '.join(MAKE)}")])
        if card.task in found:
            raise UsageError([Problem(str(folder), f"is the second model of {card.task}", "name one of each task")])
        found[card.task] = MAKE[card.task](folder, card, book)
    return list(found.values())


def digests(folders: Iterable[str | Path]) -> list[dict[str, str]]:
    """For a run's record: the task of each model, and a hash of its files."""
    found = []
    for folder in sorted(map(str, folders)):
        files = (path for path in sorted(Path(folder).iterdir()) if path.name in READ)
        together = "".join(f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()} " for path in files)
        found.append({"task": read_card(Path(folder)).task, "sha256": hashlib.sha256(together.encode()).hexdigest()})
    return sorted(found, key=lambda item: item["task"])


def _offers(folder: Path, card: Card, book: Bound) -> Forecast:
    learning = bound_offer_learning(book)
    if learning is None or learning.model.fills is None:
        raise _fills_nothing(book, "offers")
    fits(card, "offers", learning.numbers, learning.words)
    return _Offers(read_model(folder)[0], learning)


def _activity(folder: Path, card: Card, book: Bound) -> Forecast:
    learning = bound_activity_learning(book)
    if learning is None or learning.model.fills is None:
        raise _fills_nothing(book, "activity")
    fits(card, "activity", learning.numbers, learning.words)
    column, numbers, words, model = learning.model.fills, learning.numbers, learning.words, read_activity(folder)[0]
    return _OfCustomers(
        rows_of(book, *learning.model.uses),
        lambda frame: {column: model.probability(Table(frame, numbers, words).features)},
        [column],
        model.leans_on,
    )


def _purchases(folder: Path, card: Card, book: Bound) -> Forecast:
    learning = bound_purchase_learning(book)
    if learning is None:
        raise _fills_nothing(book, "purchases")
    fits(card, "purchases", learning.model.names, ())
    fills, model = learning.model.fills.model_dump(), read_purchases(folder)
    return _OfCustomers(history_of(learning), lambda frame: dict(model.forecast(frame).rename(columns=fills)), list(fills.values()))


def _effects(folder: Path, card: Card, book: Bound) -> Forecast:
    learning = bound_uplift_learning(book)
    if learning is None:
        raise _fills_nothing(book, "uplift")
    fits(card, "uplift", learning.numbers, learning.words)
    fills, numbers, words, model = learning.model.fills, learning.numbers, learning.words, read_effects(folder)
    if unknown := [name for name in fills if name not in model.parts]:
        raise UsageError([Problem(str(folder), f"knows nothing of {', '.join(unknown)}", "train it again")])
    return _OfCustomers(
        rows_of(book, *learning.model.uses),
        lambda frame: {column: model.effects(Table(frame, numbers, words).features)[name] for name, column in fills.items()},
        list(fills.values()),
    )


MAKE: dict[str, Callable[[Path, Card, Bound], Forecast]] = {
    "offers": _offers,
    "activity": _activity,
    "purchases": _purchases,
    "uplift": _effects,
}
"""By the task of a model."""


def _fills_nothing(book: Bound, part: str) -> UsageError:
    what = f"its learn.yaml has no `{part}` with `fills`: no column takes what the model says"
    return UsageError([Problem(f"playbook '{book.model.business.name}'", what, "name the columns, or leave --model out")])


@dataclass
class _Offers:
    model: Model
    learning: BoundOfferLearning

    @property
    def tables(self) -> dict[str, Source]:
        return self.learning.tables

    def read(self, reading: Reading) -> None:
        self.answers = Answers(self.learning, reading.engine, reading)
        self.answers.read()

    def fill(self, reading: Reading) -> None:
        self.answers.pair()
        key, fills = reading.key, self.learning.model.fills
        assert fills is not None
        if not _load(reading.engine, (self._scored(pairs, with_error=bool(fills.errors)) for pairs in self.answers.open())):
            empty = f"select f.{key} as customer, p.{quote(self.learning.product)} as product, 0.5 as learned, 0.5 as error"
            reading.engine.execute(f"create or replace table forecast as {empty} from features as f, products as p where false")
        kind, best = f"p.{quote(fills.by)}", "max({'learned': learned, 'error': error})"
        said = [f"coalesce(max(learned) filter ({kind} = {text(name)}), 0) as {quote(column)}" for name, column in fills.columns.items()]
        said += [f"({best} filter ({kind} = {text(name)})).error as {quote(column)}" for name, column in fills.errors.items()]
        select = (
            f"select f.{key}, {', '.join(said)} from features as f left join forecast as o on o.customer = f.{key} "
            f"left join products as p on p.{quote(self.learning.product)} = o.product group by 1"
        )
        of = {error: fills.columns[kind] for kind, error in fills.errors.items()}
        _write(reading, select, list(fills.columns.values()), of)
        for view in ("answered", "opened"):
            reading.engine.execute(f"drop view {view}")
        for table in ("held", "answers", "products"):
            reading.engine.drop(table)  # what comes next needs the room

    def _scored(self, pairs: Pairs, with_error: bool) -> dict[str, Any]:
        error = self.model.error(pairs) if with_error and isinstance(self.model, KnowsError) else np.full(len(pairs), np.nan)
        return {
            "customer": pairs.frame["customer"],
            "product": pairs.frame["product"],
            "learned": self.model.propensity(pairs),
            "error": error,
        }


@dataclass
class _OfCustomers:
    """A model that looks at nothing but the customers. `select`: their rows; `said`: column → what it says of them.

    `leans_on`: features of which something was known when it learned.
    """

    select: str
    said: Callable[[pd.DataFrame], dict[str, Any]]
    columns: list[str]
    leans_on: Sequence[str] = ()

    @property
    def tables(self) -> dict[str, Source]:
        return {}

    def read(self, reading: Reading) -> None:
        pass

    def fill(self, reading: Reading) -> None:
        code = reading.book.code
        reading.unknown_features(self.leans_on)
        frames = (batch.to_pandas() for batch in reading.engine.batches(self.select, BATCH) if batch.num_rows)
        if _load(reading.engine, ({code: frame[code], **self.said(frame)} for frame in frames)):
            _write(reading, "from forecast", self.columns)


def _load(engine: Engine, parts: Iterator[dict[str, Any]]) -> bool:
    """The parts as the table `forecast`; whether there was any."""
    any_part = False
    for part in parts:
        table = pa.table({name: pa.array(column, from_pandas=True) for name, column in part.items()})
        engine.load("forecast_part" if any_part else "forecast", table)
        if any_part:
            engine.execute("insert into forecast from forecast_part")
        any_part = True
    return any_part


def _write(reading: Reading, select: str, columns: list[str], errors: Mapping[str, str] = MappingProxyType({})) -> None:
    """Fill the columns where they are blank. `errors`: column → the one whose error it is; a file's own value has none of the model's."""
    table = "features"  # of which the customers' columns stand beside the cells

    def filled(column: str, beside: str) -> str:
        own, said = f"{table}.{quote(column)}", f"said.{quote(column)}"
        return f"{quote(column)} = case when {table}.{quote(beside)} is null then coalesce({own}, {said}) else {own} end"

    values = ", ".join(filled(column, beside) for column, beside in ({column: column for column in columns} | dict(errors)).items())
    reading.engine.execute(f"update {table} set {values} from ({select}) as said where said.{reading.key} = {table}.{reading.key}")
    for name in ("forecast", "forecast_part"):
        reading.engine.drop(name)
