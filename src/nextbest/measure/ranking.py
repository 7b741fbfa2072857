"""How good a ranking is, customer by customer, and how sure that is: intervals by bootstrap over customers.

NDCG with binary gains (Järvelin and Kekäläinen 2002); average precision at k is divided by min(k, number taken). A customer who
took nothing counts 0 in both, whatever the ranking: so even a perfect one stays below 1 in the mean.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.metrics import roc_auc_score

from nextbest.arrays import Floats

REDRAWS, LEVEL = 400, 0.95


@dataclass(frozen=True)
class Figure:
    """A figure and its interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4f} ({self.low:.4f} to {self.high:.4f})"


def by_customer(customer: npt.ArrayLike, score: Floats, taken: Floats, k: int) -> pd.DataFrame:
    """NDCG, average precision and recall at k. Grain: one customer, in the order of their codes. Ties stand in the order given."""
    table = pd.DataFrame({"customer": customer, "score": score, "taken": taken})
    table = table.sort_values(["customer", "score"], ascending=[True, False], kind="stable")
    group = table.groupby("customer", sort=True)
    place = group.cumcount().to_numpy() + 1
    hits = group.taken.cumsum().to_numpy()
    first = place <= k
    table["gain"] = np.where(first, table.taken / np.log2(place + 1), 0.0)
    table["precision"] = np.where(first, table.taken * hits / place, 0.0)
    table["found"] = np.where(first, table.taken, 0.0)
    sums = table.groupby("customer", sort=True)[["gain", "precision", "found", "taken"]].sum()
    best = np.concatenate([[1.0], np.cumsum(1 / np.log2(np.arange(k) + 2))])[np.minimum(sums.taken, k).astype(int)]
    most = np.maximum(np.minimum(sums.taken, k), 1)
    return pd.DataFrame(
        {"ndcg": sums.gain / best, "map": sums.precision / most, "recall": sums.found / np.maximum(sums.taken, 1)}, index=sums.index
    )


def interval(values: Floats, seed: int) -> Figure:
    """The mean over customers, with a bootstrap interval."""
    chance = np.random.default_rng(seed)
    drawn = [values[chance.integers(0, len(values), len(values))].mean() for _ in range(REDRAWS)]
    return _figure(float(values.mean()), np.array(drawn))


def weighted_interval(customer: npt.ArrayLike, figure: Callable[[Floats], float], seed: int, redraws: int = 200) -> Figure:
    """A figure over rows, with a bootstrap over customers: `figure` takes the rows' weights."""
    codes, people = pd.factorize(np.asarray(customer))
    chance = np.random.default_rng(seed)
    drawn = [figure(np.bincount(chance.integers(0, len(people), len(people)), minlength=len(people))[codes] * 1.0) for _ in range(redraws)]
    return _figure(figure(np.ones(len(codes))), np.array(drawn))


def _figure(value: float, drawn: Floats) -> Figure:
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Figure(value, float(low), float(high))


def auc(taken: Floats, score: Floats) -> Callable[[Floats], float]:
    """The chance that a taken pair stands above one that was not, as a figure over weights."""
    return lambda weights: float(roc_auc_score(taken, score, sample_weight=weights))


def log_loss(taken: Floats, probability: Floats) -> Callable[[Floats], float]:
    """Mean negative log-likelihood, as a figure over weights."""
    clipped = np.clip(probability, 1e-12, 1 - 1e-12)
    each = -(taken * np.log(clipped) + (1 - taken) * np.log(1 - clipped))
    return lambda weights: float(np.average(each, weights=weights))


def calibration(taken: Floats, probability: Floats, bins: int = 10) -> pd.DataFrame:
    """Forecast and answers in bins of like size. Grain: one bin; columns forecast, taken, rows."""
    order = np.argsort(probability, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    rows = [(float(probability[part].mean()), float(taken[part].mean()), len(part)) for part in parts]
    return pd.DataFrame(rows, columns=["forecast", "taken", "rows"])


def calibration_error(taken: Floats, probability: Floats, bins: int = 10) -> float:
    """Mean distance of forecast and answers over bins of like size (ECE)."""
    table = calibration(taken, probability, bins)
    return float(np.average(abs(table.forecast - table.taken), weights=table.rows))


def excess_calibration_error(taken: Floats, probability: Floats, seed: int, redraws: int = 50) -> float:
    """The error less what answers drawn by the forecast itself would show: noise alone makes ten bins differ. 0 at least."""
    chance = np.random.default_rng(seed)
    true = [calibration_error(np.asarray(chance.random(len(taken)) < probability, dtype=np.float64), probability) for _ in range(redraws)]
    return max(calibration_error(taken, probability) - float(np.mean(true)), 0.0)


def spread(product: npt.ArrayLike, customer: npt.ArrayLike, score: Floats, k: int, products: int) -> dict[str, float]:
    """Coverage: share of products that stand in someone's first k. Diversity: how evenly, 1 where all stand there alike often."""
    table = pd.DataFrame({"customer": customer, "product": product, "score": score})
    table = table.sort_values(["customer", "score"], ascending=[True, False], kind="stable")
    first = table[table.groupby("customer").cumcount() < k]["product"].value_counts(normalize=True)
    entropy = float(-(first * np.log(first)).sum())
    return {"coverage": len(first) / products, "diversity": entropy / float(np.log(products)) if products > 1 else 1.0}
