"""Who may do what: API keys, roles, and how often.

The dependencies are coroutines though they wait for nothing: plain functions would each be sent to a thread and back.
"""

import ipaddress
import math
import time
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import Depends, Request
from fastapi.security import APIKeyHeader, HTTPBearer
from limits import parse

from nextbest.errors import UsageError
from nextbest.services.keys import Key, digest
from nextbest.web.api.errors import Refused
from nextbest.web.serving import Desk, Serving

_bearer = HTTPBearer(auto_error=False, description="a key of `nextbest key create`")
_header = APIKeyHeader(name="X-API-Key", auto_error=False, description="the same, for clients that cannot send a bearer token")
ANYONE = Key("open", "anyone", "admin", ("*",))
"""Who asks a server that was opened to all (loopback only)."""


class Limiter:
    """So many requests of one key, or of one address, in a moving window. Counted per worker.

    The window before counts by the part of it that the moving one still covers. The storages of `limits` clean up in a thread
    that starts a hundred times a second: beside a look-up that took a third of all requests.
    """

    def __init__(self, rate: str):
        self.rate = parse(rate)
        self._window, self._counts, self._before = 0, dict[str, int](), dict[str, int]()

    def count(self, who: str) -> None:
        """Raises Refused past the limit."""
        at = time.monotonic() / self.rate.get_expiry()
        window = int(at)
        if window != self._window:
            self._before = self._counts if window == self._window + 1 else {}
            self._window, self._counts = window, {}
        here, before, most = self._counts.get(who, 0), self._before.get(who, 0), self.rate.amount
        if here + before * (window + 1 - at) >= most:
            free = window + 1 if here >= most else window + 1 - (most - here) / before
            seconds = max(1, math.ceil((free - at) * self.rate.get_expiry()))
            raise Refused(429, "request", f"more than {self.rate}", f"wait {seconds} s", {"Retry-After": str(seconds)})
        self._counts[who] = here + 1


async def serving(request: Request) -> Serving:
    """What this worker has at hand."""
    return at_hand(request)


def at_hand(request: Request) -> Serving:
    """What this worker has at hand."""
    found: Serving = request.app.state.serving
    return found


def identified(request: Request) -> Key:
    """Whose request it is, by its headers. Raises Refused without a good key, or past the limit.

    Asked once a request, before its body is read.
    """
    state = request.scope["state"]
    if "key" not in state:
        state["key"] = _identify(request)
    known: Key = state["key"]
    return known


def _identify(request: Request) -> Key:
    here = at_hand(request)
    address = request.client.host if request.client else "unknown"
    limiter: Limiter = request.app.state.limiter
    if here.settings.open:
        limiter.count(address)
        if not asked_on_loopback(request):
            raise Refused(403, "host", "this server is open to its own machine only", "ask for it as http://127.0.0.1 or http://localhost")
        return ANYONE
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    given = token.strip() if scheme.lower() == "bearer" else request.headers.get("x-api-key")
    key = here.keys.get(digest(given)) if given else None
    limiter.count(key.key_id if key else address)
    if key is None or key.revoked is not None:
        fix = "send Authorization: Bearer nb_…; keys are made by `nextbest key create`"
        raise Refused(401, "key", "is missing" if not given else "is not known or has ended", fix, {"WWW-Authenticate": "Bearer"})
    return key


def admitted(request: Request, role: str, playbook: str | None) -> Key:
    """Whose request it is, who must have the role, and be let into the playbook. Raises Refused."""
    return _with_role(identified(request), role, playbook)


def _with_role(key: Key, role: str, playbook: str | None) -> Key:
    if not key.may(role, playbook):
        what = f"its role is {key.role}, for {', '.join(key.playbooks)}"
        raise Refused(403, "key", what, f"needs {role}" + (f" for {playbook[:40]}" if playbook else ""))
    return key


async def caller(request: Request, bearer: Annotated[Any, Depends(_bearer)], header: Annotated[Any, Depends(_header)]) -> Key:
    """Whose request it is. The two schemes are named for the documentation; the headers are read once."""
    return identified(request)


Caller = Annotated[Key, Depends(caller)]


def needs(role: str) -> Callable[..., Awaitable[Key]]:
    """A dependency: the caller, who must have the role, and be let into the playbook that the path names."""

    async def allowed(request: Request, key: Caller) -> Key:
        return _with_role(key, role, request.path_params.get("playbook"))

    return allowed


def desk_of(request: Request, playbook: str) -> Desk:
    """A playbook's desk. Raises Refused for one that is not served."""
    try:
        return at_hand(request).desk(playbook)
    except UsageError as error:
        [problem] = error.problems
        raise Refused(404, problem.where, problem.what, problem.fix) from None


async def desk(playbook: str, request: Request, key: Caller) -> Desk:
    """The playbook that the path names."""
    return desk_of(request, playbook)


async def first_desk(request: Request, key: Caller) -> Desk:
    """The playbook for requests that name none: the first one served that the key opens."""
    for found in at_hand(request).desks.values():
        if key.may("viewer", found.host.name):
            return found
    raise Refused(403, "key", "opens none of the playbooks served", "ask for another key")


At = Annotated[Serving, Depends(serving)]
At_desk = Annotated[Desk, Depends(desk)]
First = Annotated[Desk, Depends(first_desk)]
Viewer = Annotated[Key, Depends(needs("viewer"))]
Operator = Annotated[Key, Depends(needs("operator"))]
Approver = Annotated[Key, Depends(needs("approver"))]
Admin = Annotated[Key, Depends(needs("admin"))]


def asked_on_loopback(request: Request) -> bool:
    """Whether the request names this machine: a site whose own name is made to point here would have its visitors' browsers ask."""
    return _is_own_name(request.headers.get("host", ""))


@lru_cache(maxsize=64)
def _is_own_name(host: str) -> bool:
    try:
        return on_loopback(urlsplit(f"//{host}").hostname or "")
    except ValueError:
        return False


def on_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


SCHEMES: dict[str, Any] = {"security": [{"HTTPBearer": []}, {"APIKeyHeader": []}]}
"""For the documentation of a route that asks `admitted` itself."""
