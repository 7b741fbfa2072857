"""Ways out: where decisions and messages are handed to. One file per kind; `base` says what a channel is."""

import re
from urllib.parse import unquote, urlsplit

from nextbest.channels.base import Channel
from nextbest.errors import Problem, UsageError


def opened(address: str, secret: str | None = None, plain_http: bool = False) -> Channel:
    """The channel at an address: https://… (signed with the secret) or file:///folder.

    http://… is for this machine only, unless `plain_http` lets texts about customers go unencrypted.
    Raises UsageError for any other address, and for a webhook without a secret.
    """
    none = "no address that can be delivered to"
    try:
        parts = urlsplit(address)
        host = parts.hostname if parts.port != 0 else None
    except ValueError:
        raise UsageError([Problem("deliver to", none, "https://host/path or file:///folder")]) from None
    shown = f"{parts.scheme}://{host or ''}"
    if parts.scheme == "file" and not parts.netloc and parts.path not in ("", "/") and not parts.query and not parts.fragment:
        from nextbest.channels.file import Folder

        return Folder(unquote(parts.path))
    if parts.scheme not in ("https", "http") or not host or not re.fullmatch(r"[\w.:-]+", host):
        raise UsageError([Problem(f"deliver to {shown}", none, "https://host/path or file:///folder")])
    if parts.username or parts.password:
        fix = "the receiver knows us by the signature"
        raise UsageError([Problem(f"deliver to {shown}", "holds a name or a password, and addresses are not secret", fix)])
    if parts.scheme == "http" and not plain_http and host not in ("localhost", "127.0.0.1", "::1"):
        fix = "use https, or set NEXTBEST_SERVER_PLAIN_HTTP=true where the network itself is safe"
        raise UsageError([Problem(f"deliver to {shown}", "texts about customers would go unencrypted", fix)])
    from nextbest.channels.webhook import Webhook

    return Webhook(address, secret)
