"""Experiments read out from sufficient statistics: any engine that can add up can feed them.

The grain of every table is one arm (of one segment). Intervals are two-sided at 1 - alpha.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

from nextbest.measure.randomisation import mismatch

ALPHA, POWER = 0.05, 0.8
"""Conventions of the field: 95% intervals, four in five real effects found."""


@dataclass(frozen=True)
class Arm:
    """Customers of one arm: how many, sum and sum of squares of the outcome, and the same of a covariate from before the start.

    For an outcome of yes and no the sum of squares is the sum.
    """

    n: int
    sum: float
    sum_squares: float
    covariate: float = 0.0
    covariate_squares: float = 0.0
    products: float = 0.0

    @property
    def mean(self) -> float:
        """Of the outcome."""
        return self.sum / self.n

    @property
    def variance(self) -> float:
        """Of the outcome, with n - 1."""
        return max((self.sum_squares - self.sum**2 / self.n) / (self.n - 1), 0.0)

    @property
    def possible(self) -> bool:
        """Whether some customers can have such sums: all finite, and the mean square no less than the square of the mean."""
        return all(map(math.isfinite, vars(self).values())) and self.sum_squares * self.n >= self.sum**2 * (1 - 1e-9)

    def __add__(self, other: "Arm") -> "Arm":
        mine, theirs = vars(self), vars(other)
        return Arm(**{name: mine[name] + theirs[name] for name in mine})


@dataclass(frozen=True)
class Effect:
    """A difference of means and its interval; `relative` is against the control's mean. `p` is of the fixed-sample test."""

    difference: float
    low: float
    high: float
    relative: float
    relative_low: float
    relative_high: float
    p: float

    @property
    def clear(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Reading:
    """One treatment against control: `fixed` holds if it was looked at once, as planned; `anytime` however often it was looked at.

    `anytime` needs the planned size, which must stay the same from look to look: without one there is none.
    """

    fixed: Effect
    anytime: Effect | None
    cuped: Effect | None
    variance_saved: float


@dataclass(frozen=True)
class Guarded:
    """A figure that must not get worse: with a `limit` above 0 it may rise by so much at most, below 0 fall by so much.

    Each guardrail must be kept by itself, so that `kept` needs no adjustment for several (an intersection-union test). Of several that
    stand at their limit exactly, each is called broken once in forty.
    """

    limit: float
    effect: Effect

    @property
    def verdict(self) -> Literal["kept", "broken", "open"]:
        """Kept where the whole interval lies within the limit, broken where all of it lies beyond; else nobody can tell yet."""
        if self.effect.low == self.effect.high:
            return "open"  # all alike in both arms: nothing says how far it may stray
        side = math.copysign(1, self.limit)
        near, far = sorted((side * self.effect.low, side * self.effect.high))
        return "kept" if far <= abs(self.limit) else "broken" if near > abs(self.limit) else "open"


def sample_size(rate: float, lift: float, *, alpha: float = ALPHA, power: float = POWER, share: float = 0.5) -> int:
    """Customers in both arms together to find a relative `lift` of a yes-or-no `rate`; `share` of them are treated.

    Normal approximation with unpooled variances (Fleiss, Levin and Paik 2003, §4.2, without the continuity correction).
    """
    treated = rate * (1 + lift)
    if not (0 < rate < 1 and 0 < treated < 1 and lift != 0 and 0 < share < 1):
        raise ValueError("rate and rate × (1 + lift) lie between 0 and 1, lift is not 0, share lies between 0 and 1")
    reach = float(stats.norm.ppf(1 - alpha / 2) + stats.norm.ppf(power))
    spread = rate * (1 - rate) / (1 - share) + treated * (1 - treated) / share
    return math.ceil((reach / (treated - rate)) ** 2 * spread)


def detectable(rate: float, customers: int, *, alpha: float = ALPHA, power: float = POWER, share: float = 0.5) -> float:
    """The smallest relative lift that so many customers find with this power (both arms together)."""
    reach = float(stats.norm.ppf(1 - alpha / 2) + stats.norm.ppf(power))
    difference = 0.0
    for _ in range(50):  # the treated arm's variance depends on the lift itself
        treated = min(rate + difference, 1 - 1e-9)
        difference = reach * math.sqrt((rate * (1 - rate) / (1 - share) + treated * (1 - treated) / share) / customers)
    return difference / rate


def read(control: Arm, treated: Arm, *, alpha: float = ALPHA, planned: int | None = None) -> Reading:
    """The effect of a treatment. `planned`: customers expected in all, fixed beforehand; there the anytime-valid interval is narrowest.

    Raises ValueError where an arm has fewer than two customers.
    """
    if min(control.n, treated.n) < 2:
        raise ValueError("each arm needs two customers or more")
    fixed = _effect(control.mean, treated.mean, _error(control), _error(treated), stats.norm.ppf(1 - alpha / 2))
    anytime = None
    if planned:
        reach = _anytime_reach(control.n + treated.n, planned, alpha)
        anytime = _effect(control.mean, treated.mean, _error(control), _error(treated), reach)
    cuped, saved = None, 0.0
    if control.covariate_squares + treated.covariate_squares > 0:
        (first, second), saved = _cuped(control, treated)
        cuped = _effect(control.mean, control.mean + second[0] - first[0], first[1], second[1], stats.norm.ppf(1 - alpha / 2))
    return Reading(fixed, anytime, cuped, saved)


def _error(arm: Arm) -> float:
    return math.sqrt(arm.variance / arm.n)


def _effect(base: float, treated: float, error_base: float, error_treated: float, reach: float) -> Effect:
    difference, error = treated - base, math.hypot(error_base, error_treated)
    p = float(2 * stats.norm.sf(abs(difference) / error)) if error else float(difference == 0)
    if base == 0:
        return Effect(difference, difference - reach * error, difference + reach * error, math.nan, math.nan, math.nan, p)
    relative = treated / base - 1  # its error by the delta method
    relative_error = math.hypot(error_treated / base, treated * error_base / base**2)
    return Effect(
        difference,
        difference - reach * error,
        difference + reach * error,
        relative,
        relative - reach * relative_error,
        relative + reach * relative_error,
        p,
    )


def _anytime_reach(seen: int, planned: int, alpha: float) -> float:
    """Standard errors to each side of an asymptotic confidence sequence: it holds at all looks together.

    Normal mixture (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2024, "Time-uniform central limit theory and asymptotic
    confidence sequences", theorem 2.2 and its tuning for a planned size).
    """
    width = (-2 * math.log(alpha) + math.log(-2 * math.log(alpha) + 1)) / planned
    grown = seen * width
    return math.sqrt(2 * (grown + 1) / grown * math.log(math.sqrt(grown + 1) / alpha))


def _cuped(control: Arm, treated: Arm) -> tuple[tuple[tuple[float, float], tuple[float, float]], float]:
    """Means and errors of the outcome less what the covariate foretold (Deng, Xu, Kohavi and Walker 2013)."""

    def centred(arm: Arm) -> tuple[float, float]:
        return arm.covariate_squares - arm.covariate**2 / arm.n, arm.products - arm.covariate * arm.sum / arm.n

    spreads, together = zip(centred(control), centred(treated), strict=True)
    theta = sum(together) / sum(spreads) if sum(spreads) > 0 else 0.0
    adjusted, before, after = [], 0.0, 0.0
    for arm, spread, product in zip((control, treated), spreads, together, strict=True):
        variance = max(arm.variance - (2 * theta * product - theta**2 * spread) / (arm.n - 1), 0.0)
        adjusted.append((arm.mean - theta * arm.covariate / arm.n, math.sqrt(variance / arm.n)))
        before, after = before + arm.variance / arm.n, after + variance / arm.n
    return (adjusted[0], adjusted[1]), 1 - after / before if before else 0.0


def holm(p: Sequence[float]) -> list[float]:
    """p-values of several comparisons, adjusted so that one false alarm among all stays at alpha (Holm 1979)."""
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(np.array(p)[order] * (len(p) - np.arange(len(p))))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(stepped, 1.0)
    return [float(value) for value in adjusted]


def shrunken(effects: Mapping[str, Effect], alpha: float = ALPHA) -> dict[str, tuple[float, float, float]]:
    """Effects of segments drawn towards their common mean, as far as their spread may be noise: effect, low, high.

    Empirical Bayes with the spread of DerSimonian and Laird (1986). A segment without any spread (nobody bought) says nothing of
    its own error and is left out.
    """
    reach = float(stats.norm.ppf(1 - alpha / 2))
    names = [name for name, effect in effects.items() if effect.high > effect.low]
    value = np.array([effects[name].difference for name in names])
    variance = np.array([((effects[name].high - effects[name].low) / (2 * reach)) ** 2 for name in names])
    if not names:
        return {}
    weight = 1 / variance
    mean = (weight * value).sum() / weight.sum()
    excess = (weight * (value - mean) ** 2).sum() - (len(names) - 1)
    spread = max(excess / (weight.sum() - (weight**2).sum() / weight.sum()), 0.0) if len(names) > 1 else 0.0
    mean = (value / (variance + spread)).sum() / (1 / (variance + spread)).sum()
    trust = spread / (spread + variance)
    drawn = trust * value + (1 - trust) * mean
    error = np.sqrt(trust * variance + (1 - trust) ** 2 / (1 / (variance + spread)).sum())
    return {name: (float(v), float(v - reach * e), float(v + reach * e)) for name, v, e in zip(names, drawn, error, strict=True)}


def sample_ratio(arms: Mapping[str, int], shares: Mapping[str, float]) -> float:
    """The p-value of a chi-squared test that the arms have their shares. A tiny one says that customers were lost on the way."""
    total, planned = sum(arms.values()), sum(shares.values())
    if len(arms) == 2:
        first = next(iter(arms))
        return mismatch(arms[first], total, shares[first] / planned)
    expected = [shares[name] / planned * total for name in arms]
    return float(stats.chisquare(list(arms.values()), expected).pvalue)
