"""Playbooks and what is in them, in words; approving one; checking texts."""

from datetime import date
from typing import Any

from fastapi import APIRouter

from nextbest.errors import Problem, UsageError
from nextbest.playbook.model import Offer
from nextbest.services.lint import failed_of
from nextbest.web.api.access import Approver, At, At_desk, Caller, Viewer
from nextbest.web.api.shapes import Linted, LintRequest
from nextbest.web.serving import Desk

router = APIRouter(prefix="/v1/playbooks", tags=["playbooks"])


@router.get("", summary="The playbooks served")
def playbooks(at: At, key: Caller) -> list[dict[str, Any]]:
    """Those that the key opens, with the content in force (its hash) and the run in force."""
    return [_about(desk) for name, desk in at.desks.items() if key.may("viewer", name)]


@router.get("/{playbook}", summary="One playbook: its tables, segments, contact policy and numbers")
def playbook(desk: At_desk, key: Viewer) -> dict[str, Any]:
    """What is read, who is in which segment, how often customers are contacted; every number with unit, date and source."""
    model = desk.loaded.model
    return {
        **_about(desk),
        "tables": {name: source.model_dump(exclude_none=True) for name, source in model.business.sources.items()},
        "segments": {name: segment.model_dump(exclude={"examples"}) for name, segment in model.segments.items()},
        "signals": {name: {"meaning": signal.meaning, "strength": signal.strength} for name, signal in model.signals.items()},
        "contact": model.contact.model_dump(by_alias=True, exclude_none=True),
        "numbers": {name: _number(item.model_dump(mode="json")) for name, item in model.params.items()},
    }


@router.get("/{playbook}/offers", summary="The offers, with their rules in words")
def offers(desk: At_desk, key: Viewer) -> list[dict[str, Any]]:
    """Who may have each (rule and reason), what it brings, what speaks for it, and its numbers."""
    return [offer_in_words(desk, offer) for offer in desk.loaded.model.offers.values()]


@router.post("/{playbook}/approve", summary="Put the playbook's files, as they are now, in force")
def approve(desk: At_desk, key: Approver) -> dict[str, Any]:
    """They are checked and their worked examples run first. Every worker takes them over within a second; no request is lost."""
    desk.host.approve(f"key {key.key_id} ({key.name})")
    desk.look()
    return _about(desk)


@router.post("/{playbook}/lint", summary="Check texts against the editorial rules")
def lint(desk: At_desk, key: Viewer, asked: LintRequest) -> list[Linted]:
    """The verdict on each text, in their order."""
    model = desk.loaded.model
    for name, value, known in (("language", asked.language, model.voices), ("channel", asked.channel, model.channels)):
        if value not in known:
            raise UsageError([Problem(f"body.{name}", "is not one of the playbook's", f"one of {', '.join(known)}")])
    failed = failed_of(asked.texts, desk.loaded.folder, asked.language, asked.channel)
    return [Linted(clean=not broken, broken=broken) for broken in failed]


def offer_in_words(desk: Desk, offer: Offer) -> dict[str, Any]:
    """An offer as people read it."""
    model = desk.loaded.model
    return {
        "offer": offer.id,
        "name": offer.name,
        "category": offer.category,
        "purpose": offer.purpose,
        "eligible": {name: {"when": rule.when, "else": rule.reason} for name, rule in offer.eligible.items()},
        "suitable": {name: {"when": rule.when, "else": rule.reason} for name, rule in offer.suitable.items()},
        "benefit": {name: {"value": term.value, "meaning": term.meaning} for name, term in offer.benefit.terms.items()},
        "speaks_for_it": {
            name: {"points": points, "meaning": model.signals[name].meaning} for name, points in offer.evidence.signals.items()
        },
        "numbers": {name: _number(item.model_dump(mode="json")) for name, item in offer.params.items()},
    }


def _number(item: dict[str, Any]) -> dict[str, Any]:
    """A parameter with the value in force today on top."""
    today = date.today().isoformat()
    starts = sorted(start for start in item["values"] if start <= today)
    return {"now": item["values"][starts[-1]] if starts else None, **item}


def _about(desk: Desk) -> dict[str, Any]:
    business = desk.loaded.model.business
    return {
        "playbook": business.name,
        "title": business.title,
        "version": business.version,
        "sha256": desk.loaded.hash,
        "currency": business.currency,
        "languages": business.languages,
        "offers": len(desk.loaded.model.offers),
        "run": desk.run.name if desk.run else None,
    }
