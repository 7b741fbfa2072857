"""A receiver of webhooks on this machine."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@dataclass
class Post:
    """One POST as it came in."""

    headers: dict[str, str]
    body: bytes

    @property
    def key(self) -> str:
        return self.headers["webhook-id"]


@dataclass
class Hook:
    """Answers POSTs with `status`, after `seconds`; a status by key goes before it."""

    url: str = ""
    status: int = 204
    seconds: float = 0.0
    by_key: dict[str, int] = field(default_factory=dict)
    posts: list[Post] = field(default_factory=list)


@pytest.fixture
def hook() -> Iterator[Hook]:
    hook = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            post = Post({k.lower(): v for k, v in self.headers.items()}, self.rfile.read(int(self.headers["content-length"])))
            time.sleep(hook.seconds)
            status = hook.by_key.get(post.key, hook.status)
            if 200 <= status < 300:
                hook.posts.append(post)
            self.send_response(status)
            if status == 302:
                self.send_header("location", hook.url + "/elsewhere")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hook.url = f"http://127.0.0.1:{server.server_port}/hook"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield hook
    server.shutdown()
    server.server_close()
