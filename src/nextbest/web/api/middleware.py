"""What happens to every request: an id, a bound on its size, a line in the log, a count. Plain ASGI, so that bodies stream."""

import json
import logging
import re
import secrets
import sys
import time
from typing import Any, TextIO

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_LINES = 100
_ALWAYS = [(b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store")]
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
    """Around every request."""

    def __init__(self, app: ASGIApp, most_bytes: int, metrics: Metrics, requests: RequestLog):
        self.app, self.most_bytes, self.metrics, self.requests = app, most_bytes, metrics, requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given, declared = b"", b"0"
        for name, value in scope["headers"]:
            if name == b"x-request-id":
                given = value
            elif name == b"content-length":
                declared = value
        request_id = given.decode("latin-1") if _ID.match(given) else secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = request_id
        started, status, size = time.perf_counter(), 500, 0

        async def bounded() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > self.most_bytes:
                raise TooLarge
            return message

        async def marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode()), *_ALWAYS]
            await send(message)

        try:
            if declared.isdigit() and int(declared) > self.most_bytes:
                raise TooLarge
            await self.app(scope, bounded, marked)
        except TooLarge:
            await self._too_large(marked)
        finally:
            route = getattr(scope.get("route"), "path", None) or "none"
            took = time.perf_counter() - started
            self.metrics.count(scope["method"], route, status, took)
            self.requests.add(request_id, scope["method"], route, status, took)

    async def _too_large(self, send: Send) -> None:
        problem = {"where": "body", "what": f"larger than {self.most_bytes} bytes", "fix": "split it, or raise NEXTBEST_SERVER_MOST_BYTES"}
        body = json.dumps({"type": "about:blank", "title": "Too large", "status": 413, "problems": [problem]}).encode()
        await send({"type": "http.response.start", "status": 413, "headers": [(b"content-type", b"application/problem+json")]})
        await send({"type": "http.response.body", "body": body})


class JsonLines(logging.Formatter):
    """What the server itself has to say, as JSON. An error is told by its kind and place: its words may hold a customer's values."""

    FIELDS = ("request_id", "what")

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        line: dict[str, Any] = {"time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"), "level": record.levelname, "event": record.msg}
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
    log.handlers = [handler]
    log.setLevel(logging.INFO)
    log.propagate = False
