"""Pictures of the console's pages on the demo bank, light and dark, wide and narrow. Usage: bench/pictures.py FOLDER"""

import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from playwright.sync_api import sync_playwright
from tests.browser.conftest import CHROMIUM, Window
from tests.web.conftest import Server

PAGES = {"start": "/p/bank-kz", "results": "/p/bank-kz/results", "client": "/p/bank-kz/clients/1"}


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp())
    with Server(scratch, "bank-kz") as server, sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        Window(browser, server).decided()
        for scheme in ("light", "dark"):
            for width in (1280, 390):
                for name, path in PAGES.items():
                    window = Window(browser, server, scheme=scheme, width=width).open(path)
                    window.page.wait_for_timeout(2000)
                    window.page.screenshot(path=folder / f"{name}-{scheme}-{width}.png", full_page=True)
                    window.context.close()
        browser.close()
    shutil.rmtree(scratch)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
