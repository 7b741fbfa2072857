"""Rows that a model learned from, known again: of them it repeats what it said before it saw them."""

import numpy as np
import numpy.typing as npt
import pandas as pd


def row_hashes(features: pd.DataFrame) -> npt.NDArray[np.uint64]:
    """A number per row, the same for the same features, in whatever order they stand and whatever their last digits."""
    numbers = {name: features[name].astype(np.float32) for name in sorted(features.select_dtypes("number"))}
    words = {name: features[name] for name in sorted(set(features) - set(numbers))}
    return np.asarray(pd.util.hash_pandas_object(pd.DataFrame({**numbers, **words}), index=False), dtype=np.uint64)
