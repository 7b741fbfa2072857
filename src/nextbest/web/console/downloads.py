"""Files of a run, exactly as they are filtered on the page."""

from typing import Annotated

from fastapi import Query, Request
from fastapi.responses import PlainTextResponse, Response
from nicegui import app as pages
from starlette.concurrency import run_in_threadpool

from nextbest.errors import NextbestError
from nextbest.services.exports import export
from nextbest.web.api.files import sent
from nextbest.web.console.frame import turned_away
from nextbest.web.console.here import here_of
from nextbest.web.console.results import chosen_of


@pages.get("/p/{playbook}/download/{table}")
async def download(
    request: Request,
    playbook: str,
    table: str,
    format: str = "csv",
    code: str = "",
    offers: Annotated[list[str] | None, Query()] = None,
    segment: str = "",
    message: str = "any",
    sure: str = "0",
) -> Response:
    """One table as a file. Who may not see it is sent to sign in; what cannot be made says why."""
    here = here_of(request, playbook)
    if (away := turned_away(here, request)) is not None:
        return away
    chosen = chosen_of(code, tuple(offers or ()), segment, message, sure)
    try:
        path = await run_in_threadpool(export, here.desk.host.run(), table, format, here.desk.left_out(table), chosen)
    except NextbestError as error:
        return PlainTextResponse("\n".join(f"{item.where}: {item.what}. {item.fix}" for item in error.problems), 422)
    return sent(path, f"{playbook}-{table}.{format}")
