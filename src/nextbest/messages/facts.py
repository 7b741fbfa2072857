"""What period a fact speaks of, read off the measures behind it."""

from nextbest.playbook.bind import Bound, keys_of
from nextbest.rules.parse import Rule, cell

PERIODS = ("last_month", "horizon", "monthly", "now")
"""The last complete month, the whole horizon, a month on average, or no activity behind it (a balance, a rate)."""


def periods(book: Bound, rule: Rule) -> set[str]:
    """The periods behind a fact; a benefit and its terms are per month."""
    if any(column == "benefit" or column.startswith("term_") for column in rule.columns):
        return {"monthly"}
    roots = book.roots(rule)
    found = {
        measure.over
        for measure in book.measures.values()
        if any(
            cell(name, key) in roots for key in keys_of(book.model, measure) for name in (measure.sum, measure.count, measure.days) if name
        )
    }
    return {str(period) for period in found} or {"now"}
