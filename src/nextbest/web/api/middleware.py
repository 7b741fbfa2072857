"""What happens to every request: an id, a bound on its size, a line in the log, a count. Plain ASGI, so that bodies stream."""

import json
import logging
import re
import secrets
import sys
import time
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_ID = re.compile(r"^[A-Za-z0-9._-]{1,64}$")
log = logging.getLogger("nextbest.server")


class Metrics:
    """Counts for Prometheus; the path's template is the label, so that no customer's code is in them."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ("method", "route", "status")
        self.requests = Counter("nextbest_requests", "Requests answered.", labels, registry=self.registry)
        self.seconds = Histogram("nextbest_request_seconds", "Time to answer.", labels[:2], registry=self.registry)


class TooLarge(Exception):
    """The body is larger than may be."""


class Around:
    """Around every request."""

    def __init__(self, app: ASGIApp, most_bytes: int, metrics: Metrics):
        self.app, self.most_bytes, self.metrics = app, most_bytes, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"").decode("latin-1")
        request_id = given if _ID.match(given) else secrets.token_hex(8)
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
                message["headers"] = [
                    *message["headers"],
                    (b"x-request-id", request_id.encode()),
                    (b"x-content-type-options", b"nosniff"),
                    (b"cache-control", b"no-store"),
                ]
            await send(message)

        try:
            declared = headers.get(b"content-length", b"0")
            if declared.isdigit() and int(declared) > self.most_bytes:
                raise TooLarge
            await self.app(scope, bounded, marked)
        except TooLarge:
            await self._too_large(marked)
        finally:
            route = getattr(scope.get("route"), "path", None) or "none"
            took = time.perf_counter() - started
            self.metrics.requests.labels(scope["method"], route, str(status)).inc()
            self.metrics.seconds.labels(scope["method"], route).observe(took)
            known = {"request_id": request_id, "method": scope["method"], "route": route, "status": status, "ms": round(took * 1000, 1)}
            log.info("request", extra=known)

    async def _too_large(self, send: Send) -> None:
        problem = {"where": "body", "what": f"larger than {self.most_bytes} bytes", "fix": "split it, or raise NEXTBEST_SERVER_MOST_BYTES"}
        body = json.dumps({"type": "about:blank", "title": "Too large", "status": 413, "problems": [problem]}).encode()
        await send({"type": "http.response.start", "status": 413, "headers": [(b"content-type", b"application/problem+json")]})
        await send({"type": "http.response.body", "body": body})


class JsonLines(logging.Formatter):
    """A log line as JSON. Paths and bodies are never in it: a path may hold a customer's code."""

    FIELDS = ("request_id", "method", "route", "status", "ms", "what")

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
