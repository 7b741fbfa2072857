"""The console on the API's application, under /console."""

from importlib import import_module

from fastapi import FastAPI
from fastapi.responses import RedirectResponse
from nicegui import app as pages
from nicegui import ui

from nextbest.web.console.frame import dressed, element
from nextbest.web.console.here import PLACE, here_of

PAGES = ("sign_in", "start", "results", "client", "downloads")


def add_console(app: FastAPI) -> None:
    """Put the pages on the application. Their state lives in the process: a server with a console has one worker.

    Raises ModuleNotFoundError without NiceGUI.
    """
    pages.state.api = app
    for page in PAGES:
        import_module(f"nextbest.web.console.{page}")
    app.add_api_route("/", _home, include_in_schema=False)
    ui.run_with(app, mount_path=PLACE, title="Nextbest", favicon="◆", show_welcome_message=False, tailwind=False, reconnect_timeout=10)


@pages.on_page_exception
def _failed(error: Exception) -> None:
    """A page that cannot be made says so, and nothing of what it met: that is in the log."""
    here = here_of(ui.context.client.request)
    dressed(here, here.say("title"))
    element("h1", here.say("error.unforeseen")).classes("nb-main")


async def _home() -> RedirectResponse:
    return RedirectResponse(f"{PLACE}/")
