"""What every model has in common: the table it sees, and the four things it can do."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import numpy.typing as npt
import pandas as pd

from nextbest.arrays import Floats
from nextbest.errors import Problem, UsageError

State = dict[str, Any]
"""A fitted model as plain JSON: numbers, texts, lists."""
BUILT_IN = ("popularity", "heuristic", "collaborative", "factors", "logistic", "boosting", "ranker", "blend")
GROUP = "nextbest.models"


@dataclass(frozen=True)
class Pairs:
    """Customer × product, one row each.

    `frame` has customer, product, asked_before, taken_before, basket (a list of the products held or taken in earlier rounds, the
    same in all rows of a customer and round), heuristic, and the features; for training also round and taken (1 or 0).
    Codes tell rows apart and are never features, except that a product is itself: its effect is learned.
    """

    frame: pd.DataFrame
    numbers: tuple[str, ...]
    words: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def taken(self) -> Floats:
        """1 where the offer was taken. Shape: (rows,)."""
        return self.column("taken")

    @property
    def products(self) -> "pd.Series[str]":
        """The product's code, as text. Shape: (rows,)."""
        return self.frame["product"].astype(str)

    def column(self, name: str) -> Floats:
        """A column of numbers. Shape: (rows,)."""
        return cast(Floats, self.frame[name].to_numpy(np.float64, na_value=np.nan))

    def texts(self, name: str) -> npt.NDArray[np.object_]:
        """A column of words or codes; what is unknown is ''. Shape: (rows,)."""
        column = self.frame[name].astype(object)
        return cast("npt.NDArray[np.object_]", column.where(column.notna(), "").to_numpy(object))

    def where(self, mask: npt.NDArray[np.bool_]) -> "Pairs":
        """Only these rows."""
        return replace(self, frame=self.frame[mask].reset_index(drop=True))

    def adding(self, **numbers: Floats) -> "Pairs":
        """With more features that are numbers."""
        return replace(self, frame=self.frame.assign(**numbers), numbers=tuple(dict.fromkeys([*self.numbers, *numbers])))


class Model(Protocol):
    """A model of the probability that an offer is taken."""

    def fit(self, pairs: Pairs, seed: int) -> None:
        """Learn from answered pairs. The same pairs and seed make the same model."""
        ...

    def propensity(self, pairs: Pairs) -> Floats:
        """The probability of each pair, 0 to 1. Shape: (rows,)."""
        ...

    def contributions(self, pairs: Pairs) -> Mapping[str, Floats] | None:
        """Feature → what it adds to the log-odds of each pair, exactly; `base` is what all share. None where it has none.

        The features and the base add up to the log-odds that the model gives.
        """
        ...

    def state(self) -> State:
        """The fitted model, to be written."""
        ...

    def restore(self, state: State) -> None:
        """Become the model that was written."""
        ...


@runtime_checkable
class KnowsError(Protocol):
    """A model that can say how far its probabilities may be off."""

    def error(self, pairs: Pairs) -> Floats:
        """The standard error of each pair's probability. Shape: (rows,)."""
        ...


def log_odds(probability: Floats) -> Floats:
    """ln(p / (1 - p)), for p not quite 0 or 1."""
    clipped = np.clip(probability, 1e-9, 1 - 1e-9)
    return np.asarray(np.log(clipped / (1 - clipped)))


def folds(pairs: Pairs, count: int, seed: int) -> Floats:
    """A fold for each row, by customer: all rows of one are together. Shape: (rows,)."""
    codes, people = pairs.frame.customer.factorize(sort=True)
    return np.asarray(np.random.default_rng(seed).permutation(np.arange(len(people)) % count)[codes], dtype=np.float64)


def make(name: str) -> Model:
    """A new model by name. Raises UsageError for one that is not there."""
    if name in BUILT_IN:
        return cast(Model, import_module(f"nextbest.models.{name}").Model())
    for point in entry_points(group=GROUP):
        if point.name == name:
            return cast(Model, point.load()())
    fix = f"one of {', '.join(known())}, or a folder that `nextbest train` wrote"
    raise UsageError([Problem(f"model '{name}'", "there is no such model", fix)])


def known() -> list[str]:
    """The names of all models, those of other packages among them."""
    return [*BUILT_IN, *sorted(point.name for point in entry_points(group=GROUP))]


def needs(module: str, extra: str = "learn") -> Any:
    """A library of an extra. Raises UsageError that says how to get it."""
    try:
        return import_module(module)
    except ImportError:
        raise UsageError([Problem(module.split(".")[0], "is not installed", f'pip install "nextbest[{extra}]"')]) from None
