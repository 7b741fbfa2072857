"""Collaborative: who holds or took the same things. Item to item, and implicit factorisation.

Item to item: cosine similarity of two products over the customers who have them, summed over what the customer has
(Sarwar et al. 2001). Factorisation: alternating least squares over the same table (Hu, Koren and Volinsky 2008). A product's
own column is left out of what speaks for it, so that no answer speaks for itself.
"""

import numpy as np
import pandas as pd
from scipy import sparse

from nextbest.models.base import Floats, Pairs, State
from nextbest.models.calibration import Platt

FACTORS, ROUNDS, WEIGHT, PENALTY = 8, 15, 5.0, 5.0
"""Of the factorisation: dimensions, sweeps, confidence of what is held against what is not, ridge."""


class Model:
    """`kind` is item (the default) or factors."""

    def __init__(self, kind: str = "item"):
        self.kind = kind

    def fit(self, pairs: Pairs, seed: int) -> None:
        """Learn which products go together, from what each customer holds; answers only set the scale."""
        held = pairs.frame.drop_duplicates("customer").held
        self.products = sorted({*pairs.products.unique(), *held.explode().dropna().astype(str).unique()})
        table = self._held(held)
        self.matrix = self._item_item(table) if self.kind == "item" else self._factors(table, seed)
        self.line = Platt.fitted(self.similar(pairs), pairs.taken)

    def similar(self, pairs: Pairs) -> Floats:
        """How much what the customer holds speaks for the product, beside the product itself. Shape: (rows,)."""
        index = pd.Index(self.products).get_indexer(pairs.products)
        score = np.asarray(self._held(pairs.frame.held).multiply(self.matrix[index]).sum(axis=1)).ravel()
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

    def _item_item(self, table: sparse.csr_matrix) -> Floats:
        together = np.asarray((table.T @ table).todense(), dtype=np.float64)
        size = np.sqrt(np.maximum(together.diagonal(), 1.0))
        similarity = together / size[:, None] / size[None, :]
        np.fill_diagonal(similarity, 0.0)
        return similarity

    def _factors(self, table: sparse.csr_matrix, seed: int) -> Floats:
        """Products × products: how much one product held raises the other, through the products' factors."""
        dimensions = min(FACTORS, len(self.products))
        products = np.random.default_rng(seed).normal(0, 0.1, (len(self.products), dimensions))
        dense = np.asarray(table.todense())
        weight = 1 + WEIGHT * dense
        for _ in range(ROUNDS):
            people = _half(weight, dense, products)
            products = _half(weight.T, dense.T, people)
        ridge = np.linalg.inv(products.T @ products + PENALTY * np.eye(dimensions))
        effect = products @ ridge @ products.T * WEIGHT
        np.fill_diagonal(effect, 0.0)
        return np.asarray(effect)

    def state(self) -> State:
        """The similarities and their scale."""
        return {
            "kind": self.kind,
            "products": self.products,
            "matrix": self.matrix.tolist(),
            "line": [self.line.slope, self.line.intercept],
        }

    def restore(self, state: State) -> None:
        """Take up the similarities."""
        self.kind, self.products, self.matrix = state["kind"], state["products"], np.array(state["matrix"])
        self.line = Platt(*state["line"])


def _half(weight: Floats, table: Floats, fixed: Floats) -> Floats:
    """One half of a sweep: the best factors of the rows where those of the columns are fixed."""
    dimensions = fixed.shape[1]
    left = np.einsum("ij,jk,jl->ikl", weight, fixed, fixed) + PENALTY * np.eye(dimensions)
    right = np.einsum("ij,ij,jk->ik", weight, table, fixed)
    return np.linalg.solve(left, right[..., None])[..., 0]
