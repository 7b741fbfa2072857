"""Sign in with an API key. It is kept in a cookie that scripts cannot read and that comes with no act of another site."""

from typing import Annotated
from urllib.parse import quote

from fastapi import Form, Request
from fastapi.responses import RedirectResponse, Response
from nicegui import app as pages
from nicegui import ui

from nextbest.services.keys import digest
from nextbest.web.api.errors import Refused
from nextbest.web.console.frame import dressed, element
from nextbest.web.console.here import KEY_COOKIE, LANGUAGE_COOKIE, LOOK_COOKIE, here_of

_SETTINGS = {"language": LANGUAGE_COOKIE, "look": LOOK_COOKIE}


@ui.page("/sign-in")
def sign_in(request: Request, wrong: str = "", back: str = "") -> None:
    """The form is plain: nothing of the console's own is needed to send it."""
    here = here_of(request)
    dressed(here, here.say("sign_in.title"))
    root = request.scope.get("root_path", "")
    with element("main", classes="nb-sign"):
        element("h1", here.say("sign_in.title"))
        if wrong in ("wrong", "often"):
            element("p", here.say(f"sign_in.{wrong}"), "nb-stop").props("role=alert")
        with element("form").props(f'method=post action="{root}/sign-in"'):
            element("input").props("type=hidden name=back").props["value"] = back
            element("label", here.say("sign_in.key")).props("for=key")
            element("input").props("id=key name=key type=password required autofocus autocomplete=current-password")
            element("button", here.say("sign_in.go")).props("type=submit")
        element("p", here.say("sign_in.how"), "nb-soft")


@pages.post("/sign-in")
async def signed_in(request: Request, key: Annotated[str, Form()] = "", back: Annotated[str, Form()] = "") -> Response:
    """To the console, with the key in a cookie; or back, where it is not good."""
    root = request.scope.get("root_path", "")
    api = pages.state.api
    try:
        api.state.limiter.count(request.client.host if request.client else "unknown")
    except Refused:
        return RedirectResponse(f"{root}/sign-in?wrong=often&back={quote(back)}", 303)
    known = api.state.serving.keys.get(digest(key.strip()))
    if known is None or known.revoked is not None:
        return RedirectResponse(f"{root}/sign-in?wrong=wrong&back={quote(back)}", 303)
    reply = RedirectResponse(_within(root, back), 303)
    secure = api.state.serving.settings.https or request.url.scheme == "https"
    reply.set_cookie(KEY_COOKIE, key.strip(), path=root, httponly=True, samesite="lax", secure=secure)
    return reply


@pages.get("/sign-out")
async def sign_out(request: Request) -> Response:
    """The key is forgotten by the browser."""
    root = request.scope.get("root_path", "")
    reply = RedirectResponse(f"{root}/sign-in", 303)
    reply.delete_cookie(KEY_COOKIE, path=root)
    return reply


@pages.get("/set")
async def set_(request: Request, back: str = "/", language: str = "", look: str = "") -> Response:
    """Language or appearance, kept in a cookie. `back`: a page of the console."""
    root = request.scope.get("root_path", "")
    reply = RedirectResponse(_within(root, back), 303)
    for name, value in (("language", language), ("look", look)):
        if value.isascii() and value.isalpha():
            reply.set_cookie(_SETTINGS[name], value, path=root, max_age=31_536_000, samesite="lax")
    return reply


def _within(root: str, back: str) -> str:
    """Where to go back to: a page of the console, and nowhere else."""
    return back if back.startswith(f"{root}/") and "\\" not in back else f"{root}/"
