"""How often customers will buy again, and for how much, where they leave without saying so.

BG/NBD (Fader, Hardie and Lee 2005): each buys at a rate of their own, drawn from a gamma distribution, and after each purchase leaves with
a chance of their own, drawn from a beta distribution. Gamma-gamma (Fader and Hardie 2013): an average purchase varies around a mean of
their own, whatever the rate.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.special import betaln, gammaln, hyp2f1

from nextbest.arrays import Floats

SHRINK = 1e-3
"""Ridge on the logarithms of the parameters: without it few customers leave a likelihood without a summit."""


@dataclass(frozen=True)
class Rhythm:
    """BG/NBD. Rates are gamma(r, alpha) a day, chances to leave beta(a, b)."""

    r: float
    alpha: float
    a: float
    b: float

    @classmethod
    def fitted(cls, repeats: Floats, last: Floats, age: Floats) -> "Rhythm":
        """By maximum likelihood. `repeats`: purchases after the first; `last`: days from the first to the last; `age`: days since the
        first. Shapes: (customers,)."""
        # Customers of the same history count as one: the likelihood costs as many rows as there are histories.
        histories, counts = np.unique(np.column_stack([repeats, last, age]), axis=0, return_counts=True)
        x, t, span = histories.T
        scale = max(float(span.mean()), 1.0)

        def loss(logs: Floats) -> float:
            r, alpha, a, b = np.exp(logs)
            each = _log_likelihood(x, t / scale, span / scale, r, alpha, a, b)
            return float(-(counts * each).sum() / counts.sum() + SHRINK * (logs**2).sum())

        starts = ([0.0, 0.0, 0.0, 0.0], [0.0, 1.0, -1.0, 1.0])
        best = min(
            (minimize(loss, np.array(start), method="L-BFGS-B", bounds=[(-8, 8)] * 4) for start in starts), key=lambda found: found.fun
        )
        r, alpha, a, b = np.exp(best.x)
        return cls(float(r), float(alpha * scale), float(a), float(b))

    def alive(self, repeats: Floats, last: Floats, age: Floats) -> Floats:
        """The probability that a customer has not left. Shape: (customers,)."""
        return np.asarray(1 / (1 + self._odds_gone(repeats, last, age)))

    def purchases(self, repeats: Floats, last: Floats, age: Floats, days: float) -> Floats:
        """Expected purchases in the next `days`. Shape: (customers,)."""
        r, alpha, b = self.r, self.alpha, self.b
        a = self.a if abs(self.a - 1) > 1e-6 else 1 + 1e-6  # the formula's limit at 1 exists, its terms do not
        grown = a + b + repeats - 1
        series = hyp2f1(r + repeats, b + repeats, grown, days / (alpha + age + days))
        kept = 1 - ((alpha + age) / (alpha + age + days)) ** (r + repeats) * series
        return np.asarray(np.maximum(grown / (a - 1) * kept, 0) * self.alive(repeats, last, age))

    def _odds_gone(self, repeats: Floats, last: Floats, age: Floats) -> Floats:
        ratio = ((self.alpha + age) / (self.alpha + last)) ** (self.r + repeats)
        return np.where(repeats > 0, self.a / np.maximum(self.b + repeats - 1, 1e-9) * ratio, 0.0)


def _log_likelihood(x: Floats, t: Floats, age: Floats, r: float, alpha: float, a: float, b: float) -> Floats:
    start = gammaln(r + x) - gammaln(r) + r * np.log(alpha) + betaln(a, b + x) - betaln(a, b)
    stayed = -(r + x) * np.log(alpha + age)
    left = np.where(x > 0, np.log(a) - np.log(np.maximum(b + x - 1, 1e-9)) - (r + x) * np.log(alpha + t), -np.inf)
    return np.asarray(start + np.logaddexp(stayed, left))


@dataclass(frozen=True)
class Spending:
    """Gamma-gamma: an average purchase is gamma(p, v), v is gamma(q, scale)."""

    p: float
    q: float
    scale: float

    @classmethod
    def fitted(cls, purchases: Floats, average: Floats) -> "Spending":
        """By maximum likelihood, over customers who bought more than once. `average`: money a purchase. Shapes: (customers,)."""
        several = (purchases > 1) & (average > 0)
        x, m = purchases[several], average[several]
        unit = float(m.mean()) if len(m) else 1.0

        def loss(logs: Floats) -> float:
            p, q, v = np.exp(logs)
            each = (
                gammaln(p * x + q) - gammaln(p * x) - gammaln(q) + q * np.log(v)
                + (p * x - 1) * np.log(m / unit) + p * x * np.log(x) - (p * x + q) * np.log(v + x * m / unit)
            )  # fmt: skip
            return -float(each.mean()) + SHRINK * float((logs**2).sum())

        best = minimize(loss, np.array([1.0, 1.0, 0.0]), method="L-BFGS-B", bounds=[(-5, 7)] * 3)
        p, q, v = np.exp(best.x)
        return cls(float(p), float(q), float(v * unit))

    def average(self, purchases: Floats, average: Floats) -> Floats:
        """Expected money a purchase: the customer's own average, drawn towards that of all where purchases are few. Shape: (customers,)."""
        return np.asarray(self.p * (self.scale + purchases * np.nan_to_num(average)) / (self.p * purchases + self.q - 1))


@dataclass(frozen=True)
class Model:
    """Both parts, and the days that they forecast."""

    rhythm: Rhythm
    spending: Spending
    ahead: float

    def forecast(self, frame: pd.DataFrame) -> pd.DataFrame:
        """alive, purchases and value of each row; columns of the frame: repeats, last, age, average. Who never bought is unknown."""
        x, last, age = (frame[name].to_numpy(np.float64, na_value=np.nan) for name in ("repeats", "last", "age"))
        bought = ~np.isnan(age) & (x >= 0)
        found = pd.DataFrame(np.nan, index=frame.index, columns=["alive", "purchases", "value"])
        history = x[bought], np.nan_to_num(last[bought]), age[bought]
        ahead = self.rhythm.purchases(*history, self.ahead)
        money = self.spending.average(history[0] + 1, frame.average.to_numpy(np.float64, na_value=np.nan)[bought])
        found.loc[bought, "alive"], found.loc[bought, "purchases"] = self.rhythm.alive(*history), ahead
        found.loc[bought, "value"] = ahead * money
        return found
