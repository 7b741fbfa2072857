"""What another policy would have earned, from a log of this one: with intervals, and with a word on how far the log reaches.

Shapes: `reward`, `logged` (probability with which the logging policy chose what it chose) and `target` (probability with which
the other policy would have chosen it) have one entry per logged decision. The log must hold the probability of the final policy,
after filters and caps.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from nextbest.arrays import Floats

Groups = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Estimate:
    """The mean reward of the target policy, and an interval at 95% by the normal approximation."""

    method: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Overlap:
    """How far a log can speak for a policy. `effective` is Kish's effective sample size; `largest` the largest weight's share."""

    rows: int
    effective: float
    largest: float
    never_chosen: float

    @property
    def thin(self) -> bool:
        """Whether the estimate rests on so few rows that its interval is not to be trusted."""
        return self.effective < 100 or self.largest > 0.1


def overlap(logged: Floats, target: Floats) -> Overlap:
    """The weights looked at, before any estimate is believed. `never_chosen`: rows that the target would never have chosen."""
    weight = _weights(logged, target)
    total = weight.sum()
    effective = float(total**2 / (weight**2).sum()) if total else 0.0
    return Overlap(len(weight), effective, float(weight.max() / total) if total else 1.0, float((target == 0).mean()))


def ipw(reward: Floats, logged: Floats, target: Floats) -> Estimate:
    """Inverse propensity weighting (Horvitz and Thompson 1952): unbiased, and of large variance."""
    return _mean("ipw", _weights(logged, target) * reward)


def snipw(reward: Floats, logged: Floats, target: Floats) -> Estimate:
    """Self-normalised weights (Swaminathan and Joachims 2015): a little bias for much less variance. Error by linearisation."""
    weight = _weights(logged, target)
    value = float((weight * reward).sum() / weight.sum()) if weight.sum() else 0.0
    error = math.sqrt(float(((weight * (reward - value)) ** 2).sum())) / float(weight.sum()) if weight.sum() else math.inf
    return _interval("snipw", value, error)


def doubly_robust(
    reward: Floats, logged: Floats, target: Floats, expected: Floats, expected_target: Floats, who: Groups | None = None
) -> Estimate:
    """Doubly robust (Dudík, Langford and Li 2011): right if either the propensities or the reward model is.

    `expected`: a model's reward of what was chosen; `expected_target`: its mean reward under the target. The model must not have
    seen the row (cross-fit). `who`: the customer of each decision, as a number; one's decisions are taken together for the interval.
    """
    return _mean("dr", expected_target + _weights(logged, target) * (reward - expected), who)


def gain(
    reward: Floats, logged: Floats, targets: tuple[Floats, Floats], expected: Floats, expected_targets: tuple[Floats, Floats], who: Groups
) -> Estimate:
    """What the first target policy earns more than the second, doubly robust, decision by decision: both share the same luck."""
    weight = _weights(logged, targets[0]) - _weights(logged, targets[1])
    return _mean("gain", expected_targets[0] - expected_targets[1] + weight * (reward - expected), who)


def switch_dr(
    reward: Floats, logged: Floats, target: Floats, expected: Floats, expected_target: Floats, above: float | None = None
) -> Estimate:
    """Doubly robust where the weight is small, the model alone where it is large (Wang, Agarwal and Dudík 2017).

    `above`: the weight from which the model alone speaks; by default the square root of the number of rows.
    """
    weight = _weights(logged, target)
    limit = above if above is not None else math.sqrt(len(weight))
    return _mean("switch-dr", expected_target + np.where(weight <= limit, weight, 0.0) * (reward - expected))


def shrunken_dr(
    reward: Floats, logged: Floats, target: Floats, expected: Floats, expected_target: Floats, strength: float | None = None
) -> Estimate:
    """Doubly robust with weights shrunk by λw / (w² + λ) (Su, Dimakopoulou, Krishnamurthy and Dudík 2020).

    `strength` is λ; by default the number of rows.
    """
    weight = _weights(logged, target)
    lam = strength if strength is not None else float(len(weight))
    return _mean("shrunken-dr", expected_target + lam * weight / (weight**2 + lam) * (reward - expected))


def _weights(logged: Floats, target: Floats) -> Floats:
    if (logged <= 0).any() or (logged > 1).any() or (target < 0).any() or (target > 1).any():
        raise ValueError("logged probabilities lie above 0 and up to 1, target probabilities from 0 to 1")
    return np.asarray(target / logged)


def _mean(method: str, each: Floats, who: Groups | None = None) -> Estimate:
    """With `who` the error is robust to clusters (Liang and Zeger 1986)."""
    if who is None:
        return _interval(method, float(each.mean()), float(each.std(ddof=1) / math.sqrt(len(each))))
    together = np.bincount(who, weights=each - each.mean())
    together = together[np.bincount(who) > 0]
    many = len(together)
    error = math.sqrt(float((together**2).sum()) * many / (many - 1)) / len(each) if many > 1 else math.inf
    return _interval(method, float(each.mean()), error)


def _interval(method: str, value: float, error: float) -> Estimate:
    reach = float(stats.norm.ppf(0.975))
    return Estimate(method, value, value - reach * error, value + reach * error)
