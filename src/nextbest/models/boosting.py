"""Gradient boosted trees on the same features (LightGBM): the probability that an offer is taken.

Reasons are exact Shapley values of the trees (TreeSHAP, Lundberg et al. 2020), not knock-outs.
"""

from typing import Any

import numpy as np
from scipy.special import expit

from nextbest.arrays import Floats
from nextbest.models.base import Pairs, State, folds, needs
from nextbest.models.collaborative import Model as Collaborative

ALWAYS = {"feature_fraction": 0.6, "bagging_fraction": 0.8, "bagging_freq": 1, "cat_smooth": 30.0, "max_cat_to_onehot": 32}
FEW = {"learning_rate": 0.03, "num_leaves": 8, "min_data_in_leaf": 60, "lambda_l2": 20.0, "num_iterations": 300}
"""Few small trees, for answers that are scarce and noisy. Not searched for on any case."""
MANY = {"learning_rate": 0.05, "num_leaves": 31, "min_data_in_leaf": 20, "lambda_l2": 1.0, "num_iterations": 2000}
"""For answers that are plenty: so many large trees at most."""
FOLDS, PATIENCE, FIRST = 3, 50, 5
"""MANY stops where PATIENCE more trees do not help customers who were held back: a ranker's first FIRST places."""


class Model:
    """A classifier; a subclass changes what it is trained for."""

    goal, judged_by, sign = "binary", "binary_logloss", 1

    def fit(self, pairs: Pairs, seed: int) -> None:
        """Learn the trees. Deterministic on one machine and LightGBM version."""
        lightgbm = needs("lightgbm")
        self.similar = Collaborative()
        similar = self.similar.cross_fitted(pairs, seed)
        self.words = {name: sorted(set(pairs.texts(name))) for name in pairs.words}
        self.products = sorted(pairs.products.unique())
        self.features = [*pairs.numbers, "similar", "asked_before", "taken_before", *pairs.words, "product"]
        rows, groups = self._ordered(pairs)
        words = list(range(len(self.features)))[-len(self.words) - 1 :]
        params = {"objective": self.goal, "metric": self.judged_by, "eval_at": [FIRST], "feature_pre_filter": False}
        params |= {"seed": seed, "deterministic": True, "num_threads": 1, "verbosity": -1}
        table = lightgbm.Dataset(
            self._table(pairs, similar)[rows], pairs.taken[rows], group=groups, categorical_feature=words, params=params
        )
        shape = self._shape(lightgbm, table, ALWAYS | params, folds(pairs, FOLDS, seed)[rows])
        self.trees = lightgbm.train(shape, table)

    def _shape(self, lightgbm: Any, table: Any, params: dict[str, Any], fold: Floats) -> dict[str, Any]:
        """FEW, unless MANY does better for customers who were held back, by more than the standard error of its mean over the folds.

        How hard each fold is is in that error, so that it errs towards FEW.
        """
        if len(np.unique(fold)) < FOLDS:
            return params | FEW
        parts = [(np.flatnonzero(fold != held_back), np.flatnonzero(fold == held_back)) for held_back in range(FOLDS)]
        few = self._judged(lightgbm.cv(params | FEW, table, folds=parts))
        many = self._judged(lightgbm.cv(params | MANY | {"early_stopping_round": PATIENCE}, table, folds=parts))
        best = int(many[:, 0].argmin())
        enough = few[-1, 0] - many[best, 0] > many[best, 1] / FOLDS**0.5
        return params | MANY | {"num_iterations": best + 1} if enough else params | FEW

    def _judged(self, curves: dict[str, list[float]]) -> Floats:
        """What LightGBM's `cv` says of each number of trees, less is better. Shape: (trees, 2), mean and sd of the folds."""
        [mean] = [values for name, values in curves.items() if name.endswith("-mean")]
        [spread] = [values for name, values in curves.items() if name.endswith("-stdv")]
        return np.column_stack([np.multiply(mean, self.sign), spread])

    def _ordered(self, pairs: Pairs) -> tuple[Any, list[int] | None]:
        """The order of the rows, and how many belong together; None where rows stand alone."""
        return np.arange(len(pairs)), None

    def _table(self, pairs: Pairs, similar: Floats) -> Floats:
        made = {"similar", "asked_before", "taken_before", "product", *self.words}
        numbers = [pairs.column(name) for name in self.features if name not in made]
        numbers += [similar, pairs.column("asked_before"), pairs.column("taken_before")]
        words = [_codes(pairs.texts(name), known) for name, known in self.words.items()]
        return np.column_stack([*numbers, *words, _codes(pairs.products.to_numpy(object), self.products)])

    def score(self, pairs: Pairs) -> Floats:
        """What the trees add up to. Shape: (rows,)."""
        return np.asarray(
            self.trees.predict(self._table(pairs, self.similar.similar(pairs)), raw_score=True, num_threads=1), dtype=np.float64
        )

    def propensity(self, pairs: Pairs) -> Floats:
        """The probability."""
        return np.asarray(expit(self.score(pairs)))

    def contributions(self, pairs: Pairs) -> dict[str, Floats] | None:
        """Shapley values of the features; the product's own is part of the base."""
        values = np.asarray(self.trees.predict(self._table(pairs, self.similar.similar(pairs)), pred_contrib=True, num_threads=1))
        found = {"base": values[:, -1] + values[:, self.features.index("product")]}
        found["history"] = values[:, self.features.index("asked_before")] + values[:, self.features.index("taken_before")]
        apart = {"product", "asked_before", "taken_before"}
        return found | {name: values[:, place] for place, name in enumerate(self.features) if name not in apart}

    def state(self) -> State:
        """The trees as LightGBM writes them, and how words are coded."""
        return {
            "trees": self.trees.model_to_string(),
            "words": self.words,
            "products": self.products,
            "features": self.features,
            "similar": self.similar.state(),
        }

    def restore(self, state: State) -> None:
        """Take them up."""
        self.trees = needs("lightgbm").Booster(model_str=state["trees"])
        self.words, self.products, self.features = state["words"], state["products"], state["features"]
        self.similar = Collaborative()
        self.similar.restore(state["similar"])


def _codes(values: Any, known: list[str]) -> Floats:
    """The place of each word among those known from training, and unknown for any other."""
    place = {word: float(index) for index, word in enumerate(known)}
    found, inverse = np.unique(values.astype(str), return_inverse=True)
    return np.array([place.get(word, np.nan) for word in found])[inverse]
