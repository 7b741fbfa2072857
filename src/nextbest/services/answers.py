"""Answers: the tables of learn.yaml read beside the playbook's own, as pairs of customers and products."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from nextbest.engines.base import Engine
from nextbest.engines.duckdb import DuckDBEngine
from nextbest.errors import DataError, PlaybookError, Problem, UsageError
from nextbest.intake.files import find
from nextbest.models.base import Pairs
from nextbest.plan import pairs
from nextbest.plan.stage import quote
from nextbest.playbook.bind import bound
from nextbest.playbook.bind_learning import BoundOfferLearning, bound_offer_learning
from nextbest.playbook.learning import OfferLearning
from nextbest.playbook.load import Loaded, load
from nextbest.services.moment import day_of
from nextbest.services.progress import Progress, silent
from nextbest.services.reading import Reading, latest_day
from nextbest.services.summing import read_features
from nextbest.settings import Settings

MISSED = {
    "held": "without it what is held already is offered again",
    "answers": "without it the model takes every customer for one who was never asked",
}
"""What it means that a table of learn.yaml is missing."""
BATCH = 200_000
"""Pairs that are in memory at a time while a ranking is made."""


@dataclass
class Answers:
    """The views `answered` and `opened` in an engine, once they are read and paired."""

    learning: BoundOfferLearning
    engine: Engine
    reading: Reading
    products: list[str] = field(default_factory=list)
    of_day: "Callable[[date], AbstractContextManager[Answers]] | None" = None
    """The same with the features of an earlier day."""
    until: date | None = None
    """The last day whose answers are known, where it is not the as-of day."""

    def read(self) -> None:
        """The tables of learn.yaml. Needs the customers. Raises DataError."""
        reading, engine, learning = self.reading, self.engine, self.learning
        reading.other("products", lambda rows: pairs.products(learning, rows))
        kind = reading.type_of(learning.product, "products_rows")
        engine.create(pairs.typed_products(learning, "products_rows", kind))
        until = self.until or learning.book.as_of
        for name in ("held", "answers"):
            reading.other(name, partial(pairs.linked, learning, name, customer_type=reading.id_type, product_type=kind, until=until))
            engine.create(pairs.linked_table(learning.tables[name], name, f"{name}_rows"))
        for name, advice in MISSED.items():
            if not reading.found.of(name):
                reading.problems.append({"table": name, "problem": "no_file", "column": None, "rows": 0, "kept": True, "advice": advice})
        for name in learning.tables:
            engine.drop(f"{name}_rows")  # what comes next needs the room
        self.products = [str(code) for (code,) in engine.rows(f"select {quote(learning.product)} from products order by 1")]
        if not self.products:
            raise DataError([Problem("products", "no product is left", "check the products' codes")])

    def pair(self) -> None:
        """Customers and products side by side. Needs `features` and `population`. Raises PlaybookError."""
        try:
            self.engine.view(pairs.answered(self.learning))
            self.engine.view(pairs.opened(self.learning))
            self.engine.rows("select * from opened limit 1")
        except duckdb.Error as error:
            what = f"the rules of learn.yaml cannot be computed ({type(error).__name__})"
            raise PlaybookError([Problem("learn.yaml", what, "a rule mixes kinds of values, e.g. text and number")]) from error

    def answered(self) -> Pairs:
        """All answers. Raises DataError where there is nothing to learn from."""
        parts = [self._answered_of(rounds, day) for day, rounds in self.days().items()]
        frame = pd.concat(parts).sort_values(["round", "customer", "product"], ignore_index=True) if parts else pd.DataFrame()
        taken = int(frame.taken.sum()) if len(frame) else 0
        if taken == 0 or taken == len(frame):
            what = f"{len(frame)} answers, {taken} of them taken: nothing to learn from"
            fix = "hand in answers of customers who took an offer and of some who did not"
            raise DataError([Problem("answers", what, fix), *self.reading.odd()])
        return self._pairs(frame)

    def days(self) -> dict[date | None, list[int]]:
        """Day → rounds that are learned from with the features of that day; None: the as-of day."""
        turn, sent = quote(self.learning.model.round), self.learning.model.sent
        first = f"min({quote(sent)})::date" if sent else "null"
        found: dict[date | None, list[int]] = {}
        for number, day in self.engine.rows(f"select {turn}, {first} from answers group by 1 order by 1"):
            known = day - timedelta(days=1) if day and day > date.min else day
            if known and any(known < earlier for earlier in found if earlier):
                what = f"round {number} was sent before a round of a lower number"
                raise DataError([Problem("answers", what, f"number rounds in the order of '{sent}'")])
            found.setdefault(known, []).append(number)
        return found

    def _answered_of(self, rounds: list[int], day: date | None) -> pd.DataFrame:
        if day is not None and self.of_day:
            try:
                with self.of_day(day) as earlier:
                    return earlier._answered_of(rounds, None)
            except (DataError, PlaybookError, UsageError) as error:
                what = f"what was known on {day}, the day before the offers of round {rounds[0]}, is not there"
                fix = "hand in rows of earlier months, or answers of later rounds only"
                raise DataError([Problem("answers", what, fix), *error.problems]) from error
        among = ", ".join(map(str, rounds))
        return self.engine.batches(f"from answered where round in ({among})", BATCH).read_all().to_pandas()

    def open(self) -> Iterator[Pairs]:
        """The pairs that may be offered, a batch at a time, by customer and product."""
        for batch in self.engine.batches("select * from opened where failed = ''", BATCH):
            if batch.num_rows:
                yield self._pairs(batch.to_pandas())

    def _pairs(self, frame: Any) -> Pairs:
        return Pairs(frame, self.learning.numbers, self.learning.words)

    @property
    def types(self) -> tuple[str, str]:
        """The engine's types of a customer's and a product's code."""
        [(customer, product)] = self.engine.rows("select typeof(any_value(customer)), typeof(any_value(product)) from opened")
        return str(customer), str(product)


def learns(loaded: Loaded) -> OfferLearning:
    """What the playbook says is learned. Raises UsageError where it does not."""
    if loaded.model.learn is None or loaded.model.learn.offers is None:
        what = "has no learn.yaml with `offers`: it does not say where answers stand"
        raise UsageError([Problem(f"playbook '{loaded.model.business.name}'", what, "take the playbook `upsell` for an example")])
    return loaded.model.learn.offers


@contextmanager
def read_answers(
    data: str | Path,
    playbook: str | Path,
    *,
    as_of: date | str | None = None,
    need_answers: bool = True,
    until: date | None = None,
    progress: Progress = silent,
) -> Iterator[Answers]:
    """The tables of a folder as pairs. Without `as_of` the day of the latest row holds. `until`: the last day whose answers are known.

    Raises PlaybookError, DataError, UsageError.
    """
    loaded = load(playbook)
    tables = learns(loaded).tables
    optional = ("held",) if need_answers else ("held", "answers")
    found = find(Path(data), None, {**loaded.model.business.sources, **tables}, optional)
    with tempfile.TemporaryDirectory(dir=Settings().temp_folder) as temp, DuckDBEngine(Path(temp)) as engine:
        book = bound(loaded, day_of(as_of) if as_of is not None else latest_day(loaded, found, engine, Path(temp)))
        learning = bound_offer_learning(book)
        assert learning is not None
        reading = Reading(book, found, engine, Path(temp), others=tables)
        known = until or (book.as_of if as_of is not None else date.max)  # offers may have gone out after the last row of activity
        made = Answers(learning, engine, reading, until=known)
        made.of_day = lambda day: read_answers(data, playbook, as_of=day, need_answers=need_answers, until=known)
        steps = read_features(reading, progress, more=2)
        progress("reading answers", steps - 1, steps)
        made.read()
        progress("pairing customers and products", steps, steps)
        made.pair()
        yield made
