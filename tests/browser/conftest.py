"""A server with the console in processes of its own, and Debian's chromium to look at it."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("nicegui", reason="the console's extra is not installed: pip install 'nextbest[console]'")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from tests.web.conftest import Server  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="session")
def browser() -> Iterator[object]:
    if CHROMIUM is None:
        pytest.skip("there is no chromium (Debian: apt-get install chromium)")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Window:
    """One page of a browser. It notes what the page asks of other machines, and what goes wrong in it."""

    def __init__(self, browser, server: Server, language="en-US", scheme="light", width=1280):
        self.server = server
        self.context = browser.new_context(
            viewport={"width": width, "height": 900}, locale=language, color_scheme=scheme, accept_downloads=True, reduced_motion="reduce"
        )
        self.page = self.context.new_page()
        self.page.set_default_timeout(30_000)
        self.outside: list[str] = []
        self.errors: list[str] = []
        own = (server.url, server.url.replace("http", "ws"), "data:", "blob:")
        self.page.on("request", lambda request: None if request.url.startswith(own) else self.outside.append(request.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)

    def open(self, path: str = "/") -> "Window":
        self.page.goto(f"{self.server.url}/console{path}")
        self.page.locator("h1").wait_for()
        self.page.wait_for_function("window.socket === undefined || window.socket.connected")
        return self

    def sees(self, text: str) -> None:
        self.page.get_by_text(text).first.wait_for()

    def rows(self, table: int = 0) -> list[list[str]]:
        return self.page.evaluate(
            "n => [...document.querySelectorAll('table')[n].tBodies[0].rows].map(r => [...r.cells].map(c => c.innerText.trim()))", table
        )

    def decided(self) -> "Window":
        """The demo bank, decided for."""
        self.open()
        self.page.get_by_role("button", name="Try the demo bank").click()
        self.sees("The demo bank is in")
        self.page.get_by_role("button", name="Decide").click()
        self.page.get_by_role("cell", name="done").first.wait_for(timeout=120_000)
        return self


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[Callable[..., Server]]:
    """Starts servers that end with the module's tests."""
    servers: list[Server] = []

    def start(*playbooks: str, **options) -> Server:
        server = Server(tmp_path_factory.mktemp("console"), *(playbooks or ("bank-kz", "private-bank")), **options)
        servers.append(server)
        return server.start()

    yield start
    for server in servers:
        server.stop()


@pytest.fixture(scope="module")
def demo(served, browser) -> Server:
    """A server on which the demo bank was decided for."""
    server = served()
    window = Window(browser, server).decided()
    window.context.close()
    return server


@pytest.fixture
def look(browser, demo) -> Iterator[Callable[..., Window]]:
    """Opens windows on the demo; at the end none of them may have asked another machine or met an error."""
    windows: list[Window] = []

    def opened(path: str = "/", **options) -> Window:
        windows.append(Window(browser, demo, **options))
        return windows[-1].open(path)

    yield opened
    for window in windows:
        window.context.close()
    assert [(window.outside, window.errors) for window in windows] == [([], [])] * len(windows)


def write(folder: Path, **files: str) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_text(content, encoding="utf-8")
    return [str(folder / name) for name in files]
