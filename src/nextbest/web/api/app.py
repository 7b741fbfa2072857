"""The HTTP API as an application. `served` is what a worker process runs, told by environment (NEXTBEST_SERVER_…)."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TextIO

from fastapi import FastAPI, Request
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from fastapi_offline import FastAPIOffline
from prometheus_client import generate_latest

from nextbest import __version__
from nextbest.settings import ServerSettings
from nextbest.web.api import batch, compatible, content, decisions, outgoing, people
from nextbest.web.api.access import Limiter
from nextbest.web.api.errors import add_handlers
from nextbest.web.api.middleware import Around, Metrics, RequestLog, log_to_stderr
from nextbest.web.api.shapes import ProblemReply
from nextbest.web.api.tracing import Traces
from nextbest.web.serving import Serving

ABOUT = """Decides, for every customer, what to offer next, why, worth how much, and in which words.

Everything under `/v1` is for new clients; the paths without it are those of two older services. A request carries a key:
`Authorization: Bearer nb_…`. Whatever goes wrong is told as problem+json, every problem at once."""


def create_app(settings: ServerSettings, log: TextIO | None = None) -> FastAPI:
    """The application, with what it serves at hand from its start to its end. `log`: where a line for each request goes."""
    requests = RequestLog(log)
    traces = Traces(settings.traces) if settings.traces else None

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        app.state.serving = Serving(settings, every_second=requests.flush)
        app.state.serving.start()
        yield
        app.state.serving.stop()
        if traces is not None:
            traces.stop()

    problem: dict[str, Any] = {"model": ProblemReply, "content": {"application/problem+json": {}}}
    app: FastAPI = FastAPIOffline(
        title="Nextbest", version=__version__, description=ABOUT, lifespan=life,
        responses={401: problem, 403: problem, 404: problem, 422: problem, 429: problem, 503: problem},
    )  # fmt: skip
    app.state.limiter = Limiter(settings.rate)
    metrics = Metrics()
    add_handlers(app)
    for part in (decisions, content, batch, people, outgoing, compatible):
        app.include_router(part.router)
    _add_health(app, metrics)
    app.add_middleware(decisions.LookUp)  # inside all the others
    if settings.cors:
        app.add_middleware(CORSMiddleware, allow_origins=settings.cors, allow_methods=["*"], allow_headers=["*"])
    if settings.console:
        from nextbest.web.console.mount import add_console  # an extra of its own

        add_console(app)
    app.add_middleware(Around, most_bytes=settings.most_bytes, metrics=metrics, requests=requests, traces=traces)
    return app


def _add_health(app: FastAPI, metrics: Metrics) -> None:
    @app.get("/health", tags=["health"], summary="Whether the process answers", responses={})
    async def health() -> dict[str, str]:
        """Says nothing about the workspace: see /ready."""
        return {"status": "ok", "version": __version__}

    @app.get("/ready", tags=["health"], summary="Whether requests can be served")
    async def ready(request: Request) -> Response:
        """503 while the workspace cannot be reached."""
        good = request.app.state.serving.ready
        return JSONResponse({"status": "ok" if good else "not ready"}, 200 if good else 503)

    @app.get("/metrics", tags=["health"], summary="Metrics for Prometheus, of this worker", response_class=PlainTextResponse)
    async def measured() -> Response:
        """Counts and times by route; no customer's code is in them."""
        return Response(generate_latest(metrics.registry), media_type="text/plain; version=0.0.4")


def served() -> FastAPI:
    """What each worker process runs."""
    log_to_stderr()
    return create_app(ServerSettings(), sys.stderr)
