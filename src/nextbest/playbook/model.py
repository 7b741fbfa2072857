"""The shape of a playbook's files. The JSON schema, the reference page and the checks come from here."""

from typing import Annotated, Literal

from pydantic import Field

from nextbest.playbook.entry import Condition, Example, Expression, Name, Param, Strict, Texts
from nextbest.playbook.learning import Learn
from nextbest.playbook.policy import Contact
from nextbest.playbook.sources import Signs, Source, any_sign
from nextbest.playbook.speech import Channel, Voice


class Arbitration(Strict):
    """How evidence and benefit become one ranking. Each is an expression over what stands before it."""

    propensity: Expression = Field(description="over `evidence`, and `learned` (an offer's own, unknown without a model): 0 to 1")
    score: Expression = Field(
        description="over `propensity`, `evidence`, `benefit`, `lever`, `typical` (1 in a segment that names the offer, else 0), "
        "`gap` (1 where the customer holds nothing of the offer's category, else 0) and `learned_error`"
    )
    uncertainty: Expression | None = Field(
        None, description="the standard error of the score, over the same names: how far a draw by `thompson` may leave it"
    )
    confidence: Expression = Field(description="over `propensity`: 0 to 100, shown to people")


class Evidence(Strict):
    """Points of evidence: where nothing is known, and what a signal at full strength adds. What they mean says `arbitration`."""

    prior: float
    signals: dict[Name, float]


class EveryOffer(Strict):
    """What holds for every offer, with the offer's own parameters. An offer's own entry of the same name goes before it."""

    eligible: dict[Name, Condition] = {}
    suitable: dict[Name, Condition] = {}
    evidence: Evidence | None = None


class Base(Strict):
    """Another playbook that this one stands on. Entries of this playbook's own files go before the base's."""

    playbook: str = Field(description="a built-in playbook's name; a folder `base` within this one goes before it")
    take: list[Literal["playbook", "features", "params", "signals", "segments", "contact", "channels", "voice"]] = Field(
        description="the files whose entries hold here too"
    )
    offers: list[str] = Field([], description="the base's offers that are made here too")


class Worth(Strict):
    """By what `nextbest segments` weighs customers. Each entry names a customer column or a feature."""

    value: Name = Field(description="what a customer earns the business a month, in the playbook's currency")
    trend: Name | None = Field(None, description="how that has changed")
    risk: Name | None = Field(None, description="probability that the customer is lost, 0 to 1; unknown without a forecast")
    at_risk: Name | None = Field(None, description="1 for customers at risk, 0 for others; unknown without a forecast")
    stake: Name | None = Field(None, description="what is lost where nothing is done, in money; unknown without a forecast")
    recency: Name | None = Field(None, description="days since the last purchase; with `frequency` a grid is made of both")
    frequency: Name | None = Field(None, description="purchases in the horizon")

    @property
    def names(self) -> dict[str, str]:
        """Entry → column, of those that are there."""
        return {entry: getattr(self, entry) for entry in type(self).model_fields if getattr(self, entry) is not None}


class Business(Strict):
    """playbook.yaml: who this is for, what is read, and how offers are ranked."""

    base: Base | None = None

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")]
    title: Texts
    version: str
    currency: str
    currencies: dict[str, str | None] = Field(description="currency → parameter that holds its rate; null for the base")
    signs: Signs = Field(
        {},
        description="currency → other ways to write it: in the column `currency`, or at an amount, where it stands in for a blank one",
    )
    languages: Annotated[list[str], Field(min_length=1, description="the first is the default")]
    channel: str = Field(description="channel of the message")
    horizon_months: Annotated[int, Field(ge=1, le=36)]
    top: Annotated[int, Field(ge=1)]
    customers: Name = Field(description="the source with one row per customer")
    sources: dict[Name, Source]
    defaults: dict[Name, Expression] = Field({}, description="value of an optional customer column that is missing")
    arbitration: Arbitration
    gap: Texts | None = Field(None, description="said of an offer where the customer holds nothing of its {category}")
    every_offer: EveryOffer = EveryOffer()
    worth: Worth | None = None

    @property
    def group(self) -> str | None:
        """What reports group customers by: the first category that says something of them."""
        columns = self.sources[self.customers].columns
        return next((name for name, item in columns.items() if item.type == "category" and item.values and name != "language"), None)

    def converts(self, source: Source) -> bool:
        """Whether the rows of a table have currencies of their own."""
        return "currency" in source.columns and source is not self.sources[self.customers]

    def signs_of(self, source: Source) -> Signs:
        """Those that cells of a table may have: any, or where rows have no currency of their own, the playbook's alone."""
        if not self.converts(source):
            return {currency: signs for currency, signs in self.signs.items() if currency == self.currency}
        known = {currency: signs for currency, signs in self.signs.items() if currency in source.columns["currency"].values}
        return known and known | {"?": sorted(any_sign().difference(*known.values()))}

    @property
    def code(self) -> str:
        """The column of a customer's code."""
        return self.sources[self.customers].code


class Payday(Strict):
    """When pay comes: near it are the days from so many before to so many after. In a month too short, its last day."""

    day: Name = Field(description="the customers' column with the day of the month, 1 to 31")
    within: Expression = Field(description="days, over parameters only")


class Measure(Strict):
    """A sum and a count over an activity table, split by one column: `spend['Такси']`, `visits['Такси']`."""

    of: Name
    by: Name = Field(
        description="the column whose values are the keys; `month_back` is 1 for the latest month; "
        "`payday` is near or far from the customer's day of pay; `all` takes every row under the key 'all'"
    )
    sum: Name
    count: Name
    since: Name | None = Field(None, description="days from the latest row to the as-of day, unknown where there is none")
    first: Name | None = Field(None, description="days from the earliest row to the as-of day, unknown where there is none")
    days: Name | None = Field(None, description="number of different days with a row")
    payday: Payday | None = Field(None, description="for `by: payday`")
    over: Literal["horizon", "last_month"] = Field("horizon", description="the whole horizon, or the last complete calendar month")
    unit: str
    meaning: Texts


class Feature(Strict):
    """One number per customer."""

    value: Expression
    unit: str
    meaning: Texts


class Population(Strict):
    """A quantile of a feature over the customers of the run; the default holds where they are too few."""

    of: Name
    quantile: Annotated[float, Field(gt=0, lt=1)]
    at_least: Annotated[int, Field(ge=2, description="customers needed to trust the quantile")]
    default: float
    meaning: Texts


class Features(Strict):
    """features.yaml"""

    measures: dict[Name, Measure]
    features: dict[Name, Feature]
    population: dict[Name, Population] = {}


class Signal(Strict):
    """A named piece of evidence, 0 to 1 (true is 1).

    One that names a parameter which only offers declare is taken with each offer's own value, e.g. `income / p.minimum_income`;
    its examples stand with the offers.
    """

    strength: Expression
    meaning: Texts
    examples: list[Example] = []


class Segment(Strict):
    """A named group of customers. Signals, offers and messages may name it like any yes-or-no feature."""

    when: Expression = Field(description="over customer columns, features and what is usual")
    meaning: Texts
    offers: list[str] = Field([], description="what typically suits it")
    examples: list[Example] = []


class Term(Strict):
    """One part of a benefit, in the playbook's currency per month."""

    value: Expression
    meaning: Texts


class Benefit(Strict):
    """Money the customer gains per month: the terms, at most the cap, less what they get today."""

    terms: dict[Name, Term]
    cap: Expression | None = None
    today: Term | None = None


class Fact(Strict):
    """A value that a text may state: where it comes from and how it is written."""

    value: Expression
    form: str = Field(alias="as", description="text, money, number, percent, or a word of the voice's `words`")


class Option(Strict):
    """One wording of a part of the message; `when` says for whom it is true and fitting."""

    when: Expression | None = None
    text: Texts


class Messages(Strict):
    """The three parts of a message, each from the richest wording to the plainest."""

    facts: dict[Name, Fact] = {}
    observe: Annotated[list[Option], Field(min_length=1)]
    help: Annotated[list[Option], Field(min_length=1)]
    act: Annotated[list[Option], Field(min_length=1)]


class Offer(Strict):
    """offers/<id>.yaml: one product put to a customer."""

    id: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")]
    name: Texts
    also_called: list[str] = Field([], description="other names of the product in `owned_products`, whatever the case")
    category: str = Field(description="`holds['<category>']` is 1 for customers who hold an offer of it, else 0")
    purpose: Name = Field("marketing", description="of its messages, see contact.yaml")
    attribution: Expression | None = Field(None, description="days in which an answer counts for a contact")
    holdout: Expression = Field(0, description="share of customers never offered this, to measure against")
    lever: float = Field(1.0, description="a business weight; 1 is neutral")
    learned: Expression | None = Field(None, description="what a model says of it, 0 to 1: the customer column that learn.yaml fills")
    learned_error: Expression | None = Field(None, description="the standard error of `learned`: the customer column for it")
    params: dict[Name, Param] = {}
    eligible: dict[Name, Condition] = {}
    suitable: dict[Name, Condition] = {}
    benefit: Benefit
    cost: Expression = Field(0, description="what it costs the business where it is taken, in the playbook's currency")
    margin: Expression | None = Field(None, description="what it earns the business where it is taken, before the cost")
    evidence: Evidence = Field(Evidence(prior=0, signals={}), description="without it, that of `every_offer`")
    messages: Messages
    examples: Annotated[list[Example], Field(min_length=1)]


class Playbook(Strict):
    """A whole playbook folder."""

    business: Business
    features: Features
    params: dict[Name, Param]
    signals: dict[Name, Signal]
    segments: dict[Name, Segment] = {}
    contact: Contact
    channels: dict[Name, Channel]
    voices: dict[str, Voice]
    learn: Learn | None = None
    offers: Annotated[dict[str, Offer], Field(min_length=1)]
