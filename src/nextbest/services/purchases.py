"""Purchases: train a model of how often customers buy again, judged on the latest days, which it did not see."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from nextbest.arrays import Floats
from nextbest.errors import DataError, Problem, UsageError
from nextbest.measure.segments import mean
from nextbest.models.purchases import Model, Rhythm, Spending
from nextbest.plan.stage import quote
from nextbest.plan.staging import is_rejected
from nextbest.playbook.bind import bound
from nextbest.playbook.bind_learning import BoundPurchaseLearning, bound_purchase_learning
from nextbest.playbook.load import Loaded, load
from nextbest.services.folder import written_whole
from nextbest.services.model_files import CARD, STATE, Card, card_of, read_card, write_json
from nextbest.services.moment import day_of
from nextbest.services.progress import Progress, silent
from nextbest.services.reading import Reading
from nextbest.services.summing import read_customers

LEAST = 50
"""Customers who bought again, below which there is no rhythm to learn."""
CAUTIONS = [
    "Knows recency, frequency and money alone: no seasons, no prices, no campaigns.",
    "Who bought before the horizon counts as new at their first purchase in it.",
    "A customer who has bought once only cannot be told from one who left: the model takes them for alive.",
]


@dataclass(frozen=True)
class Trained:
    """A model of purchases and its card."""

    folder: Path
    card: Card


def train_purchases(
    data: str | Path, playbook: str | Path = "shop-invoices", *, out: str | Path, as_of: date | str, progress: Progress = silent
) -> Trained:
    """Learn the rhythm of purchases, and write a model's folder. The card's figures are of the last `ahead` days: what a model
    of everything before them forecast, beside what came. Raises PlaybookError, DataError, UsageError.
    """
    loaded, day = load(playbook), day_of(as_of)
    with _read(data, loaded, day, progress) as (learning, reading):
        cut = day - timedelta(days=int(learning.ahead))
        now, came = _frame(learning, reading), _came(learning, reading, cut)
        model = _fitted(learning, now)
    with _read(data, loaded, cut, progress) as (earlier, reading):
        progress("judging", 1, 1)
        figures = _judged(earlier, _frame(earlier, reading), came)
    card = card_of(
        learning.book,
        "purchases",
        "bg-nbd",
        seed=0,
        numbers=list(learning.model.names),
        words=[],
        products=[],
        rows=len(now),
        taken=int((now.repeats > 0).sum()),
        figures={**figures, "ahead": learning.ahead},
        cautions=CAUTIONS,
    )
    with written_whole(Path(out), mark=CARD) as scratch:
        write_json(scratch, {STATE: asdict(model), CARD: asdict(card)})
    return Trained(Path(out), card)


def read_purchases(folder: Path) -> Model:
    """The model of a folder. Raises UsageError."""
    read_card(folder)
    try:
        state = json.loads((folder / STATE).read_text(encoding="utf-8"))
        return Model(Rhythm(**state["rhythm"]), Spending(**state["spending"]), float(state["ahead"]))
    except (OSError, ValueError, KeyError, TypeError):
        raise UsageError([Problem(str(folder / STATE), "the model cannot be read", "train it again")]) from None


def history_of(learning: BoundPurchaseLearning) -> str:
    """SQL over `features` and `population`: the code, repeats, last, age, average. Grain: one customer, by code."""
    names = zip(learning.model.names, ("repeats", "last", "age", "average"), strict=True)
    columns = ", ".join(f"cast({quote(feature)} as double) as {name}" for feature, name in names)
    return f"select {quote(learning.book.code)}, {columns} from features cross join population order by 1"


@contextmanager
def _read(data: str | Path, loaded: Loaded, day: date, progress: Progress) -> Iterator[tuple[BoundPurchaseLearning, Reading]]:
    learning = bound_purchase_learning(bound(loaded, day))
    if learning is None:
        what = "has no learn.yaml with `purchases`"
        raise UsageError([Problem(f"playbook '{loaded.model.business.name}'", what, "take the playbook `shop-invoices` for an example")])
    with read_customers(data, learning.book, progress) as reading:
        yield learning, reading


def _frame(learning: BoundPurchaseLearning, reading: Reading) -> pd.DataFrame:
    frame = reading.engine.batches(history_of(learning), 100_000).read_all().to_pandas()
    known = frame[frame.age.notna() & (frame.repeats >= 0)].reset_index(drop=True)
    if (known.repeats > 0).sum() < LEAST:
        what = f"{int((known.repeats > 0).sum())} customers bought more than once by {learning.book.as_of}"
        fix = f"hand in {LEAST} or more, over a longer time"
        raise DataError([Problem(learning.model.of, what, fix), *reading.odd()])
    return known


def _fitted(learning: BoundPurchaseLearning, frame: pd.DataFrame) -> Model:
    x, last, age, average = (frame[name].to_numpy(np.float64, na_value=np.nan) for name in ("repeats", "last", "age", "average"))
    return Model(Rhythm.fitted(x, np.nan_to_num(last), age), Spending.fitted(x + 1, np.nan_to_num(average)), learning.ahead)


def _came(learning: BoundPurchaseLearning, reading: Reading, cut: date) -> "pd.Series[float]":
    """Days with a purchase after the cut, by customer."""
    key, table = reading.key, quote(learning.model.of)
    kept = f"(problem is null or not {is_rejected()}) and value > 0 and date > date '{cut}'"
    select = f"select {key}, cast(count(distinct date) as double) as came from {table} where {kept} group by 1"
    return reading.engine.batches(select, 100_000).read_all().to_pandas().set_index(learning.book.code).came


def _judged(learning: BoundPurchaseLearning, frame: pd.DataFrame, came: "pd.Series[float]") -> dict[str, object]:
    """The forecast of the days after the cut beside what came, and beside each customer's own rate carried on."""
    expected = _fitted(learning, frame).forecast(frame).purchases.to_numpy()
    actual = came.reindex(frame[learning.book.code]).fillna(0).to_numpy(np.float64)
    own_rate = ((frame.repeats + 1) / np.maximum(frame.age, 1) * learning.ahead).to_numpy(np.float64)

    def off(forecast: Floats) -> dict[str, float]:
        return {name: float(value) for name, value in asdict(mean(np.abs(forecast - actual))).items()}

    return {
        "customers": len(frame),
        "came": float(actual.sum()),
        "expected": float(expected.sum()),
        "mean_error": off(expected),
        "mean_error_of_own_rate": off(own_rate),
        "rank_correlation": float(pd.Series(expected).corr(pd.Series(actual), method="spearman")),
    }
