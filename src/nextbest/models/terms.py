"""From features to the columns of a linear model, in groups: lines, curves and words, for all products and for each.

A curve is a line that may bend at four quantiles of the feature. A number that is unknown counts as average, and as unknown.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from nextbest.arrays import Floats
from nextbest.models.base import Pairs

BENDS = (0.2, 0.4, 0.6, 0.8)
FAR = 5.0
"""Beyond so many standard deviations a number counts as being there: no straight line goes on for ever."""


@dataclass(frozen=True)
class Number:
    """How a number is written: from its mean, in standard deviations, with the places where curves bend."""

    mean: float
    sd: float
    bends: tuple[float, ...]
    gaps: bool

    def line(self, values: Floats) -> Floats:
        """Shape: (rows,)."""
        return np.nan_to_num(np.clip((values - self.mean) / self.sd, -FAR, FAR))


@dataclass
class Terms:
    """Learned from training pairs: how each feature is written, and which groups there are.

    A group's name is `feature`, `feature ~` (its curve), and the same with ` × product`.
    """

    products: list[str] = field(default_factory=list)
    numbers: dict[str, Number] = field(default_factory=dict)
    words: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def learned(cls, pairs: Pairs) -> "Terms":
        """From the training pairs. A feature with one value only says nothing and is left out."""
        terms = cls(sorted(pairs.products.unique()))
        for name in pairs.numbers:
            values = pairs.column(name)
            known = values[np.isfinite(values)]
            if len(known) and known.std() > 0:
                bends = tuple(float(bend) for bend in np.unique(np.quantile(known, BENDS)) if known.min() < bend < known.max())
                terms.numbers[name] = Number(float(known.mean()), float(known.std()), bends, len(known) < len(values))
        for name in pairs.words:
            found = sorted(set(pairs.texts(name)))
            if len(found) > 1:
                terms.words[name] = found
        return terms

    def lines(self) -> list[str]:
        """The groups without curves."""
        features = [*self.numbers, *self.words]
        return ["product", *features, *(f"{name} × product" for name in features)]

    def curves(self, features: list[str]) -> list[str]:
        """The curves of these features, where they can bend."""
        return [f"{name} ~{mark}" for name in features if self.numbers[name].bends for mark in ("", " × product")]

    def columns(self, pairs: Pairs, group: str) -> Floats:
        """The group's columns. Shape: (rows, columns)."""
        feature, _, crossed = group.partition(" × ")
        columns = self._plain(pairs, feature)
        if not crossed:
            return columns
        own = one_hot(pairs.products.to_numpy(object), self.products)
        return np.asarray((own[:, :, None] * columns[:, None, :]).reshape(len(pairs), -1))

    def sums(self, pairs: Pairs, weights: dict[str, Floats]) -> dict[str, Floats]:
        """What each group adds to each row: its columns times their weights, without making a crossed group's columns.

        Shape of each: (rows,).
        """
        product, found = _places(pairs.products, self.products), {}
        words = {name: _places(pairs.texts(name), known) for name, known in self.words.items()}
        for group, own in weights.items():
            feature, _, crossed = group.partition(" × ")
            if feature == "product":
                found[group] = np.append(own, 0.0)[product]
            elif feature in words:
                table = own.reshape(len(self.products) if crossed else 1, -1)
                found[group] = np.pad(table, ((0, 1), (0, 1)))[product if crossed else 0, words[feature]]
            elif crossed:
                table = np.vstack([own.reshape(len(self.products), -1), np.zeros(len(own) // len(self.products))])
                found[group] = (self._plain(pairs, feature) * table[product]).sum(axis=1)
            else:
                found[group] = self._plain(pairs, feature) @ own
        return found

    def _plain(self, pairs: Pairs, feature: str) -> Floats:
        if feature == "product":
            return one_hot(pairs.products.to_numpy(object), self.products)
        if feature in self.words:
            return one_hot(pairs.texts(feature), self.words[feature])
        name = feature.removesuffix(" ~")
        number, values = self.numbers[name], pairs.column(name)
        line = number.line(values)
        if feature != name:
            bends = np.array([(bend - number.mean) / number.sd for bend in number.bends])
            return np.asarray(np.maximum(line[:, None] - bends[None, :], 0.0))
        return np.column_stack([line, ~np.isfinite(values)]) if number.gaps else line[:, None]


def one_hot(values: npt.NDArray[np.object_], known: list[str]) -> Floats:
    """1 in the column of the row's value, 0 elsewhere; a value that is not known has no column. Shape: (rows, known)."""
    return np.asarray(values[:, None] == np.array(known, dtype=object)[None, :], dtype=np.float64)


def _places(values: "pd.Series[str] | npt.NDArray[np.object_]", known: list[str]) -> npt.NDArray[np.int64]:
    """Where each value stands among those known; -1, which is the last, for others. Shape: (rows,)."""
    return np.asarray(pd.Index(known).get_indexer(values), dtype=np.int64)


def feature_of(group: str) -> str:
    """The feature behind a group."""
    return group.partition(" × ")[0].removesuffix(" ~")
