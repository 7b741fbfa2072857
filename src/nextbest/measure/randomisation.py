"""Whether customers were split as they should have been."""

import math

ALARM = 0.001
"""Below this a split is not to be trusted: low, because every run looks (Fabijan et al., 2019, on sample-ratio mismatch)."""


def mismatch(count: int, of: int, share: float) -> float:
    """P-value of finding `count` of `of` in a group that should hold `share`: Pearson's chi-square, one degree of freedom.

    1.0 where nothing could be found out (nobody, or a share of 0 or 1).
    """
    variance = of * share * (1 - share)
    if not variance:
        return 1.0
    return math.erfc(abs(count - of * share) / math.sqrt(2 * variance))
