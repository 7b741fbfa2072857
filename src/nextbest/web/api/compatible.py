"""Two older services' requests, so that their clients work unchanged. Each answers for one playbook: a private bank's
recommendations by customer, and a retail bank's upload-and-go."""

import json
import time
from datetime import UTC, date, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request, UploadFile
from fastapi.responses import StreamingResponse

from nextbest.errors import Problem, UsageError
from nextbest.services import jobs
from nextbest.services.exports import export, statistics
from nextbest.web.api.access import At, Caller, First
from nextbest.web.api.errors import Refused
from nextbest.web.api.files import said_of, sent
from nextbest.web.serving import Desk, Serving

router = APIRouter(tags=["compatible"])
_POLL_SECONDS = 0.1
_MOST_CODES = 1000
CUSTOMER = {
    "customer_id": "C001", "age": 34, "income": 95000, "existing_products": ["Savings Account"], "credit_score": 720,
    "avg_account_balance": 18000,
}  # fmt: skip


def _needs(key: Any, desk: Desk, role: str) -> None:
    if not key.may(role, desk.host.name):
        raise Refused(403, "key", f"its role is {key.role}", f"needs {role} for {desk.host.name}")


# The private bank's: recommendations by customer


def private(at: Serving, first: Desk) -> Desk:
    """The playbook without activity tables, where one is served; else the first."""
    return next((desk for desk in at.desks.values() if len(desk.loaded.model.business.sources) == 1), first)


def recommended(desk: Desk, reply: dict[str, Any]) -> dict[str, Any]:
    """The reply in that service's shape."""
    signals = desk.loaded.model.signals
    language = desk.loaded.model.business.languages[0]

    def reason(item: dict[str, Any]) -> str:
        """What speaks for it in points of those it could give, then whatever else is said."""
        most = desk.loaded.model.offers[item["offer"]].evidence.signals if item["offer"] in desk.loaded.model.offers else {}
        points = [
            f"{signals[e['signal']].meaning[language]} ({e['points']:.0f} of {most[e['signal']]:.0f})"
            for e in item["evidence"]
            if e["signal"] in most and e["points"] > 0
        ]
        named = {signals[e["signal"]].meaning[language] for e in item["evidence"] if e["signal"] in signals}
        return "; ".join([*points, *(said for said in item["reasons"].split("; ") if said and said not in named)])

    found = [
        {"product_name": item["product"], "category": item["category"], "reason": reason(item), "confidence_score": item["confidence"]}
        for item in reply["offers"]
    ]
    return {"customer_id": reply["customer"], "recommended_products": found, "total_recommendations": len(found)}


@router.get("/recommend/{customer_id}", summary="Recommendations for a known customer")
def recommend(at: At, first: First, key: Caller, customer_id: str) -> dict[str, Any]:
    """From the run in force."""
    desk = private(at, first)
    _needs(key, desk, "viewer")
    return recommended(desk, json.loads(desk.stored(customer_id)))


@router.post("/recommend/", summary="Recommendations for a posted customer")
def recommend_posted(at: At, first: First, key: Caller, customer: Annotated[dict[str, Any], Body(examples=[CUSTOMER])]) -> dict[str, Any]:
    """The body is the customer's row. Nothing is stored."""
    desk = private(at, first)
    _needs(key, desk, "operator")
    business = desk.loaded.model.business
    own = business.sources[business.customers].columns
    names = {header.lower() for column, item in own.items() for header in (column, *item.names)}
    known = {name: value for name, value in customer.items() if name.lower() in names}  # that service let anything more pass
    return recommended(desk, desk.decide({business.customers: [known]}, datetime.now(UTC).date(), None, False))


@router.get("/customers", summary="The customers of the run in force")
def customers(at: At, first: First, key: Caller, after: str = "", limit: Annotated[int, Query(ge=1, le=10_000)] = 1000) -> dict[str, Any]:
    """A page of codes."""
    desk = private(at, first)
    _needs(key, desk, "viewer")
    codes = [code for code, _ in desk.replies.page(after, limit)] if desk.replies else []
    kept = [code for code in codes if desk.said.gone(code) != "erased"]
    return {"customers": kept, "total": desk.replies.count() if desk.replies else 0}


@router.get("/products", summary="The products")
def products(at: At, first: First, key: Caller) -> dict[str, Any]:
    """Names, categories and what each asks of a customer."""
    desk = private(at, first)
    _needs(key, desk, "viewer")
    language = desk.loaded.model.business.languages[0]
    found = [
        {"product_id": offer.id, "product_name": offer.name[language], "category": offer.category,
         "requirements": {name: _latest(item.values) for name, item in offer.params.items() if name.startswith("minimum_")}}
        for offer in desk.loaded.model.offers.values()
    ]  # fmt: skip
    return {"products": found, "total": len(found)}


def _latest(values: dict[date, Any]) -> Any:
    return values[max(values)]


# The retail bank's: upload and go


def retail(at: Serving, first: Desk) -> Desk:
    """The playbook with activity tables, where one is served; else the first."""
    return next((desk for desk in at.desks.values() if len(desk.loaded.model.business.sources) > 1), first)


@router.post("/upload/{table}", summary="Hand in clients, transactions or transfers")
def upload(at: At, first: First, key: Caller, table: str, file: UploadFile) -> dict[str, Any]:
    """One file in the field `file`."""
    desk = retail(at, first)
    _needs(key, desk, "operator")
    if table not in desk.loaded.model.business.sources:
        raise Refused(404, "table", "no such table", f"one of {', '.join(desk.loaded.model.business.sources)}")
    return {"status": "ok", **desk.host.hand_in(table, file.filename or "", file.file, at.settings.most_bytes)}


@router.post("/process", summary="Decide for everyone, and wait until it is done")
def process(at: At, first: First, key: Caller, request: Request, as_of: date | None = None, record: bool = False) -> dict[str, Any]:
    """Without an as-of day, the last day in the tables. A trial unless `record` asks for contacts to be promised and recorded."""
    desk = retail(at, first)
    _needs(key, desk, "operator")
    day = (as_of or desk.host.last_day()).isoformat()
    job = jobs.submit(at.workspace, desk.host.name, {"as_of": day, "at": None, "record": record})
    ends = time.monotonic() + at.settings.most_seconds
    while job.finished is None and time.monotonic() < ends and not at.stopping.is_set():
        time.sleep(_POLL_SECONDS)
        job = jobs.get(at.workspace, job.job_id)
    if job.state == "failed":
        raise Refused(422, "job", job.problems[0]["what"] if job.problems else "failed", job.problems[0]["fix"] if job.problems else "")
    desk.look()
    counts = (job.result or {}).get("counts", {})
    return {
        "status": job.state,
        "job_id": job.job_id,
        "as_of": day,
        "processed": counts.get("customers", {}).get("scored", 0),
        "counts": counts,
    }


@router.get("/recommendations/{client_code}", summary="A client's Top-4")
def recommendations(at: At, first: First, key: Caller, client_code: str) -> dict[str, Any]:
    """The offers recommended, best first, with the push."""
    desk = retail(at, first)
    _needs(key, desk, "viewer")
    reply = json.loads(desk.stored(client_code))
    return {
        "client_code": reply["customer"],
        "recommendations": [_top(item) for item in reply["offers"]],
        "push_notification": _push(reply),
    }


def _top(item: dict[str, Any]) -> dict[str, Any]:
    return {name: item[name] for name in ("rank", "product", "category", "confidence", "benefit", "reasons")}


def _push(reply: dict[str, Any]) -> str:
    return (reply["message"] or {}).get("text") or ""


@router.post("/push-notifications", summary="The pushes of some clients, or of all")
def pushes(
    at: At, first: First, key: Caller, asked: Annotated[dict[str, Any] | None, Body(examples=[{"client_codes": [1, 2]}])] = None
) -> dict[str, Any]:
    """`client_codes` (or `client_code`) in the body; without them a page of all, `after` a code."""
    desk = retail(at, first)
    _needs(key, desk, "viewer")
    asked = asked or {}
    codes = asked["client_codes"] if "client_codes" in asked else [asked["client_code"]] if "client_code" in asked else None
    if codes is not None and (not isinstance(codes, list) or len(codes) > _MOST_CODES):
        raise UsageError([Problem("body.client_codes", f"is no list of at most {_MOST_CODES}", 'e.g. {"client_codes": [1, 2]}')])
    if codes is None:
        found = (
            [json.loads(desk.heeded(code, reply)) for code, reply in desk.replies.page(str(asked.get("after", "")), 1000)]
            if desk.replies
            else []
        )
    else:
        found = [json.loads(desk.stored(str(code))) for code in codes]
    rows = [
        {
            "client_code": reply["customer"],
            "product": reply["offers"][0]["product"] if reply["offers"] else "",
            "push_notification": _push(reply),
        }
        for reply in found
    ]
    return {"push_notifications": rows, "total": len(rows)}


@router.get("/export/csv", summary="client_code, product, push_notification as a file", **said_of(".csv"))
def export_csv(at: At, first: First, key: Caller) -> StreamingResponse:
    """The run in force."""
    desk = retail(at, first)
    _needs(key, desk, "viewer")
    path = export(desk.host.run(), "recommendations", "csv", desk.left_out("recommendations"))
    return sent(path, "recommendations.csv")


@router.get("/stats", summary="What the run in force came to")
def stats(at: At, first: First, key: Caller) -> dict[str, Any]:
    """Counts, and offers by how many get them first."""
    desk = retail(at, first)
    _needs(key, desk, "viewer")
    return statistics(desk.host.run())
