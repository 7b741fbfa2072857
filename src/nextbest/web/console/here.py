"""Who looks at a page: their key, playbook, language and appearance."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

from babel.dates import format_datetime
from babel.numbers import format_decimal
from fastapi import Request
from nicegui import app as pages

from nextbest.services.keys import Key, digest
from nextbest.web.api.access import ANYONE, asked_on_loopback
from nextbest.web.serving import Desk, Serving
from nextbest.words import LANGUAGES, say

KEY_COOKIE, LANGUAGE_COOKIE, LOOK_COOKIE = "nextbest_key", "nextbest_language", "nextbest_look"
PLACE = "/console"
LOOKS: dict[str, bool | None] = {"auto": None, "light": False, "dark": True}


@dataclass(frozen=True)
class Here:
    """One look at one page. What the key may do is asked anew at every act: a page may stay open longer than a key lives."""

    serving: Serving
    token: str | None
    playbook: str
    language: str
    look: str
    local: bool

    @property
    def key(self) -> Key | None:
        """Whose page it is; None where the key is not known or has ended."""
        if self.serving.settings.open:
            return ANYONE if self.local else None
        known = self.serving.keys.get(digest(self.token)) if self.token else None
        return known if known and known.revoked is None else None

    def may(self, role: str) -> bool:
        """Whether the key opens this to its holder, in this playbook, now."""
        return self.key is not None and self.key.may(role, self.playbook)

    @property
    def playbooks(self) -> list[str]:
        """The playbooks served that the key opens."""
        key = self.key
        return [name for name in self.serving.desks if key and key.may("viewer", name)]

    @property
    def desk(self) -> Desk:
        """The playbook's desk."""
        return self.serving.desks[self.playbook]

    def say(self, word: str, **values: object) -> str:
        """Words of the page, in its language."""
        return say(self.language, word, **values)

    def text(self, texts: dict[Any, str]) -> str:
        """Of a text in several languages, the page's."""
        return texts.get(self.language) or next(iter(texts.values()))

    def number(self, value: float | None, most_digits: int = 0) -> str:
        """A number as the language writes it."""
        return "–" if value is None else str(format_decimal(value, format=f"#,##0.{'#' * most_digits}", locale=self.language))

    def moment(self, seconds: float, zone: str | None = None) -> str:
        """A moment as the language writes it, in a time zone, which is named then, or in the server's."""
        at = datetime.fromtimestamp(seconds, ZoneInfo(zone)) if zone else datetime.fromtimestamp(seconds).astimezone()
        return str(format_datetime(at, "short", tzinfo=at.tzinfo, locale=self.language)) + (f" ({zone})" if zone else "")

    def path(self, *parts: str, playbook: str | None = None) -> str:
        """A page of the playbook, beneath /console."""
        return "/" + "/".join(quote(part, safe="") for part in ("p", playbook or self.playbook, *parts))


def here_of(request: Request, playbook: str = "") -> Here:
    """Who asks, by the request's cookies."""
    given = request.cookies
    language = given.get(LANGUAGE_COOKIE, "")
    if language not in LANGUAGES:
        asked = [part.split(";")[0].strip().lower()[:2] for part in request.headers.get("accept-language", "").split(",")]
        language = next((name for name in asked if name in LANGUAGES), "en")
    look = given.get(LOOK_COOKIE, "auto")
    serving: Serving = pages.state.api.state.serving
    return Here(serving, given.get(KEY_COOKIE), playbook, language, look if look in LOOKS else "auto", asked_on_loopback(request))
