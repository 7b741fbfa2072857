"""Collaborative: who holds the same things, item to item.

Cosine similarity of two products over the customers who have them, summed over what the customer has (Sarwar et al. 2001).
A product's own column is left out of what speaks for it, so that no answer speaks for itself.
"""

import numpy as np
import pandas as pd
from scipy import sparse

from nextbest.arrays import Floats
from nextbest.models.base import Pairs, State
from nextbest.models.calibration import Platt


class Model:
    """Products × products: how much one that is held speaks for another."""

    def fit(self, pairs: Pairs, seed: int) -> None:
        """Learn which products go together, from what each customer holds; answers only set the scale."""
        held = pairs.frame.drop_duplicates("customer").held
        self.products = sorted({*pairs.products.unique(), *held.explode().dropna().astype(str).unique()})
        table = self._held(held)
        self.matrix = self.learned(table, seed)
        self.line = Platt.fitted(self.similar(pairs), pairs.taken)

    def similar(self, pairs: Pairs) -> Floats:
        """How much what the customer holds speaks for the product, beside the product itself. Shape: (rows,)."""
        index = pd.Index(self.products).get_indexer(pairs.products)
        who = pairs.frame.groupby([name for name in ("customer", "round") if name in pairs.frame], sort=False).ngroup().to_numpy()
        first = np.unique(who, return_index=True)[1]
        held = self._held(pairs.frame.held.iloc[first])[who]
        score = np.asarray(held.multiply(self.matrix[index]).sum(axis=1)).ravel()
        return np.where(index >= 0, score, 0.0)

    def propensity(self, pairs: Pairs) -> Floats:
        """The similarity on the scale of probabilities."""
        return self.line.probability(self.similar(pairs))

    def contributions(self, pairs: Pairs) -> dict[str, Floats]:
        """Similar customers, and nothing else."""
        return {"base": np.full(len(pairs), self.line.intercept), "similar": self.line.slope * self.similar(pairs)}

    def _held(self, held: "pd.Series[list[object]]") -> sparse.csr_matrix:
        """Rows × products: 1 where held."""
        each = held.reset_index(drop=True).explode().dropna()
        column = pd.Index(self.products).get_indexer(each.astype(str))
        known = column >= 0
        rows, columns = each.index.to_numpy()[known], column[known]
        return sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(held), len(self.products)))

    def learned(self, table: sparse.csr_matrix, seed: int) -> Floats:
        """From customers × products, 1 where held. Shape: (products, products)."""
        together = np.asarray((table.T @ table).todense(), dtype=np.float64)
        size = np.sqrt(np.maximum(together.diagonal(), 1.0))
        similarity = together / size[:, None] / size[None, :]
        np.fill_diagonal(similarity, 0.0)
        return similarity

    def state(self) -> State:
        """The similarities and their scale."""
        return {
            "products": self.products,
            "matrix": self.matrix.tolist(),
            "line": [self.line.slope, self.line.intercept],
        }

    def restore(self, state: State) -> None:
        """Take up the similarities."""
        self.products, self.matrix = state["products"], np.array(state["matrix"])
        self.line = Platt(*state["line"])
