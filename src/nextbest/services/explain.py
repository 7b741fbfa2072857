"""Explain: one customer's decision, read back from the record: why the first, why not the others, what would change it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from nextbest.errors import Problem, UsageError
from nextbest.intake.scan import parquet
from nextbest.messages.lint import asked
from nextbest.playbook.bind import HOLDS, OWNED, PARTIAL, Bound, BoundOffer, keys_of
from nextbest.playbook.model import Measure
from nextbest.playbook.reference import Row, evidence_counts, outcome, with_own_signals
from nextbest.playbook.window import is_month_end, month_back
from nextbest.rules.parse import Rule, cell
from nextbest.rules.reference import evaluate
from nextbest.run import Run
from nextbest.words import say


@dataclass(frozen=True)
class Behind:
    """What is behind a figure: a cell, how many rows and what they add up to; or a customer's own figure (no rows).

    `partial`: whether the sum lacks some of the rows, in a currency without a rate.
    """

    cell: str
    count: int
    sum: float
    partial: bool = False


@dataclass(frozen=True)
class TermExplained:
    """One part of the benefit, per month."""

    name: str
    meaning: str
    amount: float
    behind: list[Behind]


@dataclass(frozen=True)
class SignalExplained:
    """One signal of the offer: its strength, and the points it gives of those it could."""

    name: str
    meaning: str
    strength: float
    points: float
    most: float


@dataclass(frozen=True)
class Failed:
    """A rule that does not hold: what is said, the rule, and the values it saw."""

    stage: str
    rule: str
    reason: str
    text: str
    values: dict[str, Any]


@dataclass(frozen=True)
class OfferExplained:
    """One offer's path through every stage. `learned`: the forecast for it, None where there is none."""

    offer: str
    product: str
    rank: int | None
    verdict: str
    confidence: float
    propensity: float
    learned: float | None
    evidence: float
    score: float
    benefit: float
    terms: list[TermExplained]
    signals: list[SignalExplained]
    failed: list[Failed]
    change: list[str]


@dataclass(frozen=True)
class Activity:
    """A measure of the customer's rows: what was summed (its `meaning` and `unit`) `by` what, and each cell that is not empty.

    Largest first, but months, which stand from the latest back.
    """

    measure: str
    by: str
    meaning: str
    unit: str
    cells: list[Behind]


@dataclass(frozen=True)
class Explanation:
    """Everything about one customer's decision.

    `refused_by`: where no text was left, the rules of the voice that refused those there were, and what each asks.
    """

    customer: str
    as_of: str
    currency: str
    profile: dict[str, Any]
    offers: list[OfferExplained]
    message: str | None
    segments: list[str] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)
    facts: list[dict[str, str]] = field(default_factory=list)
    treatment: str | None = None
    withheld: str | None = None
    refused_by: dict[str, str] = field(default_factory=dict)
    activity: list[Activity] = field(default_factory=list)
    language: str | None = None
    send_at: datetime | None = None
    chance: float | None = None

    def _repr_html_(self) -> str:
        from nextbest.report.console import explanation_html

        return explanation_html(self)


def explain(out: str | Path, customer: str | int, language: str | None = None) -> Explanation:
    """Read one customer's decision from an output folder. Raises UsageError where the customer is not in it."""
    run = Run(Path(out))
    book = run.book
    language = language or book.model.business.languages[0]
    if language not in book.model.business.languages:
        raise UsageError([Problem(f"language {language}", "not a language of the playbook", ", ".join(book.model.business.languages))])
    records = _select(run, "decisions", customer)
    row = next(iter(_select(run, "features", customer)), None)
    if not records or row is None:
        fix = "check the code; an objection to profiling and a holdout leave a customer out"
        raise UsageError([Problem(str(run.folder), "no such customer was scored in this run", fix)])
    offers = {offer.id: offer for offer in book.offers}
    ranked = sorted(records, key=lambda item: (item["rank"] is None, item["rank"], item["offer"]))
    message = next(iter(_select(run, "messages", customer)), {})
    return Explanation(
        customer=str(customer),
        as_of=run.record["as_of"],
        currency=book.model.channels[book.model.business.channel].sign,
        profile={name: row[name] for name in book.customer_columns if row.get(name) is not None},
        offers=[_offer(book, offers[item["offer"]], item, row, ranked, language) for item in ranked],
        message=message.get("message"),
        segments=[segment.meaning[language] for name, segment in book.model.segments.items() if row[name]],
        gaps=_gaps(book, row),
        facts=message.get("facts") or [],
        treatment=message.get("treatment"),
        withheld=message.get("withheld"),
        refused_by=_refused_by(book, message, language),
        activity=_activity(book, row, language),
        language=message.get("language"),
        send_at=message["send_at"].replace(tzinfo=UTC) if message.get("send_at") else None,
        chance=message.get("chance"),
    )


def _refused_by(book: Bound, message: Row, language: str) -> dict[str, str]:
    if not (failed := message.get("failed")):
        return {}
    meanings = asked(book.model, message["language"], book.model.business.channel, language)
    return {name: meanings[name] for name in failed}


def _activity(book: Bound, row: Row, language: str) -> list[Activity]:
    """What the customer's rows add up to over the whole time, of the measures that this playbook uses."""
    found = []
    for measure in (item for item in book.measures.values() if item.over == "horizon"):
        months = measure.by == "month_back"
        keys = [key for key in keys_of(book.model, measure) if _holds(cell(measure.sum, key), cell(measure.count, key), row)]
        cells = [_summed(measure, key, row, key if months else _called(book, measure, key, language)) for key in keys]
        if not months:  # they stay in their order
            cells.sort(key=lambda item: (-item.sum, item.cell))
        if cells:
            found.append(Activity(measure.sum, measure.by, measure.meaning[language], measure.unit, cells))
    return found


def _gaps(book: Bound, row: Row) -> list[str]:
    """The categories of which the customer holds nothing, in playbooks that speak of gaps."""
    if not book.model.business.gap:
        return []
    owned = row.get(OWNED) or ()
    return [
        category for category in dict.fromkeys(offer.model.category for offer in book.offers)
        if not any(name in owned for name in book.held().get(cell(HOLDS, category), ()))
    ]  # fmt: skip


def _select(run: Run, name: str, customer: str | int) -> list[Row]:
    path = run.folder / f"{name}.parquet"
    if not path.is_file():
        raise UsageError([Problem(str(path), "the file does not exist", "run `nextbest decide` again")])
    table = parquet(path)
    with duckdb.connect() as connection:
        key = connection.execute(f"describe from {table}").fetchall()[0][0]
        found = connection.execute(f'from {table} where cast("{key}" as varchar) = ?', [str(customer)])
        names = [column[0] for column in found.description]
        return [dict(zip(names, values, strict=True)) for values in found.fetchall()]


def _offer(book: Bound, offer: BoundOffer, record: Row, row: Row, ranked: list[Row], language: str) -> OfferExplained:
    benefit = offer.model.benefit
    meanings = {name: term.meaning for name, term in benefit.terms.items()}
    if benefit.today:
        meanings["today"] = benefit.today.meaning
    rules = {**offer.terms, **({"today": offer.today} if offer.today else {}), **({"cap": offer.cap} if offer.cap else {})}
    terms = [
        TermExplained(
            name=item["term"],
            meaning=meanings.get(item["term"], {}).get(language, item["term"]),
            amount=float(item["amount"]),
            behind=_behind(book, rules[item["term"]], row, language),
        )
        for item in record["benefit_terms"]
    ]
    own = with_own_signals(offer, row)
    learned = evaluate(offer.learned, row) if offer.learned else None
    counts = evidence_counts(book, record["evidence"], learned)
    signals = [
        SignalExplained(
            name=item["signal"],
            meaning=book.model.signals[item["signal"]].meaning[language],
            strength=own[item["signal"]],
            points=item["points"],
            most=offer.model.evidence.signals[item["signal"]],
        )
        for item in record["evidence_terms"]
        if counts
    ]
    failed = [
        *_failed("eligibility", offer.eligible, offer.model.eligible, record["eligibility_failed"], row, language),
        *_failed("suitability", offer.suitable, offer.model.suitable, record["suitability_failed"], row, language),
    ]
    return OfferExplained(
        offer=offer.id,
        product=offer.model.name[language],
        rank=record["rank"],
        verdict=record["verdict"],
        confidence=record["confidence"],
        propensity=record["propensity"],
        learned=learned,
        evidence=record["evidence"],
        score=record["score"],
        benefit=float(record["benefit"]),
        terms=terms,
        signals=signals,
        failed=failed,
        change=_change(book, offer, record, own, ranked, failed, language, counts),
    )


def _behind(book: Bound, rule: Rule, row: Row, language: str) -> list[Behind]:
    """The cells under a rule, each with its count and sum."""
    found = [
        _summed(measure, key, row, _called(book, measure, key, language))
        for measure in book.measures.values()
        for key in keys_of(book.model, measure)
        if cell(measure.sum, key) in book.roots(rule) and _holds(cell(measure.sum, key), cell(measure.count, key), row)
    ]
    known = [name for name in book.roots(rule) if name in book.customer_columns and isinstance(row.get(name), int | float)]
    return [*found, *(Behind(name, 0, float(row[name])) for name in known)]


def _holds(sums: str, counts: str, row: Row) -> bool:
    """Whether there is a sum, or would be, were the amounts of its rows known."""
    return bool(row.get(sums)) or (bool(row.get(counts)) and sums in (row.get(PARTIAL) or ()))


def _summed(measure: Measure, key: str, row: Row, called: str) -> Behind:
    column = cell(measure.sum, key)
    return Behind(called, int(row.get(cell(measure.count, key)) or 0), float(row[column]), column in (row.get(PARTIAL) or ()))


def _called(book: Bound, measure: Measure, key: str, language: str) -> str:
    """What people call a cell: a calendar month by its number, any other by its days, and the only cell of a measure by its meaning."""
    meaning = measure.meaning[language]
    if measure.by != "month_back":
        return meaning if measure.by == "all" else key
    month = month_back(book.as_of, int(key))
    whole = month.start.day == 1 and is_month_end(month.end)
    return f"{meaning} {f'{month.start:%Y-%m}' if whole else f'{month.start}…{month.end}'}"


def _failed(stage: str, rules: dict[str, Rule], model: dict[str, Any], names: str, row: Row, language: str) -> list[Failed]:
    return [Failed(stage, name, model[name].reason[language], rules[name].text, _read(rules[name], row)) for name in names.split()]


def _read(rule: Rule, row: Row) -> dict[str, Any]:
    """What a rule saw: the customer's columns, and the parameters by the names that its text calls them."""
    return {**{column: row[column] for column in rule.columns}, **{f"p.{name}": value for name, value in rule.params.items()}}


def _change(
    book: Bound, offer: BoundOffer, record: Row, row: Row, ranked: list[Row], failed: list[Failed], language: str, counts: bool
) -> list[str]:
    """What would have to be different for this offer to come first. `counts`: whether evidence has a say."""
    meaning = {name: book.model.signals[name].meaning[language] for name in offer.model.evidence.signals}
    if record["verdict"] == "held":
        return [say(language, "change.held")]
    changes = [say(language, "change.rule", reason=item.reason, rule=item.text) for item in failed]
    if record["verdict"] == "weak":
        own = {name: float(value) for name in ("confidence", "benefit", "expected_profit") if (value := record[name]) is not None}
        changes += [say(language, MISSED[name], own=own[name], least=least) for name, least in _missed(book, own)]
    if record["rank"] == 1:
        second = next((item for item in ranked if item["rank"] == 2), None)
        return [
            say(language, "change.depends", signal=meaning[name], product=_product(book, second["offer"], language))
            for name in offer.model.evidence.signals
            if second and row[name] > 0 and outcome(book, offer, {**row, name: 0.0}).score < second["score"]
        ]
    best = ranked[0]["score"] if ranked and ranked[0]["rank"] == 1 else None
    for name, points in offer.model.evidence.signals.items():
        if points <= 0 or row[name] >= 1 or best is None or not counts:
            continue
        would = outcome(book, offer, {**row, name: 1.0})
        would_be = {"confidence": would.confidence, "benefit": would.benefit, "expected_profit": would.expected_profit}
        if would.score > best and not _missed(book, would_be):
            changes.append(say(language, "change.signal_if_open" if failed else "change.signal", signal=meaning[name]))
    if not changes and best is not None:
        changes.append(say(language, "change.nothing", best=f"{best:.3f}", own=f"{record['score']:.3f}"))
    return changes


MISSED = {"confidence": "change.confidence", "benefit": "change.benefit", "expected_profit": "change.expected_profit"}


def _missed(book: Bound, own: Mapping[str, float | None]) -> list[tuple[str, float]]:
    """The minimums that an offer stays below: confidence, benefit or expected_profit, and the least it must be."""
    contact = book.contact
    minimums = {"confidence": contact.minimum_confidence, "benefit": contact.minimum_benefit, "expected_profit": contact.minimum_profit}
    return [
        (name, least) for name, least in minimums.items() if least is not None and (value := own.get(name)) is not None and value < least
    ]


def _product(book: Bound, offer: str, language: str) -> str:
    return next(item.model.name[language] for item in book.offers if item.id == offer)
