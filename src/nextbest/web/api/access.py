"""Who may do what: API keys, roles, and how often."""

import ipaddress
from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import APIKeyHeader, HTTPBearer
from fastapi.security.http import HTTPAuthorizationCredentials
from limits import parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from nextbest.errors import UsageError
from nextbest.services.keys import Key, digest
from nextbest.web.api.errors import Refused
from nextbest.web.serving import Desk, Serving

_bearer = HTTPBearer(auto_error=False, description="a key of `nextbest key create`")
_header = APIKeyHeader(name="X-API-Key", auto_error=False, description="the same, for clients that cannot send a bearer token")
ANYONE = Key("open", "anyone", "admin", ("*",))
"""Who asks a server that was opened to all (loopback only)."""


class Limiter:
    """So many requests of one key, or of one address, in a moving window. Counted per worker."""

    def __init__(self, rate: str):
        self.rate, self.window = parse(rate), MovingWindowRateLimiter(MemoryStorage())

    def count(self, who: str) -> None:
        """Raises Refused past the limit."""
        if not self.window.hit(self.rate, who):
            raise Refused(429, "request", f"more than {self.rate}", "wait a little", {"Retry-After": "1"})


def serving(request: Request) -> Serving:
    """What this worker has at hand."""
    found: Serving = request.app.state.serving
    return found


def caller(
    request: Request,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    header: Annotated[str | None, Depends(_header)],
) -> Key:
    """Whose request it is. Raises Refused without a good key."""
    at_hand = serving(request)
    given = bearer.credentials if bearer else header
    address = request.client.host if request.client else "unknown"
    limiter: Limiter = request.app.state.limiter
    if at_hand.settings.open:
        limiter.count(address)
        return ANYONE
    key = at_hand.keys.get(digest(given)) if given else None
    limiter.count(key.key_id if key else address)
    if key is None or key.revoked is not None:
        fix = "send Authorization: Bearer nb_…; keys are made by `nextbest key create`"
        raise Refused(401, "key", "is missing" if not given else "is not known or has ended", fix, {"WWW-Authenticate": "Bearer"})
    return key


Caller = Annotated[Key, Depends(caller)]


def needs(role: str) -> Callable[..., Key]:
    """A dependency: the caller, who must have the role, and be let into the playbook that the path names."""

    def allowed(request: Request, key: Caller) -> Key:
        playbook = request.path_params.get("playbook")
        if not key.may(role, playbook):
            what = f"its role is {key.role}, for {', '.join(key.playbooks)}"
            raise Refused(403, "key", what, f"needs {role}" + (f" for {str(playbook)[:40]}" if playbook else ""))
        return key

    return allowed


def desk(playbook: str, request: Request, key: Caller) -> Desk:
    """The playbook that the path names."""
    try:
        return serving(request).desk(playbook)
    except UsageError as error:
        raise Refused(404, *(getattr(error.problems[0], name) for name in ("where", "what", "fix"))) from None


def first_desk(request: Request, key: Caller) -> Desk:
    """The playbook for requests that name none: the first one served that the key opens."""
    for found in serving(request).desks.values():
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


def on_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
