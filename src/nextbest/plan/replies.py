"""The reply about one customer, as JSON: what a channel asks for. Batch and online make it by the same statement."""

from collections.abc import Callable, Iterable

from nextbest.plan.candidates import decision_structs, gap
from nextbest.plan.records import withheld
from nextbest.plan.stage import Stage, once, quote, text
from nextbest.playbook.bind import Bound


@once
def replies(bound: Bound, run_id: str | None) -> Stage:
    """Every customer of the run with the reply. Grain: one customer.

    `offers` are those recommended, best first. `withheld` says why there is no message; `left_alone` why there is no decision.
    `gaps` names the categories of which the customer holds nothing, in playbooks that speak of gaps.
    """
    key, business = quote(bound.code), bound.model.business
    offers = {offer.id: offer.model for offer in bound.offers}

    def by_offer(column: str, values: dict[str, str]) -> str:
        return f"case {column} " + " ".join(f"when {text(name)} then {text(value)}" for name, value in values.items()) + " end"

    categories = by_offer("x.r.offer", {name: offer.category for name, offer in offers.items()})
    shown = f"""{{rank: x.r.rank, offer: x.r.offer, product: x.r.product, category: {categories}, confidence: x.r.confidence,
    benefit: x.r.benefit, benefit_terms: x.r.benefit_terms, propensity: x.r.propensity, score: x.r.score, reasons: x.r.reasons,
    evidence: x.r.evidence_terms}}"""
    place = " ".join(f"when {n} then {text(offer.id)}" for n, offer in enumerate(bound.offers, 1))
    header = {
        "customer": "cast(customer as varchar)",
        "playbook": text(business.name),
        "version": text(business.version),
        "as_of": text(bound.as_of.isoformat()),
        "currency": text(business.currency),
        "run_id": text(run_id) if run_id else "cast(null as varchar)",
        "decision_id": f"{text(run_id + '-')} || place_in_run" if run_id else "cast(null as varchar)",
        "left_alone": "alone",
        "segments": "coalesce(segments, [])",
        "gaps": "coalesce(gaps, [])",
        "offers": "coalesce(offers, [])",
        "message": "message",
    }
    fields = ", ".join(f"{text(name)}: {value}" for name, value in header.items())
    message = f"""case when c.place is not null then {{offer: case c.place {place} end, language: a.language,
    channel: {text(business.channel)}, text: m.message, treatment: m.treatment, facts: m.facts,
    send_at: case when m.message is not null then strftime(make_timestamp(c.send_at * 1000000), '%Y-%m-%dT%H:%M:%SZ') end,
    chance: case when m.message is not null then c.chance end, withheld: {withheld("c", "m")}}} end"""
    missing = {offer.model.category: gap(bound, offer) for offer in bound.offers} if business.gap else {}
    about = f"""select {key}, {_those(bound.segments, quote)} as segments, {_those(missing, missing.__getitem__)} as gaps from signals"""
    decided = f"select {key}, [\n  {decision_structs(bound)}] as d from scored left join contacted using ({key})"
    chosen = f"""select {key}, list_transform(list_sort(list_transform(list_filter(d, lambda r: r.recommended),
  lambda r: {{place: r.rank, r: r}})), lambda x: {shown}) as offers from ({decided})"""
    return Stage(
        "replies",
        "one customer",
        f"""select customer, cast(to_json({{{fields}}}) as varchar) as reply
from (select p.{key} as customer, p.place_in_run, l.held_by as alone, o.offers, w.segments, w.gaps, {message} as message
  from places as p left join left_alone as l using ({key}) left join ({chosen}) as o using ({key})
  left join ({about}) as w using ({key})
  left join contacted as c using ({key}) left join addressed as a using ({key}) left join messages as m using ({key}))
order by place_in_run""",
    )


def _those(names: Iterable[str], test: Callable[[str], str]) -> str:
    """SQL: the names whose test holds."""
    cases = ", ".join(f"case when {test(name)} then {text(name)} end" for name in names)
    return f"list_filter(cast([{cases}] as varchar[]), lambda x: x is not null)"
