"""The shape of contact.yaml."""

from typing import Annotated, Literal

from pydantic import Field

from nextbest.playbook.entry import Condition, Expression, Name, Strict, Texts, TimeOfDay


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
    """Below any of these an offer is too weak to be made."""

    confidence: Expression = Field(0, description="0 to 100, over parameters only")
    benefit: Expression = Field(0, description="in currency per month, over parameters only")
    profit: Expression | None = Field(
        None, description="expected, in currency, over parameters only; an offer whose profit is not known is never below it"
    )


class Holdout(Strict):
    """A share of customers that is left alone, to measure against: always the same ones for the same salt."""

    share: Expression = Field(description="0 to 1, over parameters only")
    salt: str = Field(description="a new salt draws anew; playbooks with one salt hold the same customers out")


class Exploration(Strict):
    """Now and then another offer than the first goes out, drawn among those that may, so that answers teach about it too.

    Without it nobody can find out from the records what another policy would have earned.
    """

    share: Expression = Field(
        description="0 to 1, over parameters only: of customers for whom each of these is as likely; 0 turns exploration off"
    )
    among: Expression = Field(description="so many of the best offers that may go out; over parameters only")
    draw: Literal["first", "thompson"] = Field(
        "first",
        description="for all others: the first offer, or by Thompson sampling each with the probability that it is the best, given the "
        "scores and their `uncertainty` (arbitration)",
    )
    salt: str = Field(description="who draws what follows from it, the customer's code and the moment that is decided for")


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
    exploration: Exploration | None = Field(None, description="heeded with a workspace only: what is not recorded teaches nothing")
    ignored_after: Expression = Field(description="days without an answer, over parameters only")
    attribution: Expression = Field(description="days in which an answer counts for a contact; an offer may have its own")
    lease: Expression = Field(description="minutes until a reservation that was not confirmed is free again")
    retention: Retention
