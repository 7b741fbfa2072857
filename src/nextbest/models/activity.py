"""Whose activity will fall: a small honest search over families, calibrated, with an interval and sampled Shapley values for reasons.

Codes are never features; they only order the rows, so that the same customers make the same folds whatever order a file has. Exact copies
of a row (the same features and label) stay in one fold, so that none is learned by heart. Cleaning (what is unknown, scales, words) is
fitted inside folds.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import isotonic_regression
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.svm import SVC

from nextbest.arrays import Floats
from nextbest.models.base import log_odds
from nextbest.models.calibration import Calibration, chosen, clearly_less, log_losses
from nextbest.models.seen import row_hashes
from nextbest.models.two_groups import TwoGroups

FAMILIES: dict[str, list[dict[str, Any]]] = {
    "linear": [{"C": 0.1}, {"C": 1.0}],
    "svm": [{"C": 0.5}, {"C": 2.0}],
    "extra_trees": [{"min_samples_leaf": 1, "max_features": 0.5}, {"min_samples_leaf": 3, "max_features": 0.7}],
    "boosting": [{"max_leaf_nodes": 4}, {"max_leaf_nodes": 8}],
    "two_groups": [{"shrink": 0.3}],
}
"""Family → the settings tried."""
BLENDS: dict[str, dict[str, float]] = {
    "blend": {"linear": 1 / 3, "svm": 1 / 3, "extra_trees": 1 / 3},
    "blend_of_groups": {"two_groups": 0.8, "svm": 0.1, "extra_trees": 0.1},
}
"""Blend → the weight of each family's log-odds, with its best setting. A line, a margin, trees and groups err in different places."""
TREES, INNER, GRID = 400, 5, 201
MOST = 1e30
"""No number is larger: trees count in single precision."""
DRAWS = 24
"""Orders of features, each beside one customer of the background, from which a customer's reasons are averaged."""


@dataclass(frozen=True)
class Table:
    """Customers with features, one row each. `falls` is 1 or 0, empty where it is not known."""

    frame: pd.DataFrame
    numbers: tuple[str, ...]
    words: tuple[str, ...]
    falls: Floats = field(default_factory=lambda: np.zeros(0))

    @property
    def features(self) -> pd.DataFrame:
        """Numbers as doubles, none larger than MOST, words as text ('' where unknown)."""
        numbers = {name: pd.to_numeric(self.frame[name]).astype(float).clip(-MOST, MOST) for name in self.numbers}
        words = {name: self.frame[name].astype(object).where(self.frame[name].notna(), "").astype(str) for name in self.words}
        return pd.DataFrame({**numbers, **words})

    def rows(self, where: npt.NDArray[Any]) -> "Table":
        """Only these rows."""
        return Table(self.frame.iloc[where].reset_index(drop=True), self.numbers, self.words, self.falls[where])

    def copies(self) -> npt.NDArray[np.int64]:
        """A number per row, the same for exact copies. Shape: (rows,)."""
        same = self.features.assign(falls_=self.falls)
        return np.asarray(same.groupby(list(same.columns), dropna=False, sort=False).ngroup(), dtype=np.int64)


def folds(table: Table, count: int, seed: int) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Stratified folds that keep copies together: rows learned from, rows judged."""
    cut = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    yield from cut.split(table.frame, table.falls, table.copies())


Parts = list[tuple[float, Pipeline]]
"""Pipelines of scikit-learn, each with the weight of its log-odds."""


@dataclass
class Model:
    """A fitted family with its calibration. `parts`: scikit-learn pipelines, each with the weight of its log-odds.

    `seen`: hashes of the rows that it learned from → log-odds by models that had not seen them. Of such a row it repeats those:
    trees know their own rows by heart, and a customer of the training would look far surer than one like them who was not in it.
    """

    family: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    parts: Parts = field(default_factory=list)
    scale: Calibration | None = None
    grid: list[list[float]] = field(default_factory=list)
    background: pd.DataFrame = field(default_factory=pd.DataFrame)
    seen: "pd.Series[float]" = field(default_factory=lambda: pd.Series(dtype=float))

    @classmethod
    def fitted(cls, table: Table, seed: int, families: dict[str, list[dict[str, Any]]] | None = None) -> "Model":
        """Choose a family or a blend by log-loss across inner folds, calibrate by the same folds' forecasts, fit on all rows."""
        best: dict[str, tuple[Floats, dict[str, Any], Floats]] = {}
        for family, settings in (families or FAMILIES).items():
            for setting in settings:
                odds, fold = _across(family, setting, table, seed)
                loss = _crossed_loss(odds, table.falls, fold)
                if family not in best or loss.mean() < best[family][0].mean():
                    best[family] = loss, setting, odds
        for blend, weights in BLENDS.items():
            if best.keys() >= weights.keys():
                odds = np.asarray(sum(weight * best[family][2] for family, weight in weights.items()))
                best[blend] = _crossed_loss(odds, table.falls, fold), {family: best[family][1] for family in weights}, odds
        family = _chosen({name: loss for name, (loss, _, _) in best.items()})
        _, setting, odds = best[family]
        model = cls(family, setting, fit(family, setting, table, seed), chosen(odds, table.falls, fold, are_odds=True))
        model.grid = _venn_abers(odds, table.falls)
        some = np.random.default_rng(seed).permutation(len(table.frame))[:200]
        model.seen = pd.Series(odds, index=row_hashes(table.features)).groupby(level=0).mean()
        model.background = table.features.iloc[np.sort(some)].reset_index(drop=True)
        return model

    @property
    def leans_on(self) -> list[str]:
        """The features of which something was known when it learned; a word that is not known is ''."""
        known = self.background.notna() & (self.background != "")
        return [str(name) for name in self.background if known[name].any()]

    def odds(self, features: pd.DataFrame) -> Floats:
        """Log-odds before calibration, as of rows that were not learned from. Shape: (rows,)."""
        honest = self.seen.reindex(row_hashes(features)).to_numpy(np.float64)
        return np.where(np.isnan(honest), odds_of(self.parts, features), honest)

    def probability(self, features: pd.DataFrame) -> Floats:
        """Calibrated. Shape: (rows,)."""
        assert self.scale is not None
        return self.scale.probability(self.odds(features))

    def fresh(self, features: pd.DataFrame) -> Floats:
        """Calibrated, as the fitted parts give it, learned from or not. Shape: (rows,)."""
        assert self.scale is not None
        return self.scale.probability(odds_of(self.parts, features))

    def interval(self, features: pd.DataFrame, probability: Floats) -> tuple[Floats, Floats]:
        """Two probabilities between which a calibrated one lies (Venn–Abers, Vovk and Petej 2014), widened to hold the forecast."""
        at, low, high = np.array(self.grid)
        score = self.odds(features)
        return np.minimum(np.interp(score, at, low), probability), np.maximum(np.interp(score, at, high), probability)

    def reasons(self, features: pd.DataFrame, seed: int) -> pd.DataFrame:
        """What each feature adds to the calibrated log-odds that the fitted parts give, beside the background. Shape: (rows, features).

        Shapley values by sampled orders (Štrumbelj and Kononenko 2014): features are taken over one by one from a customer of the
        background, so that each order adds up exactly to the difference between the two.
        """
        chance, names = np.random.default_rng(seed), list(features.columns)
        found = pd.DataFrame(0.0, index=features.index, columns=names)
        orders = [order for _ in range(DRAWS // 2) for order in _both_ways(chance.permutation(len(names)))]
        for order in orders:
            # One customer of the background for all: the same customer gets the same reasons in any file.
            current = self.background.iloc[[chance.integers(0, len(self.background))] * len(features)].set_axis(features.index)
            steps = [current]
            for place in order:
                current = current.assign(**{names[place]: features[names[place]]})
                steps.append(current)
            odds = log_odds(self.fresh(pd.concat(steps, ignore_index=True))).reshape(len(steps), len(features))
            for step, place in enumerate(order):
                found[names[place]] += (odds[step + 1] - odds[step]) / DRAWS
        return found


def _both_ways(order: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
    """An order and its reverse: together they vary less."""
    return [order, order[::-1]]


def _pipeline(family: str, setting: dict[str, Any], table: Table, seed: int) -> Pipeline:
    makers: dict[str, Any] = {
        "linear": lambda: (_flat(table), LogisticRegression(max_iter=1000, **setting)),
        "svm": lambda: (_flat(table), SVC(gamma="auto", **setting)),
        "extra_trees": lambda: (_flat(table), ExtraTreesClassifier(TREES, random_state=seed, n_jobs=-1, **setting)),
        "boosting": lambda: (
            _flat(table),
            HistGradientBoostingClassifier(
                max_iter=150, learning_rate=0.05, min_samples_leaf=15, l2_regularization=5, random_state=seed, **setting
            ),
        ),
        "two_groups": lambda: (_coded(table), TwoGroups(len(table.numbers), **setting)),
    }
    return make_pipeline(*makers[family]())


def _flat(table: Table) -> ColumnTransformer:
    """Numbers on one scale, a column for what is unknown of each, and a column for each word."""
    numbers = make_pipeline(SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True), StandardScaler())
    return make_column_transformer(
        (numbers, list(table.numbers)), (OneHotEncoder(handle_unknown="ignore", sparse_output=False), list(table.words))
    )


def _coded(table: Table) -> ColumnTransformer:
    """Numbers as they are, the middle one where unknown, and a code for each word."""
    return make_column_transformer(
        (SimpleImputer(strategy="median", keep_empty_features=True), list(table.numbers)),
        (OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), list(table.words)),
    )


def fit(family: str, setting: dict[str, Any], table: Table, seed: int) -> Parts:
    """The parts of a family, or of a blend, fitted on all rows of a table."""
    weights, settings = (BLENDS[family], setting) if family in BLENDS else ({family: 1.0}, {family: setting})
    fitted = [(weight, _pipeline(name, settings[name], table, seed).fit(table.features, table.falls)) for name, weight in weights.items()]
    for _, part in fitted:
        if hasattr(part[-1], "n_jobs"):
            part[-1].n_jobs = 1  # threads add up the trees in any order: the last digit would change from run to run
    return fitted


def odds_of(parts: Parts, features: pd.DataFrame) -> Floats:
    """Weighted log-odds of the parts, not calibrated. Shape: (rows,)."""
    found = np.zeros(len(features))
    for weight, part in parts:
        if hasattr(part[-1], "predict_proba") and not isinstance(part[-1], SVC):
            share = part.predict_proba(features)[:, 1]
            found += weight * np.clip(log_odds(share), -5, 5)  # trees may all agree: no reason for certainty
        else:
            found += weight * 2 * part.decision_function(features)  # a margin of 1 is about e² to 1
    return found


def _across(family: str, setting: dict[str, Any], table: Table, seed: int) -> tuple[Floats, Floats]:
    """Log-odds of every row by models that did not see it, and the row's fold."""
    odds, fold = np.zeros(len(table.frame)), np.zeros(len(table.frame))
    for place, (learned, judged) in enumerate(folds(table, INNER, seed)):
        odds[judged] = odds_of(fit(family, setting, table.rows(learned), seed), table.features.iloc[judged])
        fold[judged] = place
    return odds, fold


def _chosen(losses: dict[str, Floats]) -> str:
    """The family of least loss; but the better blend, unless one is better than it by more than the error of their difference.

    Of families that do as well as each other the least loss is luck, and a blend of them does better than the luckiest.
    """
    least, *_ = order = sorted(losses, key=lambda family: float(losses[family].mean()))
    blend = next((family for family in order if family in BLENDS), least)
    return least if clearly_less(losses[least], losses[blend]) else blend


def _crossed_loss(odds: Floats, falls: Floats, fold: Floats) -> Floats:
    """Log-loss of each row, where each fold's scale is learned on the others. Shape: (rows,)."""
    loss = np.zeros(len(odds))
    for held_back in np.unique(fold):
        own = fold == held_back
        scale = chosen(odds[~own], falls[~own], fold[~own], are_odds=True)
        loss[own] = log_losses(falls[own], scale.probability(odds[own]))
    return loss


def _venn_abers(odds: Floats, falls: Floats) -> list[list[float]]:
    """Scores, and the lower and upper probability at each."""
    at = np.linspace(odds.min(), odds.max(), GRID)
    bounds = [np.maximum.accumulate([_stairs(np.append(odds, score), np.append(falls, label)) for score in at]) for label in (0.0, 1.0)]
    return [at.tolist(), *(bound.tolist() for bound in bounds)]


def _stairs(odds: Floats, falls: Floats) -> float:
    """What isotonic regression of these rows says of the last of them."""
    _, level, rows = np.unique(odds, return_inverse=True, return_counts=True)
    return float(isotonic_regression(np.bincount(level, falls) / rows, weights=rows).x[level[-1]])
