"""Gradient boosted trees trained on the order of a customer's offers (LambdaMART, Burges 2010), made a probability afterwards."""

from typing import Any

import numpy as np

from nextbest.arrays import Floats
from nextbest.models.base import Pairs, State, folds
from nextbest.models.boosting import Model as Boosting
from nextbest.models.calibration import Calibration, chosen, restored

FOLDS = 3


class Model(Boosting):
    """Ranks; the scale of its scores is learned on folds that the trees did not see."""

    goal, judged_by, sign = "lambdarank", "ndcg", -1

    def fit(self, pairs: Pairs, seed: int) -> None:
        """Learn the trees on all rows, the scale across folds of customers."""
        fold = folds(pairs, FOLDS, seed)
        score = np.zeros(len(pairs))
        for held_back in range(FOLDS):
            super().fit(pairs.where(fold != held_back), seed)
            score[fold == held_back] = self.score(pairs.where(fold == held_back))
        self.scale: Calibration = chosen(score, pairs.taken, fold)
        super().fit(pairs, seed)

    def _ordered(self, pairs: Pairs) -> tuple[Any, list[int] | None]:
        asked = pairs.frame.groupby(["customer", "round"], sort=True).ngroup().to_numpy()
        rows = np.argsort(asked, kind="stable")
        return rows, np.bincount(asked).tolist()

    def propensity(self, pairs: Pairs) -> Floats:
        """The score on the scale of probabilities."""
        return self.scale.probability(self.score(pairs))

    def contributions(self, pairs: Pairs) -> dict[str, Floats] | None:
        """None: the trees' values add up to a place in an order, not to log-odds."""
        return None

    def state(self) -> State:
        """The trees and the scale."""
        return {**super().state(), "scale": self.scale.state()}

    def restore(self, state: State) -> None:
        """Take them up."""
        super().restore(state)
        self.scale = restored(state["scale"])
