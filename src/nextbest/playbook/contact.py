"""The contact policy bound for a day: its limits as numbers, and when a message may next go out."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from nextbest.playbook.model import Playbook
from nextbest.playbook.policy import Sending
from nextbest.rules.parse import Rule
from nextbest.rules.reference import evaluate

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY, MINUTE = 86_400, 60
"""In seconds."""

ANSWERS = ("clicked", "accepted", "refused", "ignored", "opted_out")
"""Events that settle a contact: one with none of them in time was ignored."""


@dataclass(frozen=True)
class BoundCap:
    """At most `at_most` contacts in any (t - seconds, t] of a lane, and of a channel or purpose where named."""

    name: str
    at_most: int
    seconds: int
    lane: str
    channel: str | None
    purpose: str | None


@dataclass(frozen=True)
class BoundCoolOff:
    """No contact for an offer (or its category) with `times` events in the last `seconds`."""

    name: str
    after: str
    times: int
    seconds: int
    scope: str


@dataclass(frozen=True)
class BoundHoldout:
    """A share of customers, drawn by a salted hash."""

    name: str
    share: float
    salt: str

    def holds(self, customer: str) -> bool:
        """Whether the customer is held out. Any engine with SHA-256 says the same."""
        return bucket(self.salt, customer) < self.threshold

    @property
    def threshold(self) -> int:
        """Buckets below it are held out."""
        return round(self.share * BUCKETS)


BUCKETS = 2**32


def bucket(salt: str, customer: str) -> int:
    """The customer's place among 2^32: the first 8 hex digits of SHA-256 of `salt:customer`."""
    return int(hashlib.sha256(f"{salt}:{customer}".encode()).hexdigest()[:8], 16)


@dataclass(frozen=True)
class BoundExploration:
    """A share of customers whose offer is drawn evenly `among` the best that may go out; how it is chosen for the others."""

    share: float
    among: int
    salt: str
    draw: Literal["first", "thompson"]


@dataclass(frozen=True)
class BoundContact:
    """contact.yaml with every limit as a number. Times are in seconds."""

    caps: tuple[BoundCap, ...]
    cool_offs: tuple[BoundCoolOff, ...]
    holdouts: tuple[BoundHoldout, ...]
    offer_holdouts: dict[str, BoundHoldout]
    exploration: BoundExploration | None
    purposes: dict[str, Rule | None]
    minimum_confidence: float
    minimum_benefit: float
    minimum_profit: float | None
    ignored_after: int
    attribution: dict[str, int]
    lease: int
    retention: dict[str, int]

    @property
    def lookback(self) -> int:
        """How far back any limit looks."""
        windows = [*(cap.seconds for cap in self.caps), *(rest.seconds for rest in self.cool_offs)]
        return max(windows, default=0) + self.ignored_after


Number = Callable[..., Rule]
Say = Callable[..., None]


def bound_contact(model: Playbook, over_row: Number, constant: Number, say: Say) -> BoundContact:
    """Bind contact.yaml: rules over a customer's row with `over_row`, limits over parameters with `constant`."""
    contact = model.contact

    def number(text: object, least: float, most: float, *path: str) -> float:
        try:
            value = float(evaluate(constant(text, *path), {}))
        except (TypeError, ValueError):
            return least  # a parameter that does not exist is told already; null or a word is told here
        if not least <= value <= most:
            say(f"{value:g} is out of place", f"a number from {least:g} to {most:g}", *path)
        return value

    def count(text: object, least: int, *path: str) -> int:
        value = number(text, least, 1_000, *path)
        if value != int(value):
            say(f"{value:g} is no whole number", "contacts and events are counted", *path)
        return int(value)

    def days(text: object, *path: str) -> int:
        return round(number(text, 0, 36_500, *path) * DAY)

    def explored() -> BoundExploration | None:
        if (tried := contact.exploration) is None:
            return None
        share = number(tried.share, 0, 1, "contact", "exploration", "share")
        among = count(tried.among, 2, "contact", "exploration", "among")
        if share == 0 and tried.draw == "thompson":
            say("Thompson sampling needs an even share beside it: no chance may be 0", "above 0", "contact", "exploration", "share")
        return BoundExploration(share, among, tried.salt, tried.draw) if share else None

    _check_names(model, say)
    windows = [days(cap.days, "contact", "caps", name, "days") for name, cap in contact.caps.items()]
    windows += [days(rest.days, "contact", "cool_off", name, "days") for name, rest in contact.cool_off.items()]
    if days(contact.retention.decisions, "contact", "retention", "decisions") < max(windows, default=0):
        say("shorter than a cap or cool-off looks back", "keep decisions for as long", "contact", "retention", "decisions")
    attribution = days(contact.attribution, "contact", "attribution")
    return BoundContact(
        caps=tuple(
            BoundCap(
                name, count(cap.at_most, 0, "contact", "caps", name, "at_most"),
                days(cap.days, "contact", "caps", name, "days"), cap.lane, cap.channel, cap.purpose,
            )
            for name, cap in contact.caps.items()
        ),
        cool_offs=tuple(
            BoundCoolOff(
                name, rest.after, count(rest.times, 1, "contact", "cool_off", name, "times"),
                days(rest.days, "contact", "cool_off", name, "days"), rest.scope,
            )
            for name, rest in contact.cool_off.items()
        ),
        holdouts=tuple(
            BoundHoldout(name, number(item.share, 0, 1, "contact", "holdouts", name, "share"), item.salt)
            for name, item in contact.holdouts.items()
        ),
        offer_holdouts={
            name: BoundHoldout("offer", share, f"{model.business.name}:{name}")
            for name, offer in model.offers.items()
            if (share := number(offer.holdout, 0, 1, "offers", name, "holdout"))
        },
        exploration=explored(),
        purposes={
            name: over_row(purpose.when, "contact", "purposes", name, "when") if purpose.when is not None else None
            for name, purpose in contact.purposes.items()
        },
        minimum_confidence=number(contact.minimum.confidence, 0, 100, "contact", "minimum", "confidence"),
        minimum_benefit=number(contact.minimum.benefit, 0, 1e15, "contact", "minimum", "benefit"),
        minimum_profit=(
            number(contact.minimum.profit, -1e15, 1e15, "contact", "minimum", "profit") if contact.minimum.profit is not None else None
        ),
        ignored_after=days(contact.ignored_after, "contact", "ignored_after"),
        attribution={
            name: attribution if offer.attribution is None else days(offer.attribution, "offers", name, "attribution")
            for name, offer in model.offers.items()
        },
        lease=round(number(contact.lease, 1, 10_000, "contact", "lease") * MINUTE),
        retention={name: days(value, "contact", "retention", name) for name, value in contact.retention.model_dump().items()},
    )  # fmt: skip


def _check_names(model: Playbook, say: Say) -> None:
    contact = model.contact
    for name, purpose in contact.purposes.items():
        if purpose.lane not in contact.lanes:
            say(f"unknown lane '{purpose.lane}'", "declare it under lanes", "contact", "purposes", name, "lane")
    for name, cap in contact.caps.items():
        if cap.lane not in contact.lanes:
            say(f"unknown lane '{cap.lane}'", "declare it under lanes", "contact", "caps", name, "lane")
        if cap.purpose is not None and cap.purpose not in contact.purposes:
            say(f"unknown purpose '{cap.purpose}'", "declare it under purposes", "contact", "caps", name, "purpose")
        if cap.channel is not None and cap.channel not in model.channels:
            say(f"unknown channel '{cap.channel}'", "declare it in channels.yaml", "contact", "caps", name, "channel")
    for name, lane in contact.lanes.items():
        if lane.sending and lane.sending.opens >= lane.sending.closes:
            say("opens later than it closes", "swap them", "contact", "lanes", name, "sending")
    for name, offer in model.offers.items():
        if offer.purpose not in contact.purposes:
            say(f"unknown purpose '{offer.purpose}'", "declare it in contact.yaml", "offers", name, "purpose")
    if contact.exploration and contact.exploration.draw == "thompson" and model.business.arbitration.uncertainty is None:
        what = "Thompson sampling needs to know how far scores may be off"
        say(what, "write `uncertainty` under `arbitration`", "contact", "exploration", "draw")
    if contact.fallback is not None and contact.fallback not in model.offers:
        say(f"unknown offer '{contact.fallback}'", "name an offer's id", "contact", "fallback")
    if not known_zone(contact.time_zone):
        say(f"unknown time zone '{contact.time_zone}'", "an IANA name, e.g. Asia/Almaty", "contact", "time_zone")


def known_zone(name: str) -> bool:
    """Whether this is a time zone."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def next_opening(moment: datetime, zone: str, sending: Sending | None) -> datetime:
    """The first moment from `moment` on (both with a time zone) at which a message may go out in `zone`."""
    if sending is None:
        return moment
    local = moment.astimezone(ZoneInfo(zone))
    for ahead in range(8):
        day = local.date() + timedelta(days=ahead)
        opens, closes = (datetime.combine(day, at, ZoneInfo(zone)) for at in map(time.fromisoformat, (sending.opens, sending.closes)))
        if DAYS[day.weekday()] in sending.days and moment < closes:
            return max(moment, opens.astimezone(moment.tzinfo))
    raise AssertionError("a week has every day")
