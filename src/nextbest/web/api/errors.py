"""Errors as problem+json (RFC 9457): every problem at once, each with where, what and how to fix it."""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from nextbest.errors import DataError, NextbestError, PlaybookError, Problem, StoreError, UsageError

STATUS: dict[type[NextbestError], int] = {UsageError: 422, PlaybookError: 409, DataError: 422, StoreError: 503}
LOOKS = ("GET", "HEAD", "DELETE")
"""Methods that only name a thing: where it does not fit, it is not there."""
TITLES = {400: "The request does not fit", 401: "A key is needed", 403: "The key does not open this", 404: "Not here",
          405: "Not allowed here", 409: "The playbook has problems", 413: "Too large", 415: "Not a form that is read here",
          422: "What was sent cannot be used", 429: "Too many requests", 503: "The workspace cannot be used"}  # fmt: skip


class Refused(Exception):
    """A request that is turned down, with its status."""

    def __init__(self, status: int, where: str, what: str, fix: str = "", headers: dict[str, str] | None = None):
        super().__init__(what)
        self.status, self.problems, self.headers = status, [Problem(where, what, fix)], headers or {}


def problem_reply(request: Request, status: int, problems: list[Problem], headers: dict[str, str] | None = None) -> JSONResponse:
    """The answer to a request that went wrong."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": TITLES.get(status, "Something went wrong"),
        "status": status,
        "detail": "; ".join(f"{problem.where}: {problem.what}" for problem in problems)[:2000],
        "instance": f"request:{getattr(request.state, 'request_id', '')}",
        "problems": [{"where": problem.where, "what": problem.what, "fix": problem.fix} for problem in problems],
    }
    return JSONResponse(body, status, headers, media_type="application/problem+json")


def add_handlers(app: FastAPI) -> None:
    """Every kind of error in this one form. One that nobody foresaw is answered by the middleware."""

    @app.exception_handler(NextbestError)
    def of_ours(request: Request, error: NextbestError) -> JSONResponse:
        status = 404 if isinstance(error, UsageError) and request.method in LOOKS else STATUS.get(type(error), 500)
        return problem_reply(request, status, error.problems)

    @app.exception_handler(Refused)
    def refused(request: Request, error: Refused) -> JSONResponse:
        return problem_reply(request, error.status, error.problems, error.headers)

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        found = [
            Problem(".".join(str(part) for part in item["loc"]), str(item["msg"]), "see /docs for what this request takes")
            for item in error.errors()
        ]
        return problem_reply(request, 422, found)

    @app.exception_handler(HTTPException)
    def of_http(request: Request, error: HTTPException) -> JSONResponse:
        return problem_reply(request, error.status_code, [Problem(request.url.path[:200], str(error.detail))], dict(error.headers or {}))
