"""Segments: how the customers of a group differ from the rest, which groups overlap, and groups found in the data.

What is found on one half of the customers is measured on the other: a group chosen because it looks good looks good by chance too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, silhouette_score
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeRegressor

from nextbest.arrays import Floats
from nextbest.measure.experiments import holm
from nextbest.measure.ranking import Figure

LEVEL = 0.95
DEPTH, SMALLEST = 3, 0.05
"""Of the tree that finds rules: conditions one after the other; share of customers below which a group is not looked at."""
CLUSTERS, REDRAWS = range(2, 9), 10
"""Numbers of clusters tried; bootstrap samples by which their stability is measured."""
STABLE = 0.8
"""Adjusted Rand index from which on clusters are the same whoever happens to be in the data (Hennig 2007 takes 0.75–0.85)."""
APART = 0.25
"""Silhouette below which there is no substantial structure (Kaufman and Rousseeuw 1990)."""


@dataclass(frozen=True)
class Difference:
    """A feature, or one value of it, inside a segment and in the rest; the difference with its interval. p is adjusted (Holm)."""

    feature: str
    value: str | None
    inside: float
    outside: float
    low: float
    high: float
    size: float
    p: float

    @property
    def beyond_chance(self) -> bool:
        """Whether so large a difference would seldom come about by chance."""
        return self.p < 1 - LEVEL


@dataclass(frozen=True)
class Condition:
    """One condition of a rule: a number at most or above a bound, or a word that is or is not so."""

    feature: str
    sign: str
    bound: float | str


@dataclass(frozen=True)
class Found:
    """A group found by a tree: its conditions, and what the other half of the customers shows of it."""

    conditions: tuple[Condition, ...]
    share: float
    mean: Figure


@dataclass(frozen=True)
class Clusters:
    """Groups of like customers. `stability`: mean adjusted Rand index against clusters of bootstrap samples; 1 is the same.
    `silhouette`: how far apart they are, -1 to 1: one cloud can be cut in two stably, and is still one cloud."""

    labels: npt.NDArray[np.int64]
    centres: pd.DataFrame
    stability: float
    silhouette: float

    @property
    def real(self) -> bool:
        """Whether they would come out again, and stand apart."""
        return self.stability >= STABLE and self.silhouette >= APART


def mean(values: Floats) -> Figure:
    """The mean of what is known, with a t-interval."""
    known = values[~np.isnan(values)]
    if len(known) < 2:
        value = float(known.mean()) if len(known) else float("nan")
        return Figure(value, float("nan"), float("nan"))
    error = known.std(ddof=1) / np.sqrt(len(known))
    reach = float(stats.t.ppf((1 + LEVEL) / 2, len(known) - 1) * error)
    return Figure(float(known.mean()), float(known.mean()) - reach, float(known.mean()) + reach)


def profile(frame: pd.DataFrame, inside: npt.NDArray[np.bool_]) -> list[Difference]:
    """Every feature inside against outside, the largest first (in standard deviations). Numbers by Welch's interval; of words each
    value's share. Features that are all alike or unknown on either side are left out."""
    found: list[Difference] = []
    for name in frame.columns:
        column = frame[name]
        if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
            parts: list[tuple[str | None, Floats]] = [(None, column.to_numpy(np.float64, na_value=np.nan))]
        else:
            parts = [(str(value), (column == value).to_numpy(np.float64)) for value in sorted(column.dropna().unique())]
        for value, numbers in parts:
            if (difference := _difference(name, value, numbers[inside], numbers[~inside])) is not None:
                found.append(difference)
    adjusted = holm([item.p for item in found])
    return sorted((Difference(**{**vars(item), "p": p}) for item, p in zip(found, adjusted, strict=True)), key=lambda item: -abs(item.size))


def _difference(feature: str, value: str | None, inside: Floats, outside: Floats) -> Difference | None:
    inside, outside = inside[~np.isnan(inside)], outside[~np.isnan(outside)]
    if min(len(inside), len(outside)) < 2:
        return None
    spread = float(np.sqrt((inside.var(ddof=1) + outside.var(ddof=1)) / 2))
    parts = inside.var(ddof=1) / len(inside), outside.var(ddof=1) / len(outside)
    error = float(np.sqrt(sum(parts)))
    if error <= 1e-12 * float(np.abs(inside).max() + np.abs(outside).max()):  # all alike but for the last digits
        return None
    # Welch 1947: the degrees of freedom of two unlike variances.
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / (len(inside) - 1) + parts[1] ** 2 / (len(outside) - 1))
    apart = float(inside.mean() - outside.mean())
    reach = float(stats.t.ppf((1 + LEVEL) / 2, freedom)) * error
    p = 2 * float(stats.t.sf(abs(apart) / error, freedom))
    return Difference(feature, value, float(inside.mean()), float(outside.mean()), apart - reach, apart + reach, apart / spread, p)


def overlap(members: pd.DataFrame) -> pd.DataFrame:
    """Segments × segments: customers in both as a share of those in either (Jaccard)."""
    table = members.to_numpy(np.float64)
    both = table.T @ table
    either = both.diagonal()[:, None] + both.diagonal()[None, :] - both
    return pd.DataFrame(np.divide(both, either, out=np.zeros_like(both), where=either > 0), members.columns, members.columns)


def half(count: int, seed: int) -> npt.NDArray[np.bool_]:
    """The half of the customers on which rules are found. Shape: (customers,)."""
    return np.asarray(np.random.default_rng(seed).permutation(count) % 2 == 0)


def rules(frame: pd.DataFrame, target: Floats, least: int, seed: int) -> list[Found]:
    """Where the target is concentrated, as readable rules of at most three conditions, the highest first. Found on one half of the
    customers of whom it is known, measured on the other; told where the mean there lies above that of all, beyond its interval.
    `least`: customers of a group on either half."""
    coded, meaning = _coded(frame)
    known, learned = ~np.isnan(target), half(len(frame), seed)
    found_on, measured_on = known & learned, known & ~learned
    smallest = max(int(SMALLEST * found_on.sum()), least)
    if not meaning or min(found_on.sum(), measured_on.sum()) < 2 * smallest:
        return []
    tree = DecisionTreeRegressor(max_depth=DEPTH, min_samples_leaf=smallest, random_state=seed)
    tree.fit(coded[found_on], target[found_on])
    rest, values = frame[measured_on], target[measured_on]
    found = []
    for conditions in _paths(tree, meaning).values():
        rows = np.logical_and.reduce([_holds(rest[item.feature], item) for item in conditions] or [np.zeros(len(rest), dtype=bool)])
        if rows.sum() >= least:
            found.append(Found(conditions, float(rows.mean()), mean(values[rows])))
    return sorted((item for item in found if item.mean.low > float(values.mean())), key=lambda item: -item.mean.value)


def _holds(column: "pd.Series[Any]", condition: Condition) -> npt.NDArray[np.bool_]:
    """What is unknown fulfils no condition, as in a rule of the playbook."""
    if isinstance(condition.bound, str):
        same = (column == condition.bound).to_numpy(bool)
        return np.asarray(same if condition.sign == "=" else ~same & column.notna().to_numpy(bool))
    numbers = column.to_numpy(np.float64, na_value=np.nan)
    return np.asarray(numbers <= condition.bound if condition.sign == "<=" else numbers > condition.bound)


def _coded(frame: pd.DataFrame) -> tuple[Floats, list[tuple[str, str | None]]]:
    """Numbers as they are, unknown as the median; each word as a column of its own. With what each column means."""
    columns: list[Floats] = []
    meaning: list[tuple[str, str | None]] = []
    for name in frame.columns:
        column = frame[name]
        if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
            numbers = column.to_numpy(np.float64, na_value=np.nan)
            known = numbers[~np.isnan(numbers)]
            if len(known):
                columns.append(np.where(np.isnan(numbers), np.median(known), numbers))
                meaning.append((name, None))
        else:
            for value in sorted(column.dropna().unique()):
                columns.append((column == value).to_numpy(np.float64))
                meaning.append((name, str(value)))
    return np.column_stack(columns) if columns else np.zeros((len(frame), 0)), meaning


def _paths(tree: DecisionTreeRegressor, meaning: Sequence[tuple[str, str | None]]) -> dict[int, tuple[Condition, ...]]:
    """Leaf → its conditions; of two bounds of one side the tighter."""
    nodes, found = tree.tree_, {}

    def walk(node: int, path: dict[tuple[str, str, str | None], Condition]) -> None:
        left, right = nodes.children_left[node], nodes.children_right[node]
        if left == right:
            found[node] = tuple(path.values())
            return
        name, value = meaning[nodes.feature[node]]
        bound = float(f"{nodes.threshold[node]:.6g}")
        for child, sign, word in ((left, "<=", "<>"), (right, ">", "=")):
            step = Condition(name, sign, bound) if value is None else Condition(name, word, value)
            walk(child, {**path, (name, step.sign, value): step})

    walk(0, {})
    return found


def clusters(frame: pd.DataFrame, seed: int) -> Clusters | None:
    """Groups of like customers over the numbers of the frame (k-means on standardised numbers, as many as have the best silhouette),
    with their stability. None where there are too few customers or
    numbers, or where every cut leaves a group of a few."""
    numbers = frame.select_dtypes("number").dropna(axis=1, how="all")
    numbers = numbers.loc[:, numbers.nunique() > 1]
    if len(frame) < 100 or numbers.shape[1] < 2:
        return None
    scaled = StandardScaler().fit_transform(numbers.fillna(numbers.median()))
    tried = {count: _clustered(scaled, count, seed) for count in CLUSTERS}
    large = {count: model for count, model in tried.items() if np.bincount(model.labels_).min() >= SMALLEST * len(scaled)}
    if not large:
        return None
    sample = min(2000, len(scaled))
    scores = {
        count: float(silhouette_score(scaled, model.labels_, sample_size=sample, random_state=seed)) for count, model in large.items()
    }
    best = max(scores, key=lambda count: scores[count])
    model, chance = tried[best], np.random.default_rng(seed)
    again = []
    for redraw in range(REDRAWS):
        rows = chance.integers(0, len(scaled), len(scaled))
        again.append(adjusted_rand_score(model.labels_, _clustered(scaled[rows], best, seed + redraw + 1).predict(scaled)))
    centres = numbers.groupby(model.labels_).mean()
    return Clusters(model.labels_.astype(np.int64), centres, float(np.mean(again)), scores[best])


def _clustered(scaled: Floats, count: int, seed: int) -> KMeans:
    return KMeans(count, n_init=5, random_state=seed).fit(scaled)
