"""What measuring shows: effects of an experiment, learners of uplift side by side."""

import math

from rich.console import Group, RenderableType
from rich.table import Table

from nextbest.measure.experiments import Effect
from nextbest.measure.ranking import Figure
from nextbest.services.experiment import Experiment
from nextbest.services.policies import Policies
from nextbest.services.uplift import Ordered, Targeted

VERDICTS = {"kept": "kept", "broken": "BROKEN", "open": "cannot be told yet: more customers are needed"}
CHOOSES = {
    "ranking": "the first, as without exploring",
    "propensity": "the likeliest",
    "benefit": "the one worth most to the customer",
    "random": "any",
    "eligible": "any that the customer might have, open or not",
}


def experiment(found: Experiment) -> RenderableType:
    """A table per treatment, then its segments."""
    base = found.arms[found.control]
    parts: list[RenderableType] = [f"Control {found.control}: {base.n} customers, mean {base.mean:.5g}"]
    for name, item in found.effects.items():
        arm = found.arms[name]
        table = Table(title=f"{name}: {arm.n} customers, mean {arm.mean:.5g}", title_justify="left", show_header=False)
        effect = item.fixed
        table.add_row("difference", _difference(effect))
        if not math.isnan(effect.relative):
            table.add_row("relative", f"{effect.relative:+.1%} ({effect.relative_low:+.1%} to {effect.relative_high:+.1%})")
        if item.anytime:
            table.add_row("looked at often", _difference(item.anytime))
        if item.cuped:
            table.add_row("with the covariate", f"{_difference(item.cuped)}, {item.variance_saved:.0%} less variance")
        table.add_row("p (Holm)", f"{found.p[name]:.4f}")
        parts.append(table)
    for name, segments in found.segments.items():
        apart = Table(title=f"{name} by segment, drawn together", title_justify="left")
        for column in ("segment", "difference"):
            apart.add_column(column)
        for segment, (value, low, high) in segments.items():
            apart.add_row(segment, f"{value:+.5f} ({low:+.5f} to {high:+.5f})")
        parts.append(apart)
    for name, figures in found.guardrails.items():
        guarded = Table(title=f"{name}: what must not get worse", title_justify="left")
        for column in ("figure", "limit", "difference", "verdict"):
            guarded.add_column(column)
        for column, figure in figures.items():
            guarded.add_row(column, f"{figure.limit:+g}", _difference(figure.effect), VERDICTS[figure.verdict])
        parts.append(guarded)
    if found.left_out:
        parts.append(
            f"{found.left_out} customers have no arm, no outcome or no covariate: not counted. Who they are may decide the result."
        )
    if found.trusted:
        parts.append(f"The arms have the sizes they should have (p {found.sample_ratio:.3f}).")
    else:
        parts.append(f"The arms have NOT the sizes they should have (p {found.sample_ratio:.1g}): believe no effect before you know why.")
    return Group(*parts)


def _difference(effect: Effect) -> str:
    return f"{effect.difference:+.5g} ({effect.low:+.4g} to {effect.high:+.4g})"


def policies(found: Policies) -> RenderableType:
    """A row per policy: what it would have earned, and how far the log can tell."""
    head = f"{found.decisions} decisions of {found.playbook} for {found.customers} customers, answers up to {found.until}"
    table = Table(title=f"{head}: {found.rate:.4f} {found.event} per decision", title_justify="left")
    for name in ("policy", "takes, of the open offers", f"{found.event} per decision", "more than ranking", "counts as"):
        table.add_column(name)
    for item in found.policies:
        more = f"{item.more.value:+.4f} ({item.more.low:+.4f} to {item.more.high:+.4f})" if item.more else ""
        if item.more and item.more.low == item.more.high == 0:
            more = "the same choices here"
        reach = (
            f"{item.overlap.effective:.0f} decisions"
            + (" of what was open" if item.beyond else "")
            + (", too few to believe it" if item.overlap.thin else "")
        )
        value = f"{item.value.value:.4f} ({item.value.low:.4f} to {item.value.high:.4f})"
        table.add_row(item.name, CHOOSES[item.name], value, more, reach)
    left_out = [f"{count} {why}" for why, count in found.left_out.items() if count]
    if found.unjudged:
        left_out.append(f"of eligible {', '.join(found.unjudged)}, which too few got but as the first")
    beyond = [
        f"{item.name}: {item.beyond:.0%} of its choices were not open; others who got that offer, not as their first, speak for them."
        for item in found.policies
        if item.beyond
    ]
    return Group(table, *beyond, *([f"Left out: {'; '.join(left_out)}."] if left_out else []))


def uplift(found: list[Ordered], share: float) -> RenderableType:
    """A row per treatment and learner."""
    table = Table(title="`response` is a plain response model, the thing to beat", title_justify="left")
    for name in ("treatment", "learner", f"uplift among the first {share:.0%}", "Qini", "AUUC"):
        table.add_column(name)
    for item in found:
        table.add_row(item.treatment, item.learner, *(_figure(figure) for figure in (item.at_share, item.qini, item.auuc)))
    return table


def targeting(found: list[Targeted]) -> RenderableType:
    """A row per policy."""
    table = Table(title="profit a customer, beyond leaving all alone", title_justify="left")
    for name in ("policy", *(f"gets {arm}" for arm in found[0].shares), "profit"):
        table.add_column(name)
    for item in found:
        table.add_row(item.policy, *(f"{share:.0%}" for share in item.shares.values()), _figure(item.profit))
    return table


def _figure(figure: Figure) -> str:
    return f"{figure.value:.4f} ({figure.low:.4f} to {figure.high:.4f})"
