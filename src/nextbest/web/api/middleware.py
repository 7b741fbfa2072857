"""What happens to every request: an id, a bound on its size, a line in the log, a count. Plain ASGI, so that bodies stream."""

import json
import logging
import re
import secrets
import sys
import time
from itertools import count
from typing import Any, TextIO

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nextbest.errors import Problem
from nextbest.web.api.access import identified
from nextbest.web.api.errors import Refused, problem_reply
from nextbest.web.api.tracing import Traces

_LINES = 100
MOST_JSON = 10_000_000
"""Bytes of a body that is read whole: all but files handed in."""
MOST_FORM = 10_000
"""Bytes of a form that anyone may send."""
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
PUBLIC = ("/health", "/ready", "/metrics", "/docs", "/redoc", "/openapi.json", "/static-offline-docs", "/console")
"""Paths that need no key; the console's pages ask for it themselves."""
_READ = (b"x-request-id", b"content-type", b"content-length")
_ALWAYS = [(b"x-content-type-options", b"nosniff"), (b"x-frame-options", b"DENY"), (b"cache-control", b"no-store")]
"""Headers of every reply; the console's files say themselves how long they may be kept."""
_ID = re.compile(rb"^[A-Za-z0-9._-]{1,64}$")
log = logging.getLogger("nextbest.server")


class Metrics:
    """Counts for Prometheus; the path's template is the label, so that no customer's code is in them."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ("method", "route", "status")
        self.requests = Counter("nextbest_requests", "Requests answered.", labels, registry=self.registry)
        self.seconds = Histogram("nextbest_request_seconds", "Time to answer.", labels[:2], registry=self.registry)
        self._known: dict[tuple[str, str, int], tuple[Any, Any]] = {}

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """One request answered. Finding the series by its labels takes longer than counting: they are kept."""
        series = self._known.get((method, route, status))
        if series is None:
            series = (self.requests.labels(method, route, str(status)), self.seconds.labels(method, route))
            self._known[(method, route, status)] = series
        series[0].inc()
        series[1].observe(seconds)


class RequestLog:
    """A line of JSON for every request, written by the hundred or by the second: one at a time they would take as long as a look-up.

    Paths and bodies are never in it: a path may hold a customer's code.
    """

    def __init__(self, stream: TextIO | None):
        self.stream, self.lines = stream, list[str]()

    def add(self, request_id: str, method: str, route: str, status: int, seconds: float) -> None:
        """One request answered. Every value is ours or was checked, so that nothing needs escaping."""
        self.lines.append(
            f'{{"time": {time.time():.3f}, "event": "request", "request_id": "{request_id}", "method": "{method}", '
            f'"route": "{route}", "status": {status}, "ms": {seconds * 1000:.1f}}}\n'
        )
        if len(self.lines) >= _LINES:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        lines, self.lines = self.lines, []
        if self.stream is not None and lines:
            self.stream.write("".join(lines))
            self.stream.flush()


class TooLarge(Exception):
    """The body is larger than may be."""


class Around:
    """Around every request. The key is asked for before anything of the body is read."""

    def __init__(self, app: ASGIApp, most_bytes: int, metrics: Metrics, requests: RequestLog, traces: Traces | None = None):
        self.app, self.most_bytes, self.metrics, self.requests, self.traces = app, most_bytes, metrics, requests, traces
        # A request's own id is this worker's part and a number. It need not be hard to guess: it opens nothing.
        self._own, self._numbers = secrets.token_hex(4), count()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name: value for name, value in scope["headers"] if name in _READ}
        given = headers.get(b"x-request-id", b"")
        request_id = given.decode("latin-1") if _ID.match(given) else f"{self._own}{next(self._numbers):08x}"
        scope.setdefault("state", {})["request_id"] = request_id
        most = self.most_bytes if headers.get(b"content-type", b"").startswith(b"multipart/") else min(self.most_bytes, MOST_JSON)
        if scope["path"].endswith("/sign-in"):
            most = MOST_FORM
        started, status, size = time.perf_counter(), 0, 0
        console = scope["path"].startswith("/console")

        async def bounded() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > most:
                raise TooLarge
            return message

        async def marked(message: Message) -> None:
            nonlocal status
            if size > most:  # whatever else is made of it, the request was too large
                return
            if message["type"] == "http.response.start":
                status = message["status"]
                own = {name for name, _ in message["headers"]} if console else ()
                more = [pair for pair in _ALWAYS if pair[0] not in own]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode()), *more]
            await send(message)

        async def answer(code: int, problems: list[Problem], more: dict[str, str] | None = None) -> None:
            nonlocal size
            size = 0
            await problem_reply(Request(scope), code, problems, more)(scope, receive, marked)

        too_large = Problem("body", f"larger than {most} bytes", "split it, or raise NEXTBEST_SERVER_MOST_BYTES")
        declared = headers.get(b"content-length", b"0")
        try:
            if scope["method"] != "OPTIONS" and not _is_public(scope["path"]):
                identified(Request(scope))
            if declared.isdigit() and int(declared) > most:
                await answer(413, [too_large])
            else:
                await self.app(scope, bounded, marked)
                if size > most:
                    await answer(413, [too_large])
        except Refused as error:
            await answer(error.status, error.problems, error.headers)
        except UnicodeEncodeError:
            await answer(422, [Problem("request", "holds half of a character (a lone surrogate)", "send whole Unicode text")])
        except Exception as error:
            if size > most and not status:
                await answer(413, [too_large])
            else:
                # Its own words may hold a customer's values: the log gets its kind and place, the caller only the request's id.
                log.error("unforeseen", extra={"what": type(error).__name__, "request_id": request_id}, exc_info=error)
                if not status:
                    await answer(500, [Problem("server", "failed", "tell the operator the id of this request (instance)")])
        finally:
            route = getattr(scope.get("route"), "path", None) or "none"
            method = scope["method"] if scope["method"] in METHODS else "other"
            took = time.perf_counter() - started
            self.metrics.count(method, route, status, took)
            self.requests.add(request_id, method, route, status, took)
            if self.traces is not None:
                ended = time.time()
                self.traces.request(method, route, status, ended - took, ended, Request(scope).headers)


def _is_public(path: str) -> bool:
    return path == "/" or path.startswith(PUBLIC)


class JsonLines(logging.Formatter):
    """What the server itself has to say, as JSON. An error is told by its kind and place: its words may hold a customer's values."""

    FIELDS = ("request_id", "what")

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        line: dict[str, Any] = {"time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"), "level": record.levelname}
        line["event"] = record.msg if record.name.startswith("nextbest") else record.name  # others' words may be an error's own
        line |= {name: getattr(record, name) for name in self.FIELDS if hasattr(record, name)}
        if record.exc_info and record.exc_info[2] is not None:
            line["at"] = [f"{frame.filename}:{frame.lineno}" for frame in _frames(record.exc_info[2])][-8:]
        return json.dumps(line)


def _frames(traceback: Any) -> Any:
    from traceback import extract_tb

    return extract_tb(traceback)


def log_to_stderr() -> None:
    """The server's log goes to stderr, a JSON object a line."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for logger, level in ((log, logging.INFO), (logging.getLogger("nicegui"), logging.WARNING)):
        logger.handlers = [handler]
        logger.setLevel(level)
        logger.propagate = False
