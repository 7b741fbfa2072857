"""Exploration as SQL over `choices`, the best offers that may go out: the chance of each, and which of them is drawn.

The chances are computed, not counted from draws: what the draw obeys is what is logged.
"""

from statistics import NormalDist

from nextbest.playbook.contact import BoundExploration

PARTS = 20
PLACES = ", ".join(repr(NormalDist().inv_cdf((part + 0.5) / PARTS)) for part in range(PARTS))
"""The middles of as many parts of a normal belief, one as likely as the other."""
CERTAIN = 1e-12
"""A standard error below which a score is certain."""


def with_chances(tried: BoundExploration, source: str, offers: int) -> str:
    """SQL: a source that has `choices`, and for `thompson` `beliefs` (a list of {score, error} by place), with `chances` beside.

    `offers`: how many there are at most.
    """
    even, rest = f"{tried.share!r} / len(choices)", repr(1 - tried.share)
    if tried.draw == "first":
        chances = f"list_transform(choices, lambda x: {even} + case when x = choices[1] then {rest} else 0.0::double end)"
        return f"select *, {chances} as chances from ({source})"
    among = max(2, min(tried.among, offers))
    places = range(1, among + 1)
    believed = ", ".join(
        f"beliefs[choices[{i}]].score as score{i}, 1.702 / greatest(beliefs[choices[{i}]].error, {CERTAIN}) as sharp{i}" for i in places
    )
    best = ", ".join(f"{_best(i, among)} as best{i}" for i in places)
    listed = f"[{', '.join(f'best{i}' for i in places)}][:len(choices)]"
    return f"""select *, list_transform(best, lambda x: {even} + {rest} * x / list_sum(best)) as chances
from (select *, {listed} as best from (select *, {best} from (select *, {believed} from ({source}))))"""


def drawn(place: str) -> str:
    """SQL: the position among the choices that a place from 0 to 1 falls to, given `chances`."""
    return f"1 + len(list_filter(range(1, len(chances)), lambda i: list_sum(chances[:i]) <= {place}))"


def _best(own: int, among: int) -> str:
    """SQL: the probability that this one of the choices is the best, given normal beliefs (Thompson 1933), but for a factor.

    The integral over the belief about it of the probability that every other is less; the normal distribution by a logistic
    one, 0.01 off at most (Camilli 1994). Which is drawn, and what is logged, follow from this number alike.
    """

    def more(other: int) -> str:
        first = "-" if own < other else "+"  # of two that are certain and equal the first is the best
        far = f"(score{other} - score{own} {first} {100 * CERTAIN} - 1.702 * z / sharp{own}) * sharp{other}"
        return f"1 / (1 + exp(least(greatest({far}, -50), 50)))"  # of a place that is empty -50

    others = " * ".join(more(other) for other in range(1, among + 1) if other != own)
    return f"list_sum(list_transform([{PLACES}], lambda z: {others}))"
