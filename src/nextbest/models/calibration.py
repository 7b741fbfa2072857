"""From a score to a probability that can be believed: Platt's line, or isotonic regression, chosen on training folds."""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from nextbest.arrays import Floats
from nextbest.models.base import State


@dataclass(frozen=True)
class Platt:
    """A line from score to log-odds (Platt 1999)."""

    slope: float
    intercept: float

    @classmethod
    def fitted(cls, score: Floats, taken: Floats) -> "Platt":
        """By maximum likelihood. Where all answers are alike the rate of a few more than there are."""
        if len(set(taken.tolist())) < 2:
            rate = (taken.sum() + 1) / (len(taken) + 2)
            return cls(0.0, float(np.log(rate / (1 - rate))))
        line = LogisticRegression(C=1e6, max_iter=1000).fit(score.reshape(-1, 1), taken)
        return cls(float(line.coef_[0, 0]), float(line.intercept_[0]))

    def probability(self, score: Floats) -> Floats:
        """Shape: that of the score."""
        return np.asarray(expit(self.slope * score + self.intercept))

    def state(self) -> State:
        """As JSON."""
        return {"kind": "platt", "slope": self.slope, "intercept": self.intercept}


@dataclass(frozen=True)
class Isotonic:
    """A rising staircase from score to probability (Zadrozny and Elkan 2002), straight between its steps."""

    scores: tuple[float, ...]
    probabilities: tuple[float, ...]

    @classmethod
    def fitted(cls, score: Floats, taken: Floats) -> "Isotonic":
        """By least squares."""
        stairs = IsotonicRegression(out_of_bounds="clip", y_min=1e-6, y_max=1 - 1e-6).fit(score, taken)
        return cls(tuple(map(float, stairs.X_thresholds_)), tuple(map(float, stairs.y_thresholds_)))

    def probability(self, score: Floats) -> Floats:
        """Shape: that of the score."""
        return np.asarray(np.interp(score, self.scores, self.probabilities))

    def state(self) -> State:
        """As JSON."""
        return {"kind": "isotonic", "scores": list(self.scores), "probabilities": list(self.probabilities)}


Calibration = Platt | Isotonic


def restored(state: State) -> Calibration:
    """The calibration that was written."""
    if state["kind"] == "platt":
        return Platt(state["slope"], state["intercept"])
    return Isotonic(tuple(state["scores"]), tuple(state["probabilities"]))


def chosen(score: Floats, taken: Floats, fold: Floats) -> Calibration:
    """The one with the smaller log-loss on folds it was not fitted on, fitted on all. Platt's line where they tie.

    `score` must come from models that did not see the row's answer.
    """
    losses = {}
    for kind in (Platt, Isotonic):
        probability = np.empty(len(score))
        for held_back in np.unique(fold):
            test = fold == held_back
            probability[test] = kind.fitted(score[~test], taken[~test]).probability(score[test])
        clipped = np.clip(probability, 1e-6, 1 - 1e-6)
        losses[kind] = float(-np.mean(taken * np.log(clipped) + (1 - taken) * np.log(1 - clipped)))
    best: type[Platt] | type[Isotonic] = Isotonic if losses[Isotonic] < losses[Platt] else Platt
    return best.fitted(score, taken)
