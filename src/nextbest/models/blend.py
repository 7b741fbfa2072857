"""A blend: the log-odds of several models, weighted by how much each adds on folds it did not see (stacking, Wolpert 1992)."""

import numpy as np
from scipy.optimize import nnls
from scipy.special import expit

from nextbest.arrays import Floats
from nextbest.models.base import Model as Contract
from nextbest.models.base import Pairs, State, folds, log_odds, make
from nextbest.models.calibration import Platt

PARTS = ("logistic", "boosting")
FOLDS = 3


class Model:
    """Weights are not negative, and the sum is put on the scale of probabilities."""

    def fit(self, pairs: Pairs, seed: int) -> None:
        """Weights across folds of customers, then every part on all rows."""
        fold, taken = folds(pairs, FOLDS, seed), pairs.taken
        odds = np.zeros((len(pairs), len(PARTS)))
        for held_back in range(FOLDS):
            learned, tried = pairs.where(fold != held_back), pairs.where(fold == held_back)
            for place, name in enumerate(PARTS):
                part = make(name)
                part.fit(learned, seed)
                odds[fold == held_back, place] = log_odds(part.propensity(tried))
        centred = odds - odds.mean(axis=0)
        rate = taken.mean()
        weights, _ = nnls(centred, (taken - rate) / max(rate * (1 - rate), 1e-9))  # one step of least squares towards the answers
        self.weights = weights / weights.sum() if weights.sum() > 0 else np.full(len(PARTS), 1 / len(PARTS))
        self.line = Platt.fitted(odds @ self.weights, taken)
        self.parts: list[Contract] = []
        for name in PARTS:
            part = make(name)
            part.fit(pairs, seed)
            self.parts.append(part)

    def propensity(self, pairs: Pairs) -> Floats:
        """The blended probability."""
        odds = np.column_stack([log_odds(part.propensity(pairs)) for part in self.parts])
        return np.asarray(expit(self.line.slope * (odds @ self.weights) + self.line.intercept))

    def contributions(self, pairs: Pairs) -> dict[str, Floats] | None:
        """The parts' contributions, weighted alike: exact, since all are on the scale of log-odds."""
        found = {"base": np.full(len(pairs), self.line.intercept)}
        for part, weight in zip(self.parts, self.weights, strict=True):
            for name, values in (part.contributions(pairs) or {}).items():
                found[name] = found.get(name, 0.0) + self.line.slope * weight * values
        return found

    def state(self) -> State:
        """Parts and weights."""
        parts = [part.state() for part in self.parts]
        return {"weights": self.weights.tolist(), "line": [self.line.slope, self.line.intercept], "parts": parts}

    def restore(self, state: State) -> None:
        """Take them up."""
        self.weights, self.line = np.array(state["weights"]), Platt(*state["line"])
        self.parts = []
        for name, written in zip(PARTS, state["parts"], strict=True):
            part = make(name)
            part.restore(written)
            self.parts.append(part)
