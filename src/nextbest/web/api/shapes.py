"""What requests bring and replies hold, with an example of each."""

from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Code = Annotated[str, Field(min_length=1, max_length=200, description="the customer's code")]
Cell = str | int | float | bool | list[str] | None


def _possible(value: datetime) -> datetime:
    if not 1900 <= value.year <= 2200:
        raise ValueError("no time that anything is said or done at")
    return value


Moment = Annotated[datetime, AfterValidator(_possible)]


class Shape(BaseModel):
    """Unknown names are refused, so that a slip never goes unread."""

    model_config = ConfigDict(extra="forbid")


class ProblemShape(BaseModel):
    """One thing that is wrong."""

    where: str
    what: str
    fix: str


class ProblemReply(BaseModel):
    """problem+json (RFC 9457), with every problem found."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    problems: list[ProblemShape]


class Term(BaseModel):
    """One part of the benefit, in the playbook's currency per month."""

    term: str
    amount: float


class Evidence(BaseModel):
    """What a signal gave, in points of evidence."""

    signal: str
    points: float


class Offered(BaseModel):
    """One offer to a customer. `benefit` is money the customer gains per month; `confidence` is 0 to 100."""

    rank: int
    offer: str
    product: str
    category: str
    confidence: float
    benefit: float
    benefit_terms: list[Term]
    propensity: float
    score: float
    reasons: str
    evidence: list[Evidence]


class Fact(BaseModel):
    """A figure that the text states, and the period it speaks of."""

    fact: str
    shown: str
    period: str


class MessageShape(BaseModel):
    """The message: its text, when it may go out (UTC), or why it is withheld."""

    offer: str
    language: str
    channel: str
    text: str | None
    treatment: str | None
    facts: list[Fact] | None
    send_at: str | None
    chance: float | None = Field(None, description="the probability with which this offer was chosen: below 1 where the playbook explores")
    withheld: str | None


class Decision(BaseModel):
    """A customer's decision. `left_alone` says why there is none: an objection, a holdout, an erasure."""

    customer: str
    playbook: str
    version: str
    as_of: date
    currency: str
    run_id: str | None
    decision_id: str | None
    left_alone: str | None
    segments: list[str]
    gaps: list[str]
    offers: list[Offered]
    message: MessageShape | None


class OddRow(BaseModel):
    """What was odd about posted rows, and what was made of it."""

    table: str
    problem: str
    column: str | None
    rows: int
    kept: bool
    advice: str


class FreshDecision(Decision):
    """A decision made for this request."""

    problems: list[OddRow]


class DecisionRequest(Shape):
    """One customer with its rows: table → rows, under any column names that the playbook accepts."""

    tables: dict[str, list[dict[str, Cell]]]
    as_of: date | None = Field(None, description="the day decided for; by default today")
    at: datetime | None = Field(None, description="from when a message may go out; by default the day after")
    record: bool = Field(False, description="promise the contact and write the decision into the ledger")


class JobRequest(Shape):
    """A batch over the tables handed in."""

    as_of: date | None = Field(None, description="the day decided for; by default today")
    at: datetime | None = None
    record: bool = Field(True, description="heed and write the workspace's ledger; false is a trial without contacts and holdouts")


class JobReply(BaseModel):
    """A job and how far it is."""

    job_id: str
    playbook: str
    asked: dict[str, Any]
    state: Literal["waiting", "running", "done", "failed", "cancelled"]
    stage: str | None
    place: int
    stages: int
    attempt: int
    created: int
    finished: int | None
    problems: list[ProblemShape]
    result: dict[str, Any] | None


class OutcomeRequest(Shape):
    """What became of a contact. Named by its decision, or by customer and offer."""

    event_id: Annotated[str, Field(min_length=1, max_length=200)]
    event: Literal["delivered", "opened", "clicked", "accepted", "refused", "opted_out"]
    happened: Moment
    decision_id: str | None = None
    customer: str | None = None
    offer: str | None = None


class OutcomesReply(BaseModel):
    """What became of the events; each rejected one with its reason."""

    rows: int
    added: int
    known: int
    opted_out: int
    rejected: dict[str, int]


class ConsentRequest(Shape):
    """What a customer said about a purpose."""

    purpose: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$", max_length=60)]
    granted: bool
    channel: Annotated[str | None, Field(pattern=r"^[a-z][a-z0-9_-]*$", max_length=60)] = None
    happened: Moment | None = None
    source: str = Field("", max_length=500, description="where and in which words it was said")


class SuppressionRequest(Shape):
    """Leave a customer in peace until a day."""

    until: date
    scope: Literal["all", "channel", "category", "offer"] = "all"
    what: str | None = None
    source: str = Field("", max_length=500)


class LintRequest(Shape):
    """Texts to check against the editorial rules."""

    texts: Annotated[list[Annotated[str, Field(max_length=5000)]], Field(min_length=1, max_length=1000)]
    language: str = "ru"
    channel: str = "push"


class Linted(BaseModel):
    """A text's verdict: the rules it breaks."""

    clean: bool
    broken: list[str]


class HandedIn(BaseModel):
    """What was recognised in a file. `columns`: the playbook's name → the file's."""

    table: str
    file: str
    columns: dict[str, str]
    not_used: list[str]
    encoding: str | None
    bytes: int
