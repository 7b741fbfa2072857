"""Features that know too much: written after the answer, or copied from it, or a code in disguise."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from nextbest.arrays import Floats
from nextbest.models.base import Pairs

TELLS_ALL = 0.9
"""Answers of people are noisy: one feature that tells them apart with such an AUC was written after them."""
DISTINCT = 0.5
"""A word with so many values that it is nearly different in each row is a code."""


@dataclass(frozen=True)
class Leak:
    """A suspect feature, and why."""

    feature: str
    why: str


def leaks(pairs: Pairs) -> list[Leak]:
    """What is suspect among the features. Empty where all is well."""
    taken = pairs.taken
    found = []
    for name in pairs.numbers:
        values = pairs.column(name)
        apart = _apart(values, taken)
        if apart >= TELLS_ALL:
            found.append(Leak(name, f"tells the answers apart alone (AUC {apart:.2f}): was it written after them?"))
        elif abs(_apart(np.isfinite(values).astype(np.float64), taken)) >= TELLS_ALL:
            found.append(Leak(name, "is known or missing as the answer is: was it written after them?"))
    for name in pairs.words:
        values = pd.Series(pairs.texts(name))
        if values.nunique() > max(DISTINCT * pairs.frame.customer.nunique(), 50):
            found.append(Leak(name, "has nearly as many values as there are customers: it is a code"))
            continue
        half = pairs.frame.customer.factorize()[0] % 2 == 0  # each half is told apart by what the other half answered
        rate = np.where(half, _rates(values, taken, ~half), _rates(values, taken, half))
        apart = float(np.mean([_apart(rate[part], taken[part]) for part in (half, ~half)]))
        if apart >= TELLS_ALL:
            found.append(Leak(name, f"tells the answers apart alone (AUC {apart:.2f}): was it written after them?"))
    return found


def _rates(values: "pd.Series[str]", taken: Floats, among: "np.typing.NDArray[np.bool_]") -> Floats:
    rates = pd.Series(taken[among]).groupby(values[among].to_numpy()).mean()
    return np.asarray(values.map(rates).fillna(taken.mean()).to_numpy(np.float64))


def _apart(values: Floats, taken: Floats) -> float:
    known = np.isfinite(values)
    if len(set(taken[known].tolist())) < 2:
        return 0.5
    area = float(roc_auc_score(taken[known], values[known]))
    return max(area, 1 - area)
