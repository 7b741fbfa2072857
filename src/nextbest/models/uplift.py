"""Uplift: what an offer changes, not what happens anyway. Learners of the effect of one treatment against control.

S: one model with the treatment as a feature. T: a model for each arm. X: T, then models of the effects it implies (Künzel et al.
2019). DR: a model of the doubly robust effect of each customer (Kennedy 2023), cross-fit. Several treatments are learned one by one
against the same control. The base learner is boosted trees of scikit-learn, the same for all.
"""

from collections.abc import Callable
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from nextbest.arrays import Floats

Kind = Literal["s", "t", "x", "dr", "response"]
KINDS: tuple[Kind, ...] = get_args(Kind)
SHAPE: dict[str, Any] = {"max_iter": 100, "learning_rate": 0.05, "max_leaf_nodes": 8, "min_samples_leaf": 100, "l2_regularization": 10.0}
"""Small trees: effects are small beside the noise of outcomes. The same for every learner, searched for on no case."""
FOLDS = 3


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Features as the trees take them: words as categories."""
    words = [name for name in frame if not pd.api.types.is_numeric_dtype(frame[name])]
    return frame.assign(**{name: frame[name].astype(str).astype("category") for name in words})


def effects(kind: Kind, learned: pd.DataFrame, outcome: Floats, treated: Floats, asked: pd.DataFrame, seed: int) -> Floats:
    """The effect expected for each row of `asked`, learned from an experiment. `response` is no effect: the outcome if treated.

    `treated` is 1 or 0. Both tables have the same columns, as `table` makes them. Shape: (rows of asked,).
    """
    share = float(treated.mean())
    match kind:
        case "response":
            return _outcome(learned[treated == 1], outcome[treated == 1], seed)(asked)
        case "s":
            model = _outcome(learned.assign(treated_=treated), outcome, seed)
            return model(asked.assign(treated_=1.0)) - model(asked.assign(treated_=0.0))
        case "t":
            on, off = _arms(learned, outcome, treated, seed)
            return on(asked) - off(asked)
        case "x":
            on, off = _arms(learned, outcome, treated, seed)
            told = treated == 1
            gained = _effect(learned[told], outcome[told] - off(learned[told]), seed)
            missed = _effect(learned[~told], on(learned[~told]) - outcome[~told], seed)
            return (1 - share) * gained(asked) + share * missed(asked)
        case "dr":
            pseudo = np.empty(len(outcome))
            fold = np.random.default_rng(seed).permutation(np.arange(len(outcome)) % FOLDS)
            for held_back in range(FOLDS):
                rest, own = fold != held_back, fold == held_back
                on, off = _arms(learned[rest], outcome[rest], treated[rest], seed)
                if_on, if_off, t, y = on(learned[own]), off(learned[own]), treated[own], outcome[own]
                pseudo[own] = if_on - if_off + t * (y - if_on) / share - (1 - t) * (y - if_off) / (1 - share)
            return _effect(learned, pseudo, seed)(asked)


def crossfit(kind: Kind, features: pd.DataFrame, outcome: Floats, treated: Floats, folds: int, seed: int) -> Floats:
    """Effects of all rows, each by models that did not see it. Folds are drawn within each arm. Shape: (rows,)."""
    chance, found = np.random.default_rng(seed), np.empty(len(outcome))
    fold = np.empty(len(outcome), dtype=int)
    for arm in (0, 1):
        rows = np.flatnonzero(treated == arm)
        fold[rows] = chance.permutation(np.arange(len(rows)) % folds)
    for held_back in range(folds):
        rest, own = fold != held_back, fold == held_back
        found[own] = effects(kind, features[rest], outcome[rest], treated[rest], features[own], seed)
    return found


def worth_telling(effect: Floats, value: float, cost: float) -> Floats:
    """1 where an offer earns more than it costs, 0 for who is better left alone: where effect × value lies below the cost."""
    return np.asarray(effect * value > cost, dtype=np.float64)


Predict = Callable[[pd.DataFrame], Floats]


def _arms(features: pd.DataFrame, outcome: Floats, treated: Floats, seed: int) -> tuple[Predict, Predict]:
    told = treated == 1
    return _outcome(features[told], outcome[told], seed), _outcome(features[~told], outcome[~told], seed)


def _outcome(features: pd.DataFrame, outcome: Floats, seed: int) -> Predict:
    if set(np.unique(outcome)) <= {0.0, 1.0} and len(np.unique(outcome)) == 2:
        classifier = HistGradientBoostingClassifier(**SHAPE, categorical_features="from_dtype", random_state=seed).fit(features, outcome)
        return lambda rows: np.asarray(classifier.predict_proba(rows)[:, 1])
    return _effect(features, outcome, seed)


def _effect(features: pd.DataFrame, outcome: Floats, seed: int) -> Predict:
    regressor = HistGradientBoostingRegressor(**SHAPE, categorical_features="from_dtype", random_state=seed).fit(features, outcome)
    return lambda rows: np.asarray(regressor.predict(rows))
