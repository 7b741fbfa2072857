"""Uplift: what an offer changes, not what happens anyway. Learners of the effect of one treatment against control.

S: one model with the treatment as a feature. T: a model for each arm. X: T, then models of the effects it implies (Künzel et al.
2019). DR: a model of the doubly robust effect of each customer (Kennedy 2023), cross-fit. Several treatments are learned one by one
against the same control. The base learner is boosted trees of scikit-learn, the same for all.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder
from threadpoolctl import threadpool_limits

from nextbest.arrays import Floats
from nextbest.models.seen import row_hashes

Kind = Literal["s", "t", "x", "dr", "response"]
KINDS: tuple[Kind, ...] = get_args(Kind)
SHAPE: dict[str, Any] = {"max_iter": 100, "learning_rate": 0.05, "max_leaf_nodes": 8, "min_samples_leaf": 100, "l2_regularization": 10.0}
"""Small trees: effects are small beside the noise of outcomes. The same for every learner, searched for on no case."""
FOLDS, ACROSS = 3, 5
"""Of the doubly robust learner within, and of figures."""
TREATED = "treated_"
"""The S learner's feature of who was treated."""


@dataclass(frozen=True)
class Part:
    """One fitted regression; an effect is the weighted sum of its parts. `as_if`: what TREATED is set to where it is a feature."""

    weight: float
    pipeline: Pipeline
    as_if: float | None = None

    def says(self, rows: pd.DataFrame) -> Floats:
        """The weighted outcome or effect. Shape: (rows,)."""
        asked = rows if self.as_if is None else rows.assign(**{TREATED: self.as_if})
        if hasattr(self.pipeline[-1], "predict_proba"):
            return np.asarray(self.weight * self.pipeline.predict_proba(asked)[:, 1])
        return np.asarray(self.weight * self.pipeline.predict(asked))


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Features as the learners take them: numbers, and words as text."""
    words = [name for name in frame if not pd.api.types.is_numeric_dtype(frame[name])]
    return frame.assign(**{name: frame[name].astype(str) for name in words})


def effects(parts: list[Part], rows: pd.DataFrame) -> Floats:
    """The effect expected for each row. Shape: (rows,)."""
    return np.asarray(np.sum([part.says(rows) for part in parts], axis=0))


def learned(kind: Kind, features: pd.DataFrame, outcome: Floats, treated: Floats, seed: int) -> list[Part]:
    """The parts of a learner, from an experiment's rows. `response` is no effect: the outcome if treated. `treated` is 1 or 0."""
    with threadpool_limits(1):  # the trees are small: threads that wait for each other would take most of the time
        return _parts(kind, features, outcome, treated, seed)


def _parts(kind: Kind, features: pd.DataFrame, outcome: Floats, treated: Floats, seed: int) -> list[Part]:
    share, told = float(treated.mean()), treated == 1
    match kind:
        case "response":
            return [Part(1, _outcome(features[told], outcome[told], seed))]
        case "s":
            model = _outcome(features.assign(**{TREATED: treated}), outcome, seed)
            return [Part(1, model, 1.0), Part(-1, model, 0.0)]
        case "t":
            return _arms(features, outcome, treated, seed)
        case "x":
            on, off = _arms(features, outcome, treated, seed)
            gained = _effect(features[told], outcome[told] + off.says(features[told]), seed)
            missed = _effect(features[~told], on.says(features[~told]) - outcome[~told], seed)
            return [Part(1 - share, gained), Part(share, missed)]
        case "dr":
            pseudo = np.empty(len(outcome))
            fold = np.random.default_rng(seed).permutation(np.arange(len(outcome)) % FOLDS)
            for rest, own in _cut(fold):
                on, off = _arms(features[rest], outcome[rest], treated[rest], seed)
                if_on, if_off, t, y = on.says(features[own]), -off.says(features[own]), treated[own], outcome[own]
                pseudo[own] = if_on - if_off + t * (y - if_on) / share - (1 - t) * (y - if_off) / (1 - share)
            return [Part(1, _effect(features, pseudo, seed))]


def crossfit(kind: Kind, features: pd.DataFrame, outcome: Floats, treated: Floats, folds: int, seed: int) -> Floats:
    """Effects of all rows, each by models that did not see it. Folds are drawn within each arm. Shape: (rows,).

    `treated` is 1 or 0; rows of other treatments, where it is not a number, are asked about and not learned from.
    """
    chance, found = np.random.default_rng(seed), np.empty(len(outcome))
    fold = np.empty(len(outcome), dtype=int)
    for arm in (treated == 0, treated == 1, np.isnan(treated)):
        fold[arm] = chance.permutation(np.arange(arm.sum()) % folds)
    for rest, own in _cut(fold):
        known = rest & ~np.isnan(treated)
        found[own] = effects(learned(kind, features[known], outcome[known], treated[known], seed), features[own])
    return found


@dataclass(frozen=True)
class Model:
    """The effects of several treatments against one control.

    `seen`: hashes of the rows that it learned from → the effect on each treatment by models that had not seen them, repeated for them.
    """

    parts: dict[str, list[Part]]
    seen: pd.DataFrame

    @classmethod
    def fitted(
        cls, kind: Kind, features: pd.DataFrame, arm: npt.NDArray[Any], control: str, outcome: Floats, treatments: list[str], seed: int
    ) -> "Model":
        """`arm`: what each row got. Rows of other treatments say nothing of one."""
        parts, honest = {}, pd.DataFrame(np.nan, index=row_hashes(features), columns=treatments)
        for treatment in treatments:
            rows = np.isin(arm, [treatment, control])
            own, y, treated = features[rows], outcome[rows], (arm[rows] == treatment).astype(np.float64)
            parts[treatment] = learned(kind, own, y, treated, seed)
            honest.loc[rows, treatment] = crossfit(kind, own, y, treated, ACROSS, seed)
        return cls(parts, honest.groupby(level=0).mean())

    def effects(self, features: pd.DataFrame) -> pd.DataFrame:
        """What each treatment changes of the outcome, for each row. Shape: (rows, treatments)."""
        found = pd.DataFrame({name: effects(parts, features) for name, parts in self.parts.items()}, index=features.index)
        honest = self.seen.reindex(row_hashes(features)).set_axis(features.index)
        return honest.fillna(found)


def _cut(fold: npt.NDArray[Any]) -> Iterator[tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]]:
    """For each fold: the rest, and its own rows."""
    for held_back in np.unique(fold):
        yield fold != held_back, fold == held_back


def _arms(features: pd.DataFrame, outcome: Floats, treated: Floats, seed: int) -> list[Part]:
    """The outcome if treated, less the outcome if not."""
    told = treated == 1
    return [Part(1, _outcome(features[told], outcome[told], seed)), Part(-1, _outcome(features[~told], outcome[~told], seed))]


def _outcome(features: pd.DataFrame, outcome: Floats, seed: int) -> Pipeline:
    if set(np.unique(outcome)) == {0.0, 1.0}:
        return _pipeline(features, HistGradientBoostingClassifier(**SHAPE, random_state=seed)).fit(features, outcome)
    return _effect(features, outcome, seed)


def _effect(features: pd.DataFrame, outcome: Floats, seed: int) -> Pipeline:
    return _pipeline(features, HistGradientBoostingRegressor(**SHAPE, random_state=seed)).fit(features, outcome)


def _pipeline(features: pd.DataFrame, trees: Any) -> Pipeline:
    numbers = [name for name in features if pd.api.types.is_numeric_dtype(features[name])]
    clean = make_column_transformer(  # trees take what is unknown as it is, but no column that is unknown throughout
        (SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True), numbers),
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), [name for name in features if name not in numbers]),
    )
    return make_pipeline(clean, trees)
