"""Arrays of numbers, as models and measures pass them on."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
