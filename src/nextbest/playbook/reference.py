"""One customer through one offer in plain Python: the oracle of the batch, the examples and the explanation."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nextbest.playbook.bind import HOLDS, OWNED, UNKNOWN, Bound, BoundOffer, keys_of, series_of
from nextbest.rules.functions import round_half_away
from nextbest.rules.parse import Rule, cell
from nextbest.rules.reference import evaluate

Row = dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What one offer comes to for one customer. Terms add up to the benefit, in currency per month."""

    eligibility_failed: tuple[str, ...]
    suitability_failed: tuple[str, ...]
    terms: dict[str, float]
    benefit: float
    evidence: float
    propensity: float
    score: float
    confidence: float
    expected_profit: float | None

    @property
    def eligible(self) -> bool:
        """Whether every eligibility rule holds."""
        return not self.eligibility_failed

    @property
    def suitable(self) -> bool:
        """Whether every suitability rule holds."""
        return not self.suitability_failed


def empty_row(bound: Bound) -> Row:
    """A customer of whom nothing is known and who did nothing."""
    row: Row = dict.fromkeys(bound.customer_columns)
    for measure in bound.measures.values():
        for key in keys_of(bound.model, measure):
            row |= {cell(series, key): None if of in UNKNOWN else 0.0 for of, series in series_of(measure).items()}
    return row | {name: item.default for name, item in bound.model.features.population.items()}


def with_features(bound: Bound, row: Mapping[str, Any]) -> Row:
    """The row with features, segments and signals added; those that the row brings stay as they are."""
    full = dict(row)
    owned = full.get(OWNED) or ()
    for name, products in bound.held().items():
        full.setdefault(name, float(any(product in products for product in owned)))
    for name, rule in bound.features.items():
        full.setdefault(name, None)
        if name not in row:
            full[name] = evaluate(rule, full)
    for name, rule in bound.segments.items():
        if name not in row:
            full[name] = bool(evaluate(rule, full))
    for name, rule in bound.signals.items():
        if name not in row:
            full[name] = strength(rule, full)
    return full


def strength(rule: Rule, row: Mapping[str, Any]) -> float:
    """A signal's strength on one row, 0 to 1; 0 where it is unknown."""
    return min(1.0, max(0.0, float(evaluate(rule, row) or 0.0)))


def with_own_signals(offer: BoundOffer, row: Mapping[str, Any]) -> Row:
    """The row with the signals that are taken with the offer's own numbers."""
    return {**{name: strength(rule, row) for name, rule in offer.own_signals.items()}, **row}


def outcome(bound: Bound, offer: BoundOffer, row: Mapping[str, Any]) -> Outcome:
    """What `offer` comes to on a row that has features and signals."""
    terms = {name: _money(evaluate(rule, row)) for name, rule in offer.terms.items()}
    gained = sum(terms.values())
    cap = evaluate(offer.cap, row) if offer.cap else None
    if cap is not None and gained > cap:
        terms["cap"] = _money(cap - gained)
    today = _money(evaluate(offer.today, row)) if offer.today else 0.0
    if today:
        terms["today"] = -min(max(today, 0.0), max(_money(sum(terms.values())), 0.0))
    benefit = _money(sum(terms.values()))
    model = offer.model
    row = with_own_signals(offer, row)
    evidence = model.evidence.prior + sum(points * row[signal] for signal, points in model.evidence.signals.items())
    learned = evaluate(offer.learned, row) if offer.learned else None
    propensity = evaluate(bound.propensity, {"evidence": evidence, "learned": learned})
    typical = any(row[name] for name, segment in bound.model.segments.items() if offer.id in segment.offers)
    held = row.get(cell(HOLDS, model.category), 0.0)
    values = {
        "evidence": evidence,
        "learned_error": evaluate(offer.learned_error, row) if offer.learned_error else None,
        "propensity": propensity,
        "benefit": benefit,
        "lever": model.lever,
        "typical": float(typical),
        "gap": 1.0 - held,
    }
    return Outcome(
        eligibility_failed=tuple(name for name, rule in offer.eligible.items() if not evaluate(rule, row)),
        suitability_failed=tuple(name for name, rule in offer.suitable.items() if not evaluate(rule, row)),
        terms=terms,
        benefit=benefit,
        evidence=evidence,
        propensity=propensity,
        score=evaluate(bound.score, values),
        confidence=evaluate(bound.confidence, values),
        expected_profit=_expected_profit(offer, row, propensity),
    )


def evidence_counts(bound: Bound, evidence: float, learned: float | None) -> bool:
    """Whether more evidence would make the offer likelier, beside what a model says of it."""
    return bool(
        evaluate(bound.propensity, {"evidence": evidence, "learned": learned})
        != evaluate(bound.propensity, {"evidence": evidence + 1, "learned": learned})
    )


def _expected_profit(offer: BoundOffer, row: Mapping[str, Any], propensity: float) -> float | None:
    """What offering it is worth to the business; None where the offer has no margin, or it is unknown for the customer."""
    margin = evaluate(offer.margin, row) if offer.margin else None
    cost = evaluate(offer.cost, row)
    return None if margin is None or cost is None else propensity * (margin - cost)


def _money(value: float | None) -> float:
    return round_half_away(value or 0.0, 2)
