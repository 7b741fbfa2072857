"""The shape of a playbook's files. The JSON schema, the reference page and the checks come from here."""

from datetime import date
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Expression = Annotated[str | int | float | bool, Field(description="one SQL expression of the rule language")]
Texts = Annotated[dict[str, str], Field(description="language code → text", min_length=1)]
TimeOfDay = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class Strict(BaseModel):
    """A record of a playbook file: unknown keys are errors, so that a typing slip never goes unread."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Param(Strict):
    """A number with its unit, the day each value starts to hold, and where it comes from."""

    unit: str
    values: Annotated[dict[date, float | int | bool | str], Field(min_length=1)]
    source: str
    sample: bool = Field(False, description="true where the business has not yet given its own value")


class SourceColumn(Strict):
    """One column of an input table and how to read it."""

    type: Literal["id", "text", "category", "integer", "money", "date", "flag", "list"]
    names: list[str] = Field([], description="headers accepted besides the column's own name")
    required: bool = False
    values: list[str] = Field([], description="known values; others are kept and reported")
    min: float | None = None
    max: float | None = None


class Source(Strict):
    """One input table: which files hold it, and its columns."""

    files: list[str] = Field(description="file name patterns without extension, e.g. '*transactions*'")
    columns: dict[Name, SourceColumn]
    negative: Literal["keep", "magnitude"] = Field(
        "keep", description="what a negative amount means: a refund (keep), or a sign that repeats the direction"
    )
    direction: dict[str, list[str]] = Field({}, description="for transfers: direction → types, where none is given")


class Arbitration(Strict):
    """How evidence and benefit become one ranking. Each is an expression over what stands before it."""

    propensity: Expression = Field(description="over `evidence`: probability-like, 0 to 1")
    score: Expression = Field(description="over `propensity`, `evidence`, `benefit` and `lever`")
    confidence: Expression = Field(description="over `propensity`: 0 to 100, shown to people")


class Business(Strict):
    """playbook.yaml: who this is for, what is read, and how offers are ranked."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")]
    title: Texts
    version: str
    currency: str
    currencies: dict[str, str | None] = Field(description="currency → parameter that holds its rate; null for the base")
    languages: Annotated[list[str], Field(min_length=1, description="the first is the default")]
    channel: str = Field(description="channel of the message")
    horizon_months: Annotated[int, Field(ge=1, le=36)]
    top: Annotated[int, Field(ge=1)]
    customers: Name = Field(description="the source with one row per customer")
    sources: dict[Name, Source]
    defaults: dict[Name, Expression] = Field({}, description="value of an optional customer column that is missing")
    arbitration: Arbitration


class Measure(Strict):
    """A sum and a count over an activity table, split by one column: `spend['Такси']`, `visits['Такси']`."""

    of: Name
    by: Name = Field(description="the column whose values are the keys; `month_back` is 1 for the latest month")
    sum: Name
    count: Name
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


class Example(Strict):
    """A worked example: these inputs (all others 0, empty or unknown), that result. Runs as a test."""

    name: str
    given: dict[str, float | int | bool | str | list[str] | None]
    expect: dict[str, float | int | bool | str | None]


class Signal(Strict):
    """A named piece of evidence, 0 to 1 (true is 1)."""

    strength: Expression
    meaning: Texts
    examples: list[Example] = []


class Condition(Strict):
    """A rule that must hold, and what to say where it does not."""

    when: Expression
    reason: Texts = Field(alias="else")


class Term(Strict):
    """One part of a benefit, in the playbook's currency per month."""

    value: Expression
    meaning: Texts


class Benefit(Strict):
    """Money the customer gains per month: the terms, at most the cap, less what they get today."""

    terms: dict[Name, Term]
    cap: Expression | None = None
    today: Term | None = None


class Evidence(Strict):
    """Log-odds points: where nothing is known, and what a signal at full strength adds."""

    prior: float
    signals: dict[Name, float]


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
    category: str
    purpose: Name = Field("marketing", description="of its messages, see contact.yaml")
    attribution: Expression | None = Field(None, description="days in which an answer counts for a contact")
    holdout: Expression = Field(0, description="share of customers never offered this, to measure against")
    lever: float = Field(1.0, description="a business weight; 1 is neutral")
    params: dict[Name, Param] = {}
    eligible: dict[Name, Condition] = {}
    suitable: dict[Name, Condition] = {}
    benefit: Benefit
    evidence: Evidence
    messages: Messages
    examples: Annotated[list[Example], Field(min_length=1)]


class Sending(Strict):
    """When messages of a lane may go out, in the customer's own time. A message outside it waits for the next opening."""

    opens: TimeOfDay = Field(description='quoted, e.g. "10:00"')
    closes: TimeOfDay = Field(description="later on the same day; at this time it is closed")
    days: Annotated[list[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]], Field(min_length=1)]


class Lane(Strict):
    """Messages of one priority. Caps and quiet hours hold within a lane: another lane neither eats nor feels them."""

    sending: Sending | None = Field(None, description="without it, any time")


class Purpose(Strict):
    """What a message is for: the rule that must hold for the customer to get it, and its lane.

    A consent recorded in the workspace for the purpose stands in the customer column `consent_<purpose>`.
    """

    lane: Name
    when: Expression | None = Field(None, description="without it, no consent is needed")
    reason: Texts | None = Field(None, alias="else")


class Cap(Strict):
    """At most so many contacts of a lane in any stretch of so many days: a true sliding window."""

    at_most: Expression = Field(description="contacts, over parameters only")
    days: Expression = Field(description="over parameters only")
    lane: Name
    channel: str | None = Field(None, description="count and hold this channel only")
    purpose: Name | None = Field(None, description="count and hold this purpose only")


class CoolOff(Strict):
    """An offer, or all of its category, rests while so many such events lie within the last days."""

    after: Literal["contact", "clicked", "accepted", "refused", "ignored"]
    times: Expression = Field(1, description="events, over parameters only")
    days: Expression = Field(description="over parameters only")
    scope: Literal["offer", "category"]


class Minimum(Strict):
    """Below either of these an offer is too weak to be made."""

    confidence: Expression = Field(0, description="0 to 100, over parameters only")
    benefit: Expression = Field(0, description="in currency per month, over parameters only")


class Holdout(Strict):
    """A share of customers that is left alone, to measure against: always the same ones for the same salt."""

    share: Expression = Field(description="0 to 1, over parameters only")
    salt: str = Field(description="a new salt draws anew; playbooks with one salt hold the same customers out")


class Retention(Strict):
    """How many days the workspace keeps what; over parameters only."""

    decisions: Expression
    outcomes: Expression
    consents: Expression = Field(description="a consent goes only when a later word has replaced it")
    suppressions: Expression = Field(description="counted from their end")


class Contact(Strict):
    """contact.yaml: who may be scored, who may be written to, how often and when, and who is left alone."""

    time_zone: str = Field(description="IANA name; of customers whose own (column `time_zone`) is not known")
    profiling: Condition
    purposes: Annotated[dict[Name, Purpose], Field(min_length=1)]
    lanes: dict[Name, Lane]
    caps: dict[Name, Cap] = {}
    cool_off: dict[Name, CoolOff] = {}
    minimum: Minimum = Minimum()
    fallback: str | None = Field(None, description="the offer for customers with no other, where it is open to them")
    holdouts: dict[Literal["global", "playbook"], Holdout] = {}
    ignored_after: Expression = Field(description="days without an answer, over parameters only")
    attribution: Expression = Field(description="days in which an answer counts for a contact; an offer may have its own")
    lease: Expression = Field(description="minutes until a reservation that was not confirmed is free again")
    retention: Retention


class Channel(Strict):
    """One way to reach a customer, and what its texts look like."""

    length: tuple[int, int] = Field(description="fewest and most characters")
    sign: str = Field(description="currency sign")


class Tokens(Strict):
    """Pieces of a text that a lint rule looks at, and those that are let through."""

    find: str
    allow: list[str] = []
    allow_pattern: str | None = None


class LintRule(Strict):
    """One editorial rule as a pattern (RE2). A text passes where `forbid` is not found, `require` is found,
    `at_most` is found no more often than said, and every token of `tokens` is allowed."""

    dimension: Literal["personalisation", "tone", "clarity", "format"]
    meaning: Texts
    forbid: list[str] = []
    require: str | None = None
    at_most: dict[str, int] = {}
    tokens: Tokens | None = None
    channels: list[str] = Field([], description="empty: every channel")
    good: list[str] = Field([], description="texts that must pass")
    bad: list[str] = Field(description="texts that must fail")


class Voice(Strict):
    """voice/<lang>.yaml: how the business speaks in one language."""

    language: str
    thousands: str
    decimal: str
    plural: Expression = Field(description="over n: which of a word's forms goes with the number, from 1")
    plural_patterns: list[str] = Field(description="per form, the numbers (as text) that take it; for the linter")
    words: dict[Name, list[str]] = Field(description="countable words, each in all its plural forms")
    genitive_after: list[str] = Field([], description="words after which a counted word does not follow its number")
    months: Annotated[list[str], Field(min_length=12, max_length=12, description="'in March', from January")]
    period: dict[Literal["last_month", "horizon", "monthly"], str] = Field(
        description="the words that name the period of a figure; {month} stands for the last complete month"
    )
    labels: dict[str, dict[str, str]] = Field({}, description="phrases for category names, by table of forms")
    lint: dict[Name, LintRule]


class Playbook(Strict):
    """A whole playbook folder."""

    business: Business
    features: Features
    params: dict[Name, Param]
    signals: dict[Name, Signal]
    contact: Contact
    channels: dict[Name, Channel]
    voices: dict[str, Voice]
    offers: Annotated[dict[str, Offer], Field(min_length=1)]
