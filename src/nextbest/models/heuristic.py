"""The heuristic of the playbook (learn.yaml), put on the scale of probabilities by Platt's line. The second baseline."""

import numpy as np

from nextbest.arrays import Floats
from nextbest.models.base import Pairs, State
from nextbest.models.calibration import Platt


class Model:
    """A score that people wrote down; only its scale is learned."""

    def fit(self, pairs: Pairs, seed: int) -> None:
        """Learn the line from score to log-odds."""
        self.line = Platt.fitted(self._score(pairs), pairs.taken)

    def propensity(self, pairs: Pairs) -> Floats:
        """The score's probability."""
        return self.line.probability(self._score(pairs))

    def contributions(self, pairs: Pairs) -> dict[str, Floats]:
        """The score is one thing: it is written in the playbook."""
        score = self._score(pairs)
        return {"base": np.full(len(pairs), self.line.intercept), "heuristic": self.line.slope * score}

    def _score(self, pairs: Pairs) -> Floats:
        return np.nan_to_num(pairs.column("heuristic"))

    def state(self) -> State:
        """The line."""
        return {"slope": self.line.slope, "intercept": self.line.intercept}

    def restore(self, state: State) -> None:
        """Take up the line."""
        self.line = Platt(state["slope"], state["intercept"])
