"""Decisions: the stored one, a fresh one, why, and the customers there are."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request, Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from nextbest.errors import NextbestError
from nextbest.services.moment import day_of
from nextbest.web.api.access import SCHEMES, At_desk, Operator, Viewer, admitted, desk_of
from nextbest.web.api.errors import Refused
from nextbest.web.api.shapes import Decision, DecisionRequest, FreshDecision

router = APIRouter(prefix="/v1/playbooks/{playbook}", tags=["decisions"])
EXAMPLE = {
    "tables": {
        "clients": [{"client_code": "A1", "name": "Айгерим", "age": 34, "avg_monthly_balance_KZT": 150000}],
        "transactions": [
            {"date": "2025-08-10", "category": "Такси", "amount": 2500},
            {"date": "2025-08-11", "category": "Отели", "amount": 90000},
        ],
        "transfers": [{"date": "2025-08-05", "type": "salary_in", "amount": 400000}],
    },
    "as_of": "2025-08-31",
}
"""For the playbook bank-kz."""


@router.get("/customers", summary="The customers of the run in force, in the order of their codes")
def customers(
    desk: At_desk, key: Viewer, after: Annotated[str, Query(max_length=200)] = "", limit: Annotated[int, Query(ge=1, le=1000)] = 100
) -> dict[str, Any]:
    """A page of codes with the first offer of each; the next page begins `after` the last code of this one."""
    if desk.replies is None:
        return {"customers": [], "next": None}
    found = []
    page = desk.replies.page(after, limit)
    for code, reply in page:
        said = json.loads(desk.heeded(code, reply))
        if said["left_alone"] == "erased":
            continue
        found.append({"customer": code, "first": said["offers"][0]["offer"] if said["offers"] else None, "left_alone": said["left_alone"]})
    return {"customers": found, "next": page[-1][0] if len(page) == limit else None}


@router.get("/customers/{customer}/decision", response_model=Decision, summary="The stored decision", openapi_extra=SCHEMES)
async def stored(request: Request, playbook: str, customer: str) -> Response:
    """A look-up by code: as the run in force decided, less what the customer has forbidden since."""
    return Response(_stored(request, playbook, customer), media_type="application/json")


def _stored(request: Request, playbook: str, customer: str) -> bytes:
    admitted(request, "viewer", playbook)
    return desk_of(request, playbook).stored(customer)


STORED = Route("/v1/playbooks/{playbook}/customers/{customer}/decision", stored, methods=["GET"])


class LookUp:
    """The same before all that FastAPI and Starlette do around an endpoint, which takes longer than the look-up.

    Whatever is amiss is left to the route, which says so.
    """

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        looks = scope["type"] == "http" and scope["method"] == "GET" and scope["path"].endswith("/decision")
        reply = self._reply(scope) if looks else None
        if reply is None:
            await self.app(scope, receive, send)
            return
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(reply)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": reply})

    def _reply(self, scope: Scope) -> bytes | None:
        match, found = STORED.matches(scope)
        if match != Match.FULL:
            return None
        named = found["path_params"]
        try:
            reply = _stored(Request(scope), named["playbook"], named["customer"])
        except (NextbestError, Refused):
            return None
        scope["route"] = STORED  # for the metrics
        return reply


@router.get("/customers/{customer}/explanation", summary="Why, why not, and what would change it")
def explanation(desk: At_desk, key: Viewer, customer: str, language: Annotated[str | None, Query(max_length=10)] = None) -> dict[str, Any]:
    """Every offer's path through every stage, the benefit term by term with what is behind it."""
    if desk.said.gone(customer):
        raise Refused(404, "customer", "is left alone", "nothing may be said of them")
    return asdict(desk.explained(customer, language))


@router.post("/decisions", response_model=FreshDecision, summary="A fresh decision for a posted customer")
def fresh(desk: At_desk, key: Operator, asked: Annotated[DecisionRequest, Body(examples=[EXAMPLE])]) -> dict[str, Any]:
    """Made by the same statements as a batch. Nothing is stored unless `record` asks for it."""
    day = day_of(asked.as_of or datetime.now(UTC).date())
    return desk.decide(asked.tables, day, asked.at.isoformat() if asked.at else None, asked.record)
