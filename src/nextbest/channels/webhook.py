"""A webhook: a signed POST for each delivery, as https://www.standardwebhooks.com describes it."""

import base64
import binascii
import hashlib
import hmac
import time

import urllib3

from nextbest.channels.base import Delivery, Undelivered
from nextbest.errors import Problem, UsageError

_AGAIN, _BUSY = {408, 409, 425, 429}, {408, 429, 503}
_FEWEST_BYTES, _PREFIX = 24, "whsec_"
_CONNECT_SECONDS, _ANSWER_SECONDS = 5.0, 15.0


class Webhook:
    """Posts JSON with the headers webhook-id (the key), webhook-timestamp and webhook-signature.

    The secret is `whsec_` and at least 24 random bytes as base64. Raises UsageError for any other.
    """

    def __init__(self, address: str, secret: str | None):
        self.address, self.secret = address, _bytes_of(secret)
        self.pool = urllib3.PoolManager(retries=False, maxsize=16, timeout=urllib3.Timeout(connect=_CONNECT_SECONDS, read=_ANSWER_SECONDS))

    def deliver(self, delivery: Delivery) -> None:
        """Post it. Any 2xx takes it; 5xx, 408, 409, 425, 429 and a silent receiver may take it later. Raises Undelivered.

        A redirection is not followed: what is said of customers goes to the address that was named, or nowhere.
        """
        at = str(int(time.time()))
        headers = {
            "content-type": "application/json",
            "user-agent": "nextbest",
            "webhook-id": delivery.key,
            "webhook-timestamp": at,
            "webhook-signature": f"v1,{signature(self.secret, delivery.key, at, delivery.body)}",
        }
        try:
            status = self.pool.request("POST", self.address, body=delivery.body, headers=headers, redirect=False).status
        except urllib3.exceptions.HTTPError as error:
            raise Undelivered(f"the receiver cannot be reached ({type(error).__name__})", again=True, busy=True) from None
        if not 200 <= status < 300:
            raise Undelivered(f"the receiver answered {status}", again=status >= 500 or status in _AGAIN, busy=status in _BUSY)


def signature(secret: bytes, key: str, at: str, body: bytes) -> str:
    """Base64 of HMAC-SHA256 over `key.at.body` (Standard Webhooks 1.0)."""
    return base64.b64encode(hmac.new(secret, f"{key}.{at}.".encode() + body, hashlib.sha256).digest()).decode()


def _bytes_of(secret: str | None) -> bytes:
    fix = "set NEXTBEST_SERVER_WEBHOOK_SECRET=whsec_$(openssl rand -base64 32)"
    if not secret:
        raise UsageError([Problem("webhook secret", "is missing: deliveries would be unsigned", fix)])
    try:
        found = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        found = b""
    if not secret.startswith(_PREFIX) or len(found) < _FEWEST_BYTES:
        raise UsageError([Problem("webhook secret", f"is not {_PREFIX} and {_FEWEST_BYTES} bytes or more as base64", fix)])
    return found
