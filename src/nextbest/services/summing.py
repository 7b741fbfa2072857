"""Summing: every activity table read and added up in one pass, and with it the features of every customer."""

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from nextbest.engines.duckdb import DuckDBEngine
from nextbest.engines.tally import NO_HASHES, Hashes, Tally, by_customer
from nextbest.intake.files import find
from nextbest.plan import features, measures
from nextbest.plan.features import ALONE, SUMMED
from nextbest.plan.measures import PLACE
from nextbest.plan.stage import quote
from nextbest.plan.staging import REJECTED
from nextbest.playbook.bind import PARTIAL, Bound
from nextbest.services.progress import Progress
from nextbest.services.reading import Reading
from nextbest.settings import Settings

MOST_CELLS = 1 << 27
"""Cells that are in memory at a time, a gigabyte of them: where customers have more, they are added up in several turns."""
ROWS = 1 << 17
"""Rows that an engine hands over at a time. For fewer customers than that, two tables at once are not worth a thread."""


def sum_up(reading: Reading) -> None:
    """Read the activity tables and add them up: the table `summed`. Needs the customers and `left_alone`. Raises DataError."""
    Summing(reading).run()


def read_features(reading: Reading, progress: Progress, more: int = 0) -> int:
    """Everything read and summed up: the tables `features` and `population`. `more`: steps that follow; returns how many there are."""
    engine, book, steps = reading.engine, reading.book, 3 + more
    progress(f"reading {book.model.business.customers}", 1, steps)
    reading.customers()
    engine.create(features.left_alone(book))
    progress(f"summing {', '.join(reading.activity)}", 2, steps)
    sum_up(reading)
    progress("computing features", 3, steps)
    engine.create(features.features(book))
    engine.drop(SUMMED)
    engine.create(features.population(book))
    return steps


@contextmanager
def read_customers(data: str | Path, book: Bound, progress: Progress) -> Iterator[Reading]:
    """The tables of a folder, read up to `features` and `population`. Raises DataError."""
    with tempfile.TemporaryDirectory(dir=Settings().temp_folder) as temp, DuckDBEngine(Path(temp)) as engine:
        reading = Reading(book, find(Path(data), None, book.model.business.sources), engine, Path(temp))
        read_features(reading, progress)
        yield reading


class Turn(NamedTuple):
    """So many customers from a place on, and whether they are all."""

    first: int
    customers: int
    whole: bool

    @property
    def where(self) -> str:
        """SQL: whether a place is one of theirs."""
        return "true" if self.whole else f"{quote(PLACE)} between {self.first} and {self.first + self.customers - 1}"


@dataclass
class Summing:
    """One run over the activity tables. `rows`: a SELECT of each table's rows, for the rejects."""

    reading: Reading
    rows: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.engine, self.book = self.reading.engine, self.reading.book
        self.customers = quote(self.book.model.business.customers)

    def run(self) -> None:
        """Add up turn by turn, then tell what was odd."""
        for name in self.reading.activity:
            self.rows[name] = self.reading.activity_table(name)
        found: dict[str, list[Tally]] = {name: [] for name in self.rows}
        for turn in self._turns():
            tallies = self._add_up(turn)
            self._lay_out(turn, list(tallies.values()))
            for name, tally in tallies.items():
                found[name].append(tally.without_figures())
        for name, parts in found.items():
            problems, read = sum((part.problems for part in parts), Counter[str]()), sum(part.rows for part in parts)
            doubled = np.concatenate([part.twice for part in parts])
            if len(doubled):
                self.engine.load("doubled", pa.table({"row_hash": doubled}))
            self.reading.tell(name, self.rows[name], read, problems, doubled=len(doubled) > 0)
            if self.reading.none_kept(name):
                self.reading.nothing_left(name)

    def _turns(self) -> list[Turn]:
        [(count,)] = self.engine.rows(f"select count(*) from {self.customers}")
        most = max(1, MOST_CELLS // max(1, sum(len(found) for found in self.book.cells.values())))
        return [Turn(first, min(most, count - first), count <= most) for first in range(0, max(1, count), most)]

    def _add_up(self, turn: Turn) -> dict[str, Tally]:
        """What each table comes to for the customers of a turn; one in which rows stand twice is added up once more."""
        tallies = self._tallied(turn, dict.fromkeys(self.rows, NO_HASHES))
        twice = {name: tally.without_figures().doubled for name, tally in tallies.items() if len(tally.doubled)}
        return tallies | self._tallied(turn, twice)

    def _tallied(self, turn: Turn, twice: Mapping[str, Hashes]) -> dict[str, Tally]:
        """`twice`: of each table the hashes of rows of which the first one alone counts."""
        if turn.customers <= ROWS or not twice:
            return {name: self._tally(turn, name, hashes) for name, hashes in twice.items()}
        with ThreadPoolExecutor(len(twice)) as pool:
            return dict(zip(twice, pool.map(partial(self._tally, turn), twice, twice.values()), strict=True))

    def _tally(self, turn: Turn, name: str, twice: Hashes) -> Tally:
        coded = measures.coded(self.book, name)
        nobody = f" or {quote(PLACE)} is null" if turn.first == 0 else ""  # rows of nobody known are told in the first turn
        select = coded.select if turn.whole else f"select * from ({coded.select}) where {turn.where}{nobody}"
        with self.reading.readable(name):
            tally = Tally(coded.measures, REJECTED, turn.customers, turn.first, twice)
            return tally.add(self.engine.batches(select, ROWS))

    def _lay_out(self, turn: Turn, tallies: list[Tally]) -> None:
        """The customers of one turn, with their cells beside them and whether they are left alone."""
        ordered = f"select {', '.join(map(quote, self.book.customer_columns))} from {self.customers}" + (
            "" if turn.whole else f" where {turn.where} order by {quote(PLACE)}"
        )
        alone, key = np.zeros(turn.customers, dtype=bool), self.reading.key
        left = f"select {quote(PLACE)} from {self.customers} where {key} in (select {key} from left_alone) and {turn.where}"
        alone[[place - turn.first for (place,) in self.engine.rows(left)]] = True
        own = self.engine.batches(ordered, ROWS).read_all()
        columns = dict(zip(own.column_names, own.columns, strict=True)) | {ALONE: pa.array(alone)}
        columns[PARTIAL] = by_customer(tallies, turn.customers)
        table = pa.table(columns | {name: column for tally in tallies for name, column in tally.columns().items()})
        if turn.whole:
            self.engine.show(SUMMED, table)
        elif turn.first == 0:
            self.engine.load(SUMMED, table)
        else:
            self.engine.load("turn", table)
            self.engine.insert(SUMMED, "from turn")
            self.engine.drop("turn")
