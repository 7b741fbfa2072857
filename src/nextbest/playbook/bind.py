"""From a loaded playbook to one bound for a day: every expression parsed, every name resolved, all problems told.

What the plan needs follows from what the playbook names: only cells that some rule reads are computed.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import NamedTuple, TypeVar

from nextbest.errors import PlaybookError, Problem
from nextbest.playbook.binder import Binder
from nextbest.playbook.contact import BoundContact, bound_contact
from nextbest.playbook.entry import Condition
from nextbest.playbook.load import Loaded
from nextbest.playbook.model import Fact, Measure, Offer, Option, Playbook
from nextbest.playbook.naming import check_names, takes_own_numbers
from nextbest.playbook.shape import check_shape
from nextbest.rules.parse import ParamValue, Rule, Scope, cell, did_you_mean

T = TypeVar("T")
DATED = ("since", "first", "days")
"""What a measure can take of rows only where they have dates."""
UNKNOWN = ("since", "first")
"""What is unknown, and not 0, where there is no row."""
PARTIAL = "summed in part"
"""The customer's column that lists the cells that are sums and lack a row whose amount is not known."""
OWNED = "owned_products"
"""The customer column that lists the products held."""
HOLDS = "holds"
"""The measure of it by category of offers: `holds['cards']` is 1 or 0."""
ARBITRATED = frozenset({"evidence", "learned_error", "propensity", "benefit", "lever", "typical", "gap"})
"""What a score may name of an offer."""


class Cell(NamedTuple):
    """One cell of a measure: its key, what is taken of the rows (see `series_of`), and its column."""

    key: str
    of: str
    column: str


@dataclass(frozen=True)
class BoundOption:
    """One wording: when it may be used, and its text by language."""

    when: Rule | None
    text: dict[str, str]


@dataclass(frozen=True)
class BoundOffer:
    """One offer with its rules bound. `today` is what the customer gets now, taken off the benefit.

    `own_signals` are those taken with the offer's own numbers; the playbook's others are the same for every offer.
    """

    id: str
    model: Offer
    eligible: dict[str, Rule]
    suitable: dict[str, Rule]
    terms: dict[str, Rule]
    cap: Rule | None
    today: Rule | None
    facts: dict[str, Rule]
    parts: dict[str, list[BoundOption]]
    own_signals: dict[str, Rule]
    learned: Rule | None
    learned_error: Rule | None
    cost: Rule
    margin: Rule | None

    @property
    def called(self) -> tuple[str, ...]:
        """Its names in `owned_products`, in lower case."""
        names = (self.id, *self.model.name.values(), *self.model.also_called)
        return tuple(dict.fromkeys(name.strip().lower() for name in names))


@dataclass(frozen=True, eq=False)
class Bound:
    """A playbook bound for an as-of day. One is equal to itself alone."""

    loaded: Loaded = field(repr=False)
    as_of: date
    measures: dict[str, Measure]
    features: dict[str, Rule]
    segments: dict[str, Rule]
    signals: dict[str, Rule]
    offers: tuple[BoundOffer, ...]
    defaults: dict[str, Rule]
    profiling: Rule
    contact: BoundContact
    propensity: Rule
    score: Rule
    uncertainty: Rule | None
    confidence: Rule
    plurals: dict[str, Rule]
    paydays: dict[str, Rule]
    """The days near a payday, by the name of the measure's sum."""

    @property
    def model(self) -> Playbook:
        """The playbook as written."""
        return self.loaded.model

    @property
    def customer_columns(self) -> tuple[str, ...]:
        """Columns of the customers table, the id among them."""
        return tuple(self.model.business.sources[self.model.business.customers].columns)

    @cached_property
    def sums(self) -> frozenset[str]:
        """The cells that are sums."""
        return frozenset(item.column for needed in self.cells.values() for item in needed if item.of == "sum")

    @property
    def inputs(self) -> tuple[str, ...]:
        """The columns from which everything of a customer is computed: their own, the cells, and which of these lack a row."""
        return (*self.customer_columns, *dict.fromkeys(item.column for needed in self.cells.values() for item in needed), PARTIAL)

    @property
    def code(self) -> str:
        """The column of a customer's code."""
        return self.model.business.code

    def called(self, name: str, language: str) -> str:
        """What people call a feature or a customer column: its meaning, or the first header of its column."""
        column = self.model.business.sources[self.model.business.customers].columns.get(name)
        named = self.model.features.features.get(name) or column
        if named and named.meaning and language in named.meaning:
            return named.meaning[language]
        return (column.names[0] if column and column.names else name).replace("_", " ")

    def rules(self) -> Iterable[Rule]:
        """Every rule over one customer's row."""
        yield from (*self.features.values(), *self.segments.values(), *self.signals.values(), self.profiling)
        yield from (rule for rule in self.contact.purposes.values() if rule)
        for offer in self.offers:
            for group in (offer.eligible, offer.suitable, offer.terms, offer.facts, offer.own_signals):
                yield from group.values()
            yield from (rule for rule in (offer.cap, offer.today, offer.learned, offer.learned_error, offer.cost, offer.margin) if rule)
            yield from (option.when for options in offer.parts.values() for option in options if option.when)

    @cached_property
    def cells(self) -> dict[str, list[Cell]]:
        """Measure id → the cells that some rule reads, each sum with its count beside it."""
        used = {column for rule in self.rules() for column in rule.columns if column.endswith("]")}
        needed: dict[str, list[Cell]] = {}
        for name, measure in self.measures.items():
            found = needed.setdefault(name, [])
            for key in keys_of(self.model, measure):
                columns = {of: cell(series, key) for of, series in series_of(measure).items()}
                wanted = {of for of, column in columns.items() if column in used}
                wanted |= {"count"} if "sum" in wanted else set()
                found += [Cell(key, of, column) for of, column in columns.items() if of in wanted]
        return needed

    def held(self) -> dict[str, tuple[str, ...]]:
        """The column of each category → the names of its products; empty where no column says what customers hold."""
        named: dict[str, list[str]] = {}
        for offer in self.offers if OWNED in self.customer_columns else ():
            named.setdefault(cell(HOLDS, offer.model.category), []).extend(offer.called)
        return {column: tuple(dict.fromkeys(names)) for column, names in named.items()}

    def roots(self, rule: Rule) -> tuple[str, ...]:
        """The cells and customer columns behind a rule, through any features it names."""
        found: dict[str, None] = {}
        for column in rule.columns:
            inner = self.features.get(column) or self.segments.get(column) or self.signals.get(column)
            found.update(dict.fromkeys(self.roots(inner) if inner else (column,)))
        return tuple(found)


def series_of(measure: Measure) -> dict[str, str]:
    """What a measure takes of its rows (sum, count, since, first, days) → the name that rules call it by."""
    named = {of: getattr(measure, of) for of in ("sum", "count", *DATED)}
    return {of: name for of, name in named.items() if name is not None}


def keys_of(playbook: Playbook, measure: Measure) -> tuple[str, ...]:
    """The keys that a measure can be asked for: the known values of the column it is split by."""
    business = playbook.business
    if measure.by == "payday":
        return ("near", "far")
    if measure.by == "all":
        return ("all",)
    if measure.by == "month_back":
        return tuple(str(back) for back in range(1, business.horizon_months + 1))
    source = business.sources.get(measure.of)
    column = source.columns.get(measure.by) if source else None
    return tuple(column.values) if column else ()


def bound(loaded: Loaded, as_of: date) -> Bound:
    """Bind a playbook for a day. Raises PlaybookError with every unknown name and rule outside the language."""
    model, binder = loaded.model, Binder(loaded, as_of)
    business = model.business
    customers = business.sources.get(business.customers)
    if customers is None:
        raise PlaybookError([Problem(loaded.where("business", "customers"), f"no source '{business.customers}'")])
    check_shape(model, binder.say)
    params: dict[str, ParamValue] = {"months": business.horizon_months, **binder.params(model.params, "params")}
    measures = model.features.measures
    for name, measure in measures.items():
        if measure.payday and measure.payday.day not in customers.columns:
            binder.say(f"no customer column '{measure.payday.day}'", "name one", "features", "measures", name, "payday", "day")
        if (measure.by == "payday") != (measure.payday is not None):
            binder.say("`by: payday` and an entry `payday` belong together", "write both", "features", "measures", name)
        dated = measure.of in business.sources and "date" in business.sources[measure.of].columns
        if not dated and (
            measure.by in ("month_back", "payday") or measure.over == "last_month" or any(getattr(measure, of) for of in DATED)
        ):
            binder.say(f"the rows of '{measure.of}' have no date", "give it one, or split otherwise", "features", "measures", name)
        if not keys_of(model, measure):
            binder.say(f"'{measure.of}.{measure.by}' has no known values", "name a column with values", "features", "measures", name)
    cells = {name: keys for measure in measures.values() if (keys := keys_of(model, measure)) for name in series_of(measure).values()}
    if OWNED in customers.columns:
        cells[HOLDS] = tuple(dict.fromkeys(offer.category for offer in model.offers.values()))
    base = Scope(frozenset(customers.columns), cells, params)
    check_names(model, base, binder.say)
    with_features = base.adding(model.features.features)
    features = {
        name: binder.rule(feature.value, with_features, "features", "features", name, "value")
        for name, feature in model.features.features.items()
    }
    known = with_features.adding(model.features.population)
    segments = {name: binder.rule(segment.when, known, "segments", name, "when") for name, segment in model.segments.items()}
    known = known.adding(model.segments)
    shared = {name: signal for name, signal in model.signals.items() if not takes_own_numbers(model, name)}
    signals = {name: binder.rule(signal.strength, known, "signals", name, "strength") for name, signal in shared.items()}
    with_signals = known.adding(shared)
    result = Bound(
        loaded=loaded,
        as_of=as_of,
        measures=measures,
        features=_ordered(binder, features),
        segments=segments,
        signals=signals,
        offers=tuple(_offer(binder, offer, with_signals) for offer in model.offers.values()),
        defaults={
            name: binder.rule(value, Scope(frozenset(), {}, params), "business", "defaults", name)
            for name, value in business.defaults.items()
        },
        profiling=binder.rule(model.contact.profiling.when, base, "contact", "profiling"),
        contact=bound_contact(
            model,
            lambda text, *path: binder.rule(text, base, *path),
            lambda text, *path: binder.rule(text, Scope(frozenset(), {}, params), *path),
            binder.say,
        ),
        propensity=binder.rule(
            business.arbitration.propensity, Scope(frozenset({"evidence", "learned"}), {}, params), "business", "arbitration", "propensity"
        ),
        score=binder.rule(business.arbitration.score, Scope(ARBITRATED, {}, params), "business", "arbitration", "score"),
        uncertainty=(
            binder.rule(business.arbitration.uncertainty, Scope(ARBITRATED, {}, params), "business", "arbitration", "uncertainty")
            if business.arbitration.uncertainty is not None
            else None
        ),
        confidence=binder.rule(
            business.arbitration.confidence,
            Scope(frozenset({"propensity"}), {}, params),
            "business",
            "arbitration",
            "confidence",
        ),
        plurals={
            language: binder.rule(voice.plural, Scope(frozenset({"n"})), "voices", language, "plural")
            for language, voice in model.voices.items()
        },
        paydays={
            measure.sum: binder.rule(
                measure.payday.within, Scope(frozenset(), {}, params), "features", "measures", name, "payday", "within"
            )
            for name, measure in measures.items()
            if measure.payday
        },
    )
    if binder.problems:
        raise PlaybookError(binder.problems)
    return result


def _offer(binder: Binder, offer: Offer, scope: Scope) -> BoundOffer:
    path = ("offers", offer.id)
    scope = scope.adding(params=binder.params(offer.params, *path, "params"))
    own_signals = {
        name: binder.rule(binder.loaded.model.signals[name].strength, scope, *path, "evidence", "signals", name)
        for name in offer.evidence.signals
        if name in binder.loaded.model.signals and takes_own_numbers(binder.loaded.model, name)
    }
    for name in offer.evidence.signals:
        if name not in binder.loaded.model.signals:
            fix = did_you_mean(name, binder.loaded.model.signals)
            binder.say(f"unknown signal '{name}'", fix, *path, "evidence", "signals", name)

    def conditions(items: dict[str, Condition], key: str) -> dict[str, Rule]:
        return _each(items, lambda name, item: binder.rule(item.when, scope, *path, key, name, "when"))

    benefit, messages = offer.benefit, offer.messages
    fact_scope = scope.adding(["benefit", *(f"term_{name}" for name in benefit.terms)])

    def options(part: str, items: list[Option]) -> list[BoundOption]:
        return [
            BoundOption(
                binder.rule(item.when, fact_scope, *path, "messages", part, str(index), "when") if item.when is not None else None,
                item.text,
            )
            for index, item in enumerate(items)
        ]

    def fact(name: str, item: Fact) -> Rule:
        return binder.rule(item.value, fact_scope, *path, "messages", "facts", name, "value")

    return BoundOffer(
        id=offer.id,
        model=offer,
        eligible=conditions(offer.eligible, "eligible"),
        suitable=conditions(offer.suitable, "suitable"),
        terms=_each(benefit.terms, lambda name, term: binder.rule(term.value, scope, *path, "benefit", "terms", name, "value")),
        cap=binder.rule(benefit.cap, scope, *path, "benefit", "cap") if benefit.cap is not None else None,
        today=binder.rule(benefit.today.value, scope, *path, "benefit", "today", "value") if benefit.today else None,
        facts=_each(messages.facts, fact),
        parts={part: options(part, getattr(messages, part)) for part in ("observe", "help", "act")},
        own_signals=own_signals,
        learned=binder.rule(offer.learned, scope, *path, "learned") if offer.learned is not None else None,
        learned_error=binder.rule(offer.learned_error, scope, *path, "learned_error") if offer.learned_error is not None else None,
        cost=binder.rule(offer.cost, scope, *path, "cost"),
        margin=binder.rule(offer.margin, scope, *path, "margin") if offer.margin is not None else None,
    )


def _each(items: dict[str, T], make: Callable[[str, T], Rule]) -> dict[str, Rule]:
    return {name: make(name, item) for name, item in items.items()}


def _ordered(binder: Binder, features: dict[str, Rule]) -> dict[str, Rule]:
    """Features so that each stands after those it names."""
    done: dict[str, Rule] = {}
    while rest := {name: rule for name, rule in features.items() if name not in done}:
        ready = {n: r for n, r in rest.items() if not any(column in rest for column in r.columns)}
        if not ready:
            for name in rest:
                binder.say("features name each other in a circle", "break the circle", "features", "features", name)
            return features
        done |= ready
    return done
