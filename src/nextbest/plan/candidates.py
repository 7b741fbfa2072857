"""From one wide row per customer to ranked offers, each with its verdict at every stage and why.

Scores are computed in columns, all offers of a customer side by side, and ranked there: twice as
fast as one row per customer and offer. The rows are made only on the way out, as `decisions`.
"""

from collections.abc import Iterable, Mapping

from sqlglot import exp

from nextbest.plan.features import holds, strength
from nextbest.plan.ranking import FIRST, col, orders, place_of, ranks
from nextbest.plan.stage import Stage, listing, once, quote, text
from nextbest.playbook.bind import HOLDS, OWNED, Bound, BoundOffer
from nextbest.rules.parse import Rule, cell
from nextbest.rules.render import sql, tree


@once
def scored(bound: Bound) -> Stage:
    """Signals, and for every offer its verdicts, terms, benefit, propensity and score. Grain: one customer."""
    key = quote(bound.code)
    select = f"select {listing([key, *map(quote, (*bound.segments, *bound.signals)), *_own_signals(bound)])}"
    first = [item for offer in bound.offers for item in _verdicts_and_terms(bound, offer)]
    select = f"{select},\n  {listing(first)}\nfrom signals"
    layers = (
        [item for offer in bound.offers for item in (*_passed(offer), *_limits(offer), _evidence(offer))],
        [f"{_benefit(offer)} as {col(offer, 'benefit')}" for offer in bound.offers],
        [f"{_of(bound.propensity, offer)} as {col(offer, 'propensity')}" for offer in bound.offers],
        [
            item
            for offer in bound.offers
            for item in (
                f"{_score(bound.score, offer)} as {col(offer, 'score')}",
                f"{_of(bound.confidence, offer)} as {col(offer, 'confidence')}",
                *([f"{col(offer, 'propensity')} * {col(offer, 'earned')} as {col(offer, 'expected_profit')}"] if offer.margin else []),
            )
        ],
        [f"{_strong(bound, offer)} as {col(offer, 'strong')}" for offer in bound.offers],
        orders(bound),
        [*ranks(bound), *([f"{_beliefs(bound)} as beliefs"] if _draws(bound) else [])],
    )
    for layer in layers:
        if layer:
            select = f"select *,\n  {listing(layer)}\nfrom (\n{select})"
    passing = ", ".join(col(offer, "order") for offer in bound.offers)
    return Stage("scored", "one customer", f"select * exclude ({passing}), {place_of(bound, 1)} as {quote(FIRST)}\nfrom (\n{select})")


@once
def decisions(bound: Bound, rests: bool = True) -> Stage:
    """The decision record, in the customers' order and the playbook's of offers. Grain: one customer × offer.

    `rests`: whether anybody has an offer that must rest; where nobody has, nothing is joined and so nothing sorted again.
    """
    key = quote(bound.code)
    source = f"from scored left join contacted using ({key}) order by {key}"  # a join by several threads keeps no order
    if not rests:
        source = "select *, cast(null as struct(place integer, rule varchar)[]) as resting from scored"
    columns = ", ".join(f"d.{name}" for name in _records(bound)[0])
    return Stage(
        "decisions",
        "one customer × offer",
        f"select {key}, {columns}\nfrom (select {key}, unnest([\n  {decision_structs(bound)}]) as d\nfrom ({source}))",
    )


def decision_structs(bound: Bound) -> str:
    """SQL over scored and contacted: a struct for every offer, the columns of a decision beside the customer's code."""
    structs = [", ".join(f"{text(name)}: {value}" for name, value in record.items()) for record in _records(bound)]
    return listing([f"{{{struct}}}" for struct in structs])


def verdict(offer: BoundOffer) -> str:
    """SQL over scored: where an offer's path ended."""
    return (
        f"case when not {col(offer, 'eligible')} then 'ineligible' when not {col(offer, 'applicable')} then 'held' "
        f"when not {col(offer, 'suitable')} then 'unsuitable' "
        f"when {col(offer, 'rank')} is null then 'weak' else 'ranked' end"
    )


VERDICTS = ("ineligible", "held", "unsuitable", "weak", "ranked")


def _of(rule: Rule, offer: BoundOffer) -> str:
    """A rule of the arbitration over this offer's own columns."""
    own: Mapping[str, exp.Expr] = {"lever": exp.convert(offer.model.lever)}

    def swap(node: exp.Expr) -> exp.Expr:
        if isinstance(node, exp.Column):
            return own.get(node.name) or exp.column(f"{offer.id}.{node.name}", quoted=True)
        return node

    return tree(rule).transform(swap).sql(dialect="duckdb")


def _more_evidence(bound: Bound) -> Rule:
    """The propensity were there a point of evidence more."""
    more = exp.paren(exp.Add(this=exp.column("evidence"), expression=exp.convert(1)))
    return Rule(
        bound.propensity.text,
        tree(bound.propensity).transform(lambda node: more.copy() if isinstance(node, exp.Column) and node.name == "evidence" else node),
    )


def _money(expression: str) -> str:
    return f"coalesce(try_cast(round({expression}, 2) as decimal(18, 2)), 0)"


def _verdicts_and_terms(bound: Bound, offer: BoundOffer) -> list[str]:
    held = holds(offer.called) if OWNED in bound.customer_columns else "false"
    items = [
        f"not {held} as {col(offer, 'applicable')}",
        *(
            f"coalesce({sql(rule, 'duckdb')}, false) as {col(offer, f'{stage}.{name}')}"
            for stage, rules in _stages(offer).items()
            for name, rule in rules.items()
        ),
    ]
    rules = [rule for rule in (bound.score, bound.propensity, bound.uncertainty) if rule]
    named = {column.name for rule in rules for column in tree(rule).find_all(exp.Column)}
    for name, rule in (("learned", offer.learned), ("learned_error", offer.learned_error)):
        if name in named:
            items.append(f"cast({sql(rule, 'duckdb') if rule else 'null'} as double) as {col(offer, name)}")
    if "typical" in named:
        items.append(f"cast({_typical(bound, offer) or 'false'} as double) as {col(offer, 'typical')}")
    if "gap" in named or bound.model.business.gap:
        items.append(f"cast({gap(bound, offer)} as double) as {col(offer, 'gap')}")
    items += [f"{_money(sql(rule, 'duckdb'))} as {col(offer, f'term.{name}')}" for name, rule in offer.terms.items()]
    if offer.cap:
        items.append(f"cast({sql(offer.cap, 'duckdb')} as double) as {col(offer, 'most')}")
    if offer.today:
        items.append(f"{_money(sql(offer.today, 'duckdb'))} as {col(offer, 'now')}")
    if offer.margin:
        items.append(f"cast(({sql(offer.margin, 'duckdb')}) - ({sql(offer.cost, 'duckdb')}) as double) as {col(offer, 'earned')}")
    return items


def _typical(bound: Bound, offer: BoundOffer) -> str:
    """SQL: whether the customer is in a segment that names the offer."""
    return " or ".join(quote(name) for name, segment in bound.model.segments.items() if offer.id in segment.offers)


def gap(bound: Bound, offer: BoundOffer) -> str:
    """SQL: whether the customer holds nothing of the offer's category."""
    return f"not {holds(bound.held().get(cell(HOLDS, offer.model.category), ()))}" if OWNED in bound.customer_columns else "true"


def _own_signals(bound: Bound) -> list[str]:
    return [f"{strength(rule)} as {_signal(offer, name)}" for offer in bound.offers for name, rule in offer.own_signals.items()]


def _signal(offer: BoundOffer, name: str) -> str:
    """The column of scored that holds a signal's strength for the offer."""
    return col(offer, f"signal.{name}") if name in offer.own_signals else quote(name)


def _evidence(offer: BoundOffer) -> str:
    points = [f"{weight} * {_signal(offer, name)}" for name, weight in offer.model.evidence.signals.items()]
    return f"cast({' + '.join([str(offer.model.evidence.prior), *points])} as double) as {col(offer, 'evidence')}"


def _stages(offer: BoundOffer) -> dict[str, dict[str, Rule]]:
    return {"eligible": offer.eligible, "suitable": offer.suitable}


def _passed(offer: BoundOffer) -> list[str]:
    """Whether all rules of a stage hold."""
    return [
        f"{' and '.join(col(offer, f'{stage}.{name}') for name in rules) or 'true'} as {col(offer, stage)}"
        for stage, rules in _stages(offer).items()
    ]


def failed(offer: BoundOffer, stage: str) -> str:
    """SQL over scored: the rules of a stage (eligible or suitable) that do not hold, by name, with a space between."""
    checks = ", ".join(f"case when not {col(offer, f'{stage}.{name}')} then {text(name)} end" for name in _stages(offer)[stage])
    return f"case when {col(offer, stage)} then '' else concat_ws(' ', {checks}) end" if checks else "''"


def _limits(offer: BoundOffer) -> list[str]:
    """What the cap takes off, and what the customer gets today, so that the terms add up to the benefit."""
    total = " + ".join(col(offer, f"term.{name}") for name in offer.terms) or "0"
    items = []
    over = "0"
    if offer.cap:
        over = _money(f"least(0, {col(offer, 'most')} - cast({total} as double))")
        items.append(f"{over} as {col(offer, 'term.cap')}")
    if offer.today:
        gained = f"greatest(0, {total} + {over})"
        already = f"-least(greatest({col(offer, 'now')}, 0), {gained})"
        items.append(f"{_money(already)} as {col(offer, 'term.today')}")
    return items


def _terms(offer: BoundOffer) -> list[str]:
    return [*offer.terms, *(["cap"] if offer.cap else []), *(["today"] if offer.today else [])]


def _benefit(offer: BoundOffer) -> str:
    total = " + ".join(col(offer, f"term.{name}") for name in _terms(offer)) or "0"
    return f"cast({total} as decimal(18, 2))"


def _strong(bound: Bound, offer: BoundOffer) -> str:
    contact = bound.contact
    conditions = [
        f"{col(offer, 'confidence')} >= {contact.minimum_confidence}",
        f"{col(offer, 'benefit')} >= {contact.minimum_benefit}",
    ]
    if contact.minimum_profit is not None and offer.margin:
        conditions.append(f"coalesce({col(offer, 'expected_profit')} >= {contact.minimum_profit}, true)")
    return f"({' and '.join(conditions)})"


def _score(rule: Rule, offer: BoundOffer) -> str:
    expression = _of(rule, offer).replace(col(offer, "benefit"), f"cast({col(offer, 'benefit')} as double)")
    return f"cast({expression} as double)"


def _draws(bound: Bound) -> bool:
    return bound.contact.exploration is not None and bound.contact.exploration.draw == "thompson"


def _beliefs(bound: Bound) -> str:
    """A list by place: the score of each offer and its standard error."""
    assert bound.uncertainty is not None  # told where the playbook is bound
    errors = ((offer, f"greatest(coalesce({_score(bound.uncertainty, offer)}, 0), 0)") for offer in bound.offers)
    each = (f"{{'score': {col(offer, 'score')}, 'error': {error}}}" for offer, error in errors)
    return f"[{', '.join(each)}]"


def _records(bound: Bound) -> list[dict[str, str]]:
    """For each offer the columns of a decision beside the customer's code, as SQL over scored and `resting`.

    Words are enumerations: a byte each instead of a string, ten million times over.
    """
    language = bound.model.business.languages[0]
    kinds = {
        "offer": _enumeration(offer.id for offer in bound.offers),
        "product": _enumeration(offer.model.name[language] for offer in bound.offers),
        "verdict": _enumeration(VERDICTS),
        "term": _enumeration(name for offer in bound.offers for name in _terms(offer)),
        "signal": _enumeration(bound.model.signals),
    }
    return [_record(bound, offer, place, language, kinds) for place, offer in enumerate(bound.offers, 1)]


def _record(bound: Bound, offer: BoundOffer, place: int, language: str, kinds: dict[str, str]) -> dict[str, str]:
    by_weight = sorted(offer.model.evidence.signals.items(), key=lambda item: -item[1])
    terms = {name: col(offer, f"term.{name}") for name in _terms(offer)}
    points = {name: f"cast({weight} * {_signal(offer, name)} as float)" for name, weight in by_weight}
    return {
        "offer": f"cast({text(offer.id)} as {kinds['offer']})",
        "product": f"cast({text(offer.model.name[language])} as {kinds['product']})",
        "rank": col(offer, "rank"),
        "recommended": f"coalesce({col(offer, 'rank')} <= {bound.model.business.top}, false)",
        "confidence": col(offer, "confidence"),
        "score": col(offer, "score"),
        "verdict": f"cast({verdict(offer)} as {kinds['verdict']})",
        **{name: col(offer, name) for name in ("eligible", "applicable", "suitable", "strong")},
        "eligibility_failed": failed(offer, "eligible"),
        "suitability_failed": failed(offer, "suitable"),
        "held_by": f"list_filter(resting, lambda r: r.place = {place})[1].rule",
        "benefit": col(offer, "benefit"),
        "benefit_terms": _named("term", kinds["term"], "amount", terms),
        "propensity": col(offer, "propensity"),
        "expected_profit": col(offer, "expected_profit") if offer.margin else "cast(null as double)",
        "evidence": col(offer, "evidence"),
        "evidence_terms": _named("signal", kinds["signal"], "points", points),
        "reasons": _reasons(bound, offer, [name for name, weight in by_weight if weight > 0], language),
    }


def _reasons(bound: Bound, offer: BoundOffer, signals: list[str], language: str) -> str:
    """SQL: what speaks for the offer, in words."""
    said = [f"case when {_signal(offer, name)} > 0 then {text(bound.model.signals[name].meaning[language])} end" for name in signals]
    said += [
        f"case when {quote(name)} then {text(segment.meaning[language])} end"
        for name, segment in bound.model.segments.items()
        if offer.id in segment.offers
    ]
    if says := bound.model.business.gap:
        said.append(f"case when {col(offer, 'gap')} = 1 then {text(says[language].replace('{category}', offer.model.category))} end")
    reasons = f"concat_ws('; ', {', '.join(said)})" if said else "''"
    if offer.learned:  # evidence that changes nothing beside a forecast is no reason
        reasons = f"case when {col(offer, 'propensity')} <> {_of(_more_evidence(bound), offer)} then {reasons} else '' end"
    return reasons


def _named(key: str, kind: str, unit: str, items: Mapping[str, str]) -> str:
    """SQL: a list of {key, number}."""
    return "[" + ", ".join(f"{{{text(key)}: cast({text(name)} as {kind}), {text(unit)}: {value}}}" for name, value in items.items()) + "]"


def _enumeration(words: Iterable[str]) -> str:
    return f"enum({', '.join(text(word) for word in dict.fromkeys(words))})"
