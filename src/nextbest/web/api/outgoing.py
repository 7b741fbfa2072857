"""Outgoing: how the receivers of events stand, and what was set aside."""

from typing import Any

from fastapi import APIRouter

from nextbest.services.outgoing import Receiver, deliveries, try_again
from nextbest.web.api.access import At, At_desk, Operator, Viewer
from nextbest.web.serving import Desk, Serving

router = APIRouter(prefix="/v1/playbooks/{playbook}/deliveries", tags=["outgoing"])


@router.get("", summary="How each receiver of events stands")
def standing(at: At, desk: At_desk, key: Viewer) -> list[dict[str, Any]]:
    """How many entries of the ledger it is behind, attempts in vain since, and what was set aside, by reason."""
    return [deliveries(at.workspace, receiver) for receiver in _of(at, desk)]


@router.post("/again", summary="Hand over again what was set aside, and wait no longer")
def again(at: At, desk: At_desk, key: Operator) -> dict[str, int]:
    """Within a second, by one of the server's workers. A receiver that knows an event's key has it already."""
    return {"again": sum(try_again(at.workspace, receiver) for receiver in _of(at, desk))}


def _of(at: Serving, desk: Desk) -> list[Receiver]:
    return [receiver for receiver in at.receivers if receiver.playbook == desk.host.name]
