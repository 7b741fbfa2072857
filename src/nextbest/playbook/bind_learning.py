"""learn.yaml bound for a day: every expression parsed, every name resolved, all problems told."""

from dataclasses import dataclass

from nextbest.errors import PlaybookError
from nextbest.playbook.bind import Bound
from nextbest.playbook.binder import Binder
from nextbest.playbook.learning import ActivityLearning, Gate, OfferLearning, PurchaseLearning, Said, UpliftLearning
from nextbest.playbook.sources import Source
from nextbest.rules.parse import ParamValue, Rule, Scope
from nextbest.rules.reference import evaluate

MADE = ("similar", "history")
"""Features that models make themselves: what similar customers have, and what the customer answered before."""
RESERVED = frozenset(
    ["customer", "product", "round", "taken", "basket", "heuristic", "failed", "base", "other", "asked_before", "taken_before", *MADE]
)
"""Columns of the tables of pairs."""


@dataclass(frozen=True)
class BoundReason:
    """What is said of some features: for the offer, by the first rule that holds, or against it."""

    of: tuple[str, ...]
    speaks_for: tuple[tuple[Rule | None, dict[str, str]], ...]
    against: dict[str, str]


@dataclass(frozen=True, eq=False)
class BoundOfferLearning:
    """The part `offers` of learn.yaml, bound."""

    book: Bound
    model: OfferLearning
    pairs: dict[str, Rule]
    eligible: dict[str, Rule]
    heuristic: Rule
    reasons: dict[str, BoundReason]
    gate: dict[str, float]

    @property
    def product(self) -> str:
        """The column of a product's code."""
        return self.model.products.code

    @property
    def tables(self) -> dict[str, Source]:
        """The tables beside the playbook's sources."""
        return self.model.tables

    @property
    def numbers(self) -> tuple[str, ...]:
        """Features that are numbers: of the customer, and of the pair."""
        return tuple(name for name in (*self.model.uses, *self.pairs) if name not in self.words)

    @property
    def words(self) -> tuple[str, ...]:
        """Features that are words."""
        return (*_words(self.book, self.model.uses), *(name for name, item in self.model.pairs.items() if item.kind == "word"))


def bound_offer_learning(book: Bound) -> BoundOfferLearning | None:
    """The part bound, None where the playbook has none. Raises PlaybookError with every problem."""
    model = book.model.learn.offers if book.model.learn else None
    if model is None:
        return None
    binder, at = Binder(book.loaded, book.as_of), ("learn", "offers")
    params = _params(binder, book)
    customer, product = book.code, model.products.code
    columns = _known(book)
    if not product:
        binder.say("no column of type id", "give the product's code a column", *at, "products")
    for table in ("held", "answers"):
        for name in (customer, product):
            if getattr(model, table).columns.get(name) is None or getattr(model, table).columns[name].type != "id":
                binder.say(f"'{table}' needs the id column '{name}'", "name it as in the other tables", *at, table, "columns")
    for entry, kind, named in (("round", "integer", model.round), ("taken", "flag", model.taken), ("sent", "date", model.sent)):
        column = model.answers.columns.get(named or "")
        if named and (column is None or column.type != kind):
            binder.say(f"'{named}' is no {kind} column of the answers", "name one", *at, entry)
    for name in sorted(set(model.pairs) & (columns | set(model.products.columns) | RESERVED)):
        binder.say(f"the name '{name}' is taken", "name the pair feature otherwise", *at, "pairs", name)
    for name in sorted(((columns - {customer}) | (set(model.products.columns) - {product})) & RESERVED):
        binder.say(f"the column name '{name}' is taken", "name it otherwise; `names` may hold the header in the files", *at)
    for name in sorted(columns & set(model.products.columns)):
        binder.say(f"'{name}' is a column of products and of customers", "rename one", *at, "products", "columns", name)
    _check_uses(binder, book, model.uses, *at)
    known = Scope(frozenset(columns | (set(model.products.columns) - {product})), {}, params)
    pairs = {name: binder.rule(item.value, known, *at, "pairs", name, "value") for name, item in model.pairs.items()}
    with_pairs = known.adding(model.pairs)

    def said(items: list[Said], *path: str) -> tuple[tuple[Rule | None, dict[str, str]], ...]:
        return tuple(
            (binder.rule(item.when, with_pairs, *path, str(place), "when") if item.when is not None else None, item.text)
            for place, item in enumerate(items)
        )

    for name in model.fairness:
        if name not in book.customer_columns or name in _codes(book):
            binder.say(f"no customer column '{name}'", "name one that is no code", *at, "fairness")
    if model.fills:
        by = model.products.columns.get(model.fills.by)
        if by is None or by.type not in ("category", "text"):
            binder.say(f"no products' column '{model.fills.by}' of words", "name a category", *at, "fills", "by")
        filled = model.fills.names
        if len(set(filled)) < len(filled):
            binder.say("two kinds fill one column", "give each its own", *at, "fills")
        for column_filled in filled:
            _check_fills(binder, book, column_filled, model.uses, *at, "fills")
        for kind in sorted(model.fills.errors.keys() - model.fills.columns.keys()):
            binder.say(f"'{kind}' has an error and no probability", "name its column under `columns` too", *at, "fills", "errors", kind)
    features = {*model.uses, *model.pairs, *MADE}
    for name, reason in model.reasons.items():
        for item in (item for item in reason.of if item not in features):
            binder.say(f"unknown feature '{item}'", f"one of `uses` or `pairs`, or {' or '.join(MADE)}", *at, "reasons", name, "of")
    result = BoundOfferLearning(
        book,
        model,
        pairs,
        {name: binder.rule(rule.when, with_pairs, *at, "eligible", name, "when") for name, rule in model.eligible.items()},
        binder.rule(model.heuristic, with_pairs, *at, "heuristic"),
        {
            name: BoundReason(tuple(item.of), said(item.speaks_for, *at, "reasons", name, "speaks_for"), item.against)
            for name, item in model.reasons.items()
        },
        {
            name: float(evaluate(binder.rule(getattr(model.gate, name), Scope(frozenset(), {}, params), *at, "gate", name), {}) or 0)
            for name in Gate.model_fields
        },
    )
    for rule in (*result.pairs.values(), *result.eligible.values(), result.heuristic):
        if model.fills and set(model.fills.names) & set(book.roots(rule)):
            binder.say(f"'{rule.text}' looks at what the model itself fills", "leave it out", *at, "fills")
    if binder.problems:
        raise PlaybookError(binder.problems)
    return result


@dataclass(frozen=True, eq=False)
class _OfCustomers:
    """What is learned of a customer alone, from the features in `uses`."""

    book: Bound
    model: ActivityLearning | UpliftLearning

    @property
    def words(self) -> tuple[str, ...]:
        """Features that are words."""
        return _words(self.book, self.model.uses)

    @property
    def numbers(self) -> tuple[str, ...]:
        """Features that are numbers, or yes and no."""
        return tuple(name for name in self.model.uses if name not in self.words)


@dataclass(frozen=True, eq=False)
class BoundActivityLearning(_OfCustomers):
    """The part `activity` of learn.yaml, bound. `threshold`: from this probability on an offer is worth its cost.

    `fell`: whether activity fell by the as-of day, where no column says it.
    """

    book: Bound
    model: ActivityLearning
    threshold: float
    fell: Rule | None


def bound_activity_learning(book: Bound) -> BoundActivityLearning | None:
    """The part bound, None where the playbook has none. Raises PlaybookError with every problem."""
    model = book.model.learn.activity if book.model.learn else None
    if model is None:
        return None
    binder, at = Binder(book.loaded, book.as_of), ("learn", "activity")
    source = book.model.business.sources[book.model.business.customers]
    label, fell = source.columns.get(model.label or ""), None
    if model.falls_when is not None:
        fell = binder.rule(model.falls_when, Scope(frozenset(_known(book)), {}, _params(binder, book)), *at, "falls_when")
        if model.label is not None:
            binder.say("a label and `falls_when` say the same", "leave one of them out", *at, "falls_when")
    elif label is None or not label.values:
        binder.say(f"'{model.label}' is no customer column with known values", "name one, or write `falls_when`", *at, "label")
    elif model.falls not in label.values:
        binder.say(f"'{model.falls}' is no value of '{model.label}'", f"one of {', '.join(label.values)}", *at, "falls")
    _check_uses(binder, book, model.uses, *at)
    for name in model.uses:
        if model.label and (name == model.label or (name in book.features and model.label in book.roots(book.features[name]))):
            binder.say(f"'{name}' knows the label", "leave it out: it is what the model shall find out", *at, "uses")
    if model.fills:
        _check_fills(binder, book, model.fills, model.uses, *at, "fills")
    for reason, item in model.reasons.items():
        for name in (name for name in item.of if name not in model.uses):
            binder.say(f"unknown feature '{name}'", "one of `uses`", *at, "reasons", reason, "of")
    params = _params(binder, book)
    scope = Scope(frozenset(), {}, params)
    cost, saved = (float(evaluate(binder.rule(getattr(model, name), scope, *at, name), {}) or 0) for name in ("offer_cost", "margin_saved"))
    if not 0 < cost < saved:
        binder.say("an offer that costs more than it can save is never worth it", "set offer_cost below margin_saved", *at, "offer_cost")
    if binder.problems:
        raise PlaybookError(binder.problems)
    return BoundActivityLearning(book, model, cost / saved, fell)


@dataclass(frozen=True, eq=False)
class BoundPurchaseLearning:
    """The part `purchases` of learn.yaml, bound. `ahead`: days."""

    book: Bound
    model: PurchaseLearning
    ahead: float


def bound_purchase_learning(book: Bound) -> BoundPurchaseLearning | None:
    """The part bound, None where the playbook has none. Raises PlaybookError with every problem."""
    model = book.model.learn.purchases if book.model.learn else None
    if model is None:
        return None
    binder, at = Binder(book.loaded, book.as_of), ("learn", "purchases")
    source = book.model.business.sources.get(model.of)
    if source is None or "date" not in source.columns or model.of == book.model.business.customers:
        binder.say(f"'{model.of}' is no activity table with dates", "name one", *at, "of")
    for entry, name in zip(("repeats", "last", "age", "average"), model.names, strict=True):
        if name not in book.features:
            binder.say(f"unknown feature '{name}'", "name a feature", *at, entry)
    for column in (model.fills.alive, model.fills.purchases, model.fills.value):
        _check_fills(binder, book, column, list(model.names), *at, "fills")
    ahead = float(evaluate(binder.rule(model.ahead, Scope(frozenset(), {}, _params(binder, book)), *at, "ahead"), {}) or 0)
    if not binder.problems and ahead < 1:
        binder.say("forecasts less than a day", "say how many days", *at, "ahead")
    if binder.problems:
        raise PlaybookError(binder.problems)
    return BoundPurchaseLearning(book, model, ahead)


@dataclass(frozen=True, eq=False)
class BoundUpliftLearning(_OfCustomers):
    """The part `uplift` of learn.yaml, bound."""

    book: Bound
    model: UpliftLearning


def bound_uplift_learning(book: Bound) -> BoundUpliftLearning | None:
    """The part bound, None where the playbook has none. Raises PlaybookError with every problem."""
    model = book.model.learn.uplift if book.model.learn else None
    if model is None:
        return None
    binder, at = Binder(book.loaded, book.as_of), ("learn", "uplift")
    columns = book.model.business.sources[book.model.business.customers].columns
    arms, outcome = columns.get(model.treatment), columns.get(model.outcome)
    if arms is None or not arms.values:
        binder.say(f"'{model.treatment}' is no customer column with known values", "name one", *at, "treatment")
    else:
        for name, entry in ((model.control, "control"), *((name, "fills") for name in model.fills)):
            if name not in arms.values:
                binder.say(f"'{name}' is no value of '{model.treatment}'", f"one of {', '.join(arms.values)}", *at, entry)
    if model.control in model.fills:
        binder.say("the control changes nothing", "name treatments", *at, "fills")
    if outcome is None or outcome.type not in ("flag", "number", "integer"):
        binder.say(f"'{model.outcome}' is no customer column of flags or numbers", "name one", *at, "outcome")
    _check_uses(binder, book, model.uses, *at)
    for name in model.uses:
        if {model.treatment, model.outcome} & {name, *(book.roots(book.features[name]) if name in book.features else ())}:
            binder.say(f"'{name}' knows what was tried, or what came of it", "leave it out", *at, "uses")
    for column in model.fills.values():
        _check_fills(binder, book, column, model.uses, *at, "fills")
    if binder.problems:
        raise PlaybookError(binder.problems)
    return BoundUpliftLearning(book, model)


def _known(book: Bound) -> set[str]:
    """What may be a feature: the customers' columns, and all that is computed of a customer."""
    return {*book.customer_columns, *book.features, *book.model.features.population}


def _codes(book: Bound) -> set[str]:
    return {name for source in book.model.business.sources.values() for name, column in source.columns.items() if column.type == "id"}


def _check_uses(binder: Binder, book: Bound, uses: list[str], *at: str) -> None:
    known, codes = _known(book), _codes(book)
    for name in uses:
        if name not in known:
            binder.say(f"unknown feature '{name}'", "name a customer column or a feature", *at, "uses")
        elif name in codes:
            binder.say(f"'{name}' is a code", "codes are never features: they would be learned by heart", *at, "uses")


def _check_fills(binder: Binder, book: Bound, column: str, uses: list[str], *at: str) -> None:
    """What a model fills is a number of the customers, and nothing that it learns from."""
    declared = book.model.business.sources[book.model.business.customers].columns.get(column)
    if declared is None or declared.type != "number":
        binder.say(f"'{column}' is no customer column of type number", "declare it in playbook.yaml: {type: number, min: 0, max: 1}", *at)
    for name in uses:
        if name == column or (name in book.features and column in book.roots(book.features[name])):
            binder.say(f"'{name}' is what the model itself fills", "leave it out of `uses`", *at)


def _words(book: Bound, uses: list[str]) -> tuple[str, ...]:
    columns = book.model.business.sources[book.model.business.customers].columns
    return tuple(name for name in uses if name in columns and columns[name].type in ("category", "text"))


def _params(binder: Binder, book: Bound) -> dict[str, ParamValue]:
    return {"months": book.model.business.horizon_months, **binder.params(book.model.params, "params")}
