"""What every page has: who may see it, its head, and how a failure is told."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import RedirectResponse
from nicegui import ui
from nicegui.elements.mixins.text_element import TextElement

from nextbest.errors import NextbestError
from nextbest.web.console.here import LOOKS, Here
from nextbest.words import LANGUAGES

_STYLE = (Path(__file__).parent / "look" / "console.css").read_text(encoding="utf-8")
PRIMARY = "#1f5fbf"
log = logging.getLogger("nextbest.server")


def turned_away(here: Here, request: Request) -> RedirectResponse | None:
    """Where to go instead, for whom the page is not: to sign in, or to a playbook that the key opens."""
    root = request.scope.get("root_path", "")
    if here.key is None:
        return RedirectResponse(f"{root}/sign-in?back={quote(asked(request))}", 303)
    if here.playbook not in here.playbooks:
        return RedirectResponse(f"{root}{here.path(playbook=here.playbooks[0])}" if here.playbooks else f"{root}/sign-in", 303)
    return None


@contextmanager
def frame(here: Here, title: str, current: str) -> Iterator[None]:
    """The page around its content: name, ways to the other pages, playbook, language and appearance."""
    dressed(here, title)
    with ui.header().classes("nb-head"), element("nav", classes="nb-nav") as nav:
        nav.props["aria-label"] = here.say("title")
        ui.link(here.say("title"), here.path()).classes("nb-name")
        for name, parts in (("start", ()), ("results", ("results",)), ("client", ("client",))):
            link = ui.link(here.say(f"nav.{name}"), here.path(*parts))
            if name == current:
                link.props('aria-current="page"')
        ui.space()
        _chosen(here, "playbook", {name: (name, here.path(playbook=name)) for name in here.playbooks}, here.playbook)
        _chosen(here, "language", {name: (name.upper(), _setting("language", name)) for name in LANGUAGES}, here.language)
        _chosen(here, "appearance", {name: (here.say(f"look.{name}"), _setting("look", name)) for name in LOOKS}, here.look)
        if here.token is not None:
            ui.link(here.say("nav.sign_out"), "/sign-out")
    with element("main", classes="nb-main") as content:
        element("h1", title)
        yield
    ui.skip_link(here.say("nav.skip"), target=content)


def dressed(here: Here, title: str) -> None:
    """Title, language, colours and style of a page."""
    ui.page_title(f"{title} · {here.say('title')}")
    ui.add_css(_STYLE)
    ui.colors(primary=PRIMARY)
    ui.dark_mode(LOOKS[here.look])
    ui.add_head_html(f'<script>document.documentElement.lang = "{here.language}"</script>')


def asked(request: Request) -> str:
    """What was asked for: path and query."""
    return request.url.path + (f"?{request.url.query}" if request.url.query else "")


def _setting(what: str, value: str) -> str:
    return f"/set?{what}={value}&back={quote(asked(ui.context.client.request))}"


def _chosen(here: Here, what: str, options: dict[str, tuple[str, str]], current: str) -> None:
    """Links, of which one is taken."""
    if len(options) < 2:
        return
    with element("div", classes="nb-choice").props("role=group") as choice:
        choice.props["aria-label"] = here.say(f"nav.{what}")
        for name, (label, path) in options.items():
            link = ui.link(label, path)
            if name == current:
                link.props('aria-current="true"')


def allowed(here: Here, role: str) -> bool:
    """Whether the key allows an act now; where it does not, that is said."""
    if not here.may(role):
        ui.notify(here.say("denied"), type="warning")
        return False
    return True


@contextmanager
def told(here: Here) -> Iterator[None]:
    """Around an act: a failure is shown with its mending."""
    try:
        yield
    except NextbestError as error:
        for problem in error.problems[:5]:
            fix = f" {here.say('error.fix', fix=problem.fix)}" if problem.fix else ""
            ui.notify(f"{problem.where}: {problem.what}.{fix}", type="negative", timeout=0, close_button="✕", multi_line=True)
    except Exception as error:
        log.error("unforeseen", extra={"what": type(error).__name__}, exc_info=error)
        ui.notify(here.say("error.unforeseen"), type="negative", timeout=0, close_button="✕")


def element(tag: str, text: str = "", classes: str = "") -> TextElement:
    """A plain element with a text in it, which is shown as it is."""
    return TextElement(tag=tag, text=text).classes(classes)


def facts(pairs: dict[str, str]) -> None:
    """Names and what they are, as a list."""
    with element("dl", classes="nb-facts"):
        for name, value in pairs.items():
            with element("div"):
                element("dt", name)
                element("dd", value)


def cards(pairs: list[tuple[str, str]]) -> None:
    """Figures with what they count."""
    with element("div", classes="nb-cards"):
        for value, meaning in pairs:
            with element("div", classes="nb-card"):
                element("b", value)
                element("span", meaning)


def plain_table(heads: list[str], rows: list[list[str]], numbers: Sequence[int] = ()) -> None:
    """A small table. `numbers`: the places of the columns that hold numbers."""
    with element("div", classes="nb-wide"), element("table"):
        with element("thead"), element("tr"):
            for place, head in enumerate(heads):
                element("th", head, "nb-number" if place in numbers else "").props("scope=col")
        with element("tbody"):
            for row in rows:
                with element("tr"):
                    for place, cell in enumerate(row):
                        element("td", cell, "nb-number" if place in numbers else "")
