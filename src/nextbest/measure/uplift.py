"""How well customers are ordered by the effect that an offer has on them.

All figures compare treated and control among the first customers of an order, in an experiment where treatment was drawn by chance.
Shapes: one entry per customer.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from nextbest.arrays import Floats
from nextbest.measure.ranking import Figure


def uplift_at(share: float) -> Callable[[Floats, Floats, Floats], float]:
    """Mean outcome of treated less that of control among the first `share` of all customers by score."""

    def figure(outcome: Floats, treated: Floats, score: Floats) -> float:
        first = _order(score)[: round(share * len(score))]
        told = treated[first] == 1
        if told.all() or not told.any():
            return float("nan")
        return float(outcome[first][told].mean() - outcome[first][~told].mean())

    return figure


def _order(score: Floats) -> npt.NDArray[np.int64]:
    """Customers by score, the highest first; equal ones in an order of chance that is always the same."""
    return np.lexsort((np.random.default_rng(0).random(len(score)), -score))


def curve(outcome: Floats, treated: Floats, score: Floats) -> Floats:
    """Outcomes gained if the first customers of the order were treated, per customer in all. Shape: (customers + 1,).

    Control is scaled up to the treated (Radcliffe 2007).
    """
    order = _order(score)
    y, t = outcome[order], treated[order]
    of_treated, of_control = np.cumsum(y * t), np.cumsum(y * (1 - t))
    count_treated, count_control = np.cumsum(t), np.cumsum(1 - t)
    scaled = np.divide(of_control * count_treated, count_control, out=np.zeros(len(y)), where=count_control > 0)
    return np.concatenate([[0.0], (of_treated - scaled) / max(t.sum(), 1)])


def qini(outcome: Floats, treated: Floats, score: Floats) -> float:
    """Area between the curve and the straight line of treating at random (Qini coefficient, not normalised)."""
    gained = curve(outcome, treated, score)
    line = np.linspace(0, gained[-1], len(gained))
    return float((gained - line).mean())


def auuc(outcome: Floats, treated: Floats, score: Floats) -> float:
    """Area under the curve itself."""
    return float(curve(outcome, treated, score).mean())


def interval(
    figure: Callable[[Floats, Floats, Floats], float], outcome: Floats, treated: Floats, score: Floats, seed: int, redraws: int = 200
) -> Figure:
    """A figure with a bootstrap interval at 95% over customers, treated and control redrawn apart."""
    chance = np.random.default_rng(seed)
    groups = [np.flatnonzero(treated == arm) for arm in (0, 1)]
    drawn = []
    for _ in range(redraws):
        rows = np.concatenate([chance.choice(group, len(group)) for group in groups])
        drawn.append(figure(outcome[rows], treated[rows], score[rows]))
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return Figure(figure(outcome, treated, score), float(low), float(high))


def cross_validated(found: Figure, folds: int) -> Figure:
    """A figure whose scores come from the other folds of the same customers, with a wider interval.

    Folds teach each other: what chance put alike in two of them is found in both, as if it were there. The variance is taken as 1 +
    folds / (folds - 1) times that of scores from elsewhere: what Nadeau and Bengio (2003) give for means over folds; here it is rough.
    """
    wider = float(np.sqrt(1 + folds / (folds - 1)))
    low, high = found.value - wider * (found.value - found.low), found.value + wider * (found.high - found.value)
    return Figure(found.value, min(low, found.low), max(high, found.high))
