"""Collaborative: whose baskets hold the same things, item to item. A basket is what is held, and what was taken in earlier rounds.

Cosine similarity of two products over the customers who have them, summed over what the customer has (Sarwar et al. 2001), the product
itself left out. The customers' full baskets are counted, answers among them: what an answer teaches is learned from the similarity by
the customers of other folds, so that none speaks for itself. A customer who is ranked later is among those counted, one of many.
"""

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from nextbest.arrays import Floats
from nextbest.models.base import Pairs, State, folds
from nextbest.models.calibration import Platt

FOLDS = 5


class Model:
    """Products × products: how much one in the basket speaks for another."""

    def fit(self, pairs: Pairs, seed: int) -> None:
        """Learn which products go together, and what that says of answers."""
        self.cross_fitted(pairs, seed)

    def cross_fitted(self, pairs: Pairs, seed: int) -> Floats:
        """As `fit`; returns the similarity of the same rows by the customers of other folds, to learn from. Shape: (rows,)."""
        once = pairs.frame.drop_duplicates(_round_of(pairs))[["customer", "basket"]].explode("basket").dropna()
        taken = pairs.frame.loc[pairs.taken == 1, ["customer", "product"]].set_axis(["customer", "basket"], axis=1)
        each = pd.concat([once, taken]).astype({"basket": str}).drop_duplicates()
        self.products = sorted({*pairs.products.unique(), *each.basket.unique()})
        whose, people = pd.factorize(each.customer, sort=True)
        full = self._ones(whose, each.basket, len(people))
        fold, unseen = folds(pairs, FOLDS, seed), np.zeros(len(pairs))
        of_person = pd.Series(fold).groupby(pairs.frame.customer.to_numpy()).first().reindex(people).to_numpy()
        for held_back in np.unique(fold):
            self.matrix = self.matrix_of(full[of_person != held_back], seed)
            unseen[fold == held_back] = self.similar(pairs.where(fold == held_back))
        self.matrix = self.matrix_of(full, seed)
        self.line = Platt.fitted(unseen, pairs.taken)
        return unseen

    def similar(self, pairs: Pairs) -> Floats:
        """How much what is in the basket speaks for the product, beside the product itself. Shape: (rows,)."""
        index = pd.Index(self.products).get_indexer(pairs.products)
        who = pairs.frame.groupby(_round_of(pairs), sort=False).ngroup().to_numpy()
        first = np.unique(who, return_index=True)[1]
        each = pairs.frame.basket.iloc[first].reset_index(drop=True).explode().dropna().astype(str)
        baskets = self._ones(each.index.to_numpy(), each, len(first))[who]
        score = np.asarray(baskets.multiply(self.matrix[index]).sum(axis=1)).ravel()
        return np.where(index >= 0, score, 0.0)

    def propensity(self, pairs: Pairs) -> Floats:
        """The similarity on the scale of probabilities."""
        return self.line.probability(self.similar(pairs))

    def contributions(self, pairs: Pairs) -> dict[str, Floats]:
        """Similar customers, and nothing else."""
        return {"base": np.full(len(pairs), self.line.intercept), "similar": self.line.slope * self.similar(pairs)}

    def _ones(self, rows: npt.NDArray[np.int64], products: "pd.Series[str]", count: int) -> sparse.csr_matrix:
        """Count × products: 1 at each row's product, where it is known."""
        column = pd.Index(self.products).get_indexer(products)
        known = column >= 0
        return sparse.csr_matrix((np.ones(known.sum()), (rows[known], column[known])), shape=(count, len(self.products)))

    def matrix_of(self, table: sparse.csr_matrix, seed: int) -> Floats:
        """From customers × products, 1 where it is in the basket. Shape: (products, products)."""
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


def _round_of(pairs: Pairs) -> list[str]:
    """The columns that tell baskets apart."""
    return [name for name in ("customer", "round") if name in pairs.frame]
