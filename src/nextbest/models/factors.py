"""Implicit factorisation: like collaborative, but what speaks for a product runs through a few factors that products share.

Alternating least squares over customers × products (Hu, Koren and Volinsky 2008).
"""

import numpy as np
from scipy import sparse

from nextbest.arrays import Floats
from nextbest.models.collaborative import Model as Collaborative

FACTORS, ROUNDS, WEIGHT, PENALTY = 8, 15, 5.0, 5.0
"""Dimensions, sweeps, confidence of what is held against what is not, ridge."""


class Model(Collaborative):
    """Similarity through factors."""

    def matrix_of(self, table: sparse.csr_matrix, seed: int) -> Floats:
        """How much one product in the basket raises another, through the products' factors. Shape: (products, products)."""
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


def _half(weight: Floats, table: Floats, fixed: Floats) -> Floats:
    """One half of a sweep: the best factors of the rows where those of the columns are fixed."""
    dimensions = fixed.shape[1]
    left = np.einsum("ij,jk,jl->ikl", weight, fixed, fixed) + PENALTY * np.eye(dimensions)
    right = np.einsum("ij,ij,jk->ik", weight, table, fixed)
    return np.linalg.solve(left, right[..., None])[..., 0]
