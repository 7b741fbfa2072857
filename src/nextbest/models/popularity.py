"""Popularity: what is taken most often, whoever is asked. The first baseline."""

import numpy as np
import pandas as pd

from nextbest.arrays import Floats
from nextbest.models.base import Pairs, State, log_odds

PRIOR = 20.0
"""A product's rate is shrunk towards the rate of all as if so many answers of that rate stood beside its own."""


class Model:
    """The share of answers that took the product, shrunk towards that of all products."""

    def fit(self, pairs: Pairs, seed: int) -> None:
        """Count the answers of each product."""
        self.all = float(pairs.taken.mean()) if len(pairs) else 0.0
        counted = pd.DataFrame({"product": pairs.products, "taken": pairs.taken}).groupby("product").taken.agg(["sum", "size"])
        rates = (counted["sum"] + PRIOR * self.all) / (counted["size"] + PRIOR)
        self.rates = {product: float(rate) for product, rate in rates.items()}

    def propensity(self, pairs: Pairs) -> Floats:
        """The product's rate, and that of all where it was never offered."""
        return np.asarray(pairs.products.map(self.rates).fillna(self.all), dtype=np.float64)

    def contributions(self, pairs: Pairs) -> dict[str, Floats]:
        """What is particular to the product, against all."""
        odds = log_odds(self.propensity(pairs))
        base = np.full(len(pairs), log_odds(np.array([self.all]))[0])
        return {"base": base, "product": odds - base}

    def state(self) -> State:
        """The rates."""
        return {"all": self.all, "rates": self.rates}

    def restore(self, state: State) -> None:
        """Take up the rates."""
        self.all, self.rates = state["all"], state["rates"]
