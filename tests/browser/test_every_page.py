"""What holds for every page: nothing leaves the machine, everyone can read it, keys open it."""

import re
import time
from argparse import Namespace
from functools import partial
from pathlib import Path

import pytest
from tests.browser.conftest import Window

import nextbest
from nextbest.report.segments import COLUMNS
from nextbest.services.keys import create_key, list_keys, revoke_key
from nextbest.web.console.start import _stage
from nextbest.words import LANGUAGES, _words, say

PAGES = ("/p/bank-kz", "/p/bank-kz/results", "/p/bank-kz/client", "/p/bank-kz/clients/1")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", PAGES)
def test_accessible(look, path, scheme):
    """axe-core finds nothing against WCAG 2.1 AA."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    window = look(path, scheme=scheme)
    window.page.wait_for_timeout(1500)
    found = axe.run(window.page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}).response["violations"]
    assert [(item["id"], [node["html"][:150] for node in item["nodes"][:3]]) for item in found] == []


@pytest.mark.parametrize("path", PAGES)
def test_nothing_runs_off_a_narrow_screen(look, path):
    window = look(path, width=390)
    window.page.wait_for_timeout(1000)
    assert window.page.evaluate("document.documentElement.scrollWidth") <= 390


def test_dark_is_dark_and_stays(look):
    window = look()
    window.page.get_by_role("link", name="Dark").click()
    window.page.wait_for_function("document.body.classList.contains('body--dark')")
    window.open("/p/bank-kz/results")
    window.page.wait_for_function("document.body.classList.contains('body--dark')")


def test_every_act_is_reached_by_keyboard(look):
    window = look()
    window.page.locator("button:enabled", has_text="Decide").wait_for()  # when the day is known
    names = set()
    for _ in range(40):
        window.page.keyboard.press("Tab")
        names.add(window.page.evaluate("(document.activeElement.innerText || document.activeElement.ariaLabel || '').trim()"))
    assert {"Results", "Customer", "Try the demo bank", "Decide", "Remove the files of this table: clients"} <= names


def test_every_language_has_every_word_with_the_same_places():
    of = {language: {key: sorted(re.findall(r"\{(\w+)\}", words)) for key, words in _words(language).items()} for language in LANGUAGES}
    assert len(of) == 2 and of["en"] == of["ru"]


def test_every_word_is_said_somewhere():
    """A key stands in the code as it is, or its family is asked for by an f-string that ends in one of its members."""
    code = "".join(path.read_text() for path in (Path(nextbest.__file__).parent).rglob("*.py"))
    families = set(re.findall(r"""say\((?:[a-z_.]+, )?f["']([a-z_.]+\.)\{""", code))
    known = {
        key
        for key in _words("en")
        if any(quoted in code for quoted in (f'"{key}"', f"'{key}'")) or any(key.startswith(family) for family in families)
    }
    page = (Path(nextbest.__file__).parent / "report" / "segments.html.j2").read_text()
    asked = {"everyone", "at_risk", *COLUMNS, *re.findall(r"say\(\"([a-z_.]+)\"", page)}
    kinds = ("segments.stage.", "segments.withheld.")
    known |= {key for key in _words("en") if key.removeprefix("segments.") in asked or key.startswith(kinds)}
    assert set(_words("en")) - known == set()


def test_every_stage_of_a_run_has_a_word(tmp_path, bank):
    stages = []
    bank.decide(workspace=tmp_path / "workspace", progress=lambda stage, place, stages_: stages.append(stage))
    assert len(stages) == 10
    for language in LANGUAGES:
        assert all(_stage(Namespace(say=partial(say, language)), stage) for stage in stages)


def answers(server, key, status):
    """Wait until the server knows how it stands with a key."""
    until = time.monotonic() + 15
    while server.ask.get("/v1/playbooks", headers={"X-API-Key": key}).status_code != status:
        assert time.monotonic() < until
        time.sleep(0.2)


def test_keys_open_the_console_and_close_it(served, browser):
    server = served(keys=True)
    place = str(server.folder / "workspace")
    viewer, ended = create_key("anna", "viewer", workspace=place), create_key("boris", "operator", workspace=place)
    answers(server, viewer, 200)
    answers(server, ended, 200)
    window = Window(browser, server).open("/p/bank-kz/results?sure=50")
    window.sees("Sign in")
    window.page.get_by_label("API key").fill("nb_wrong")
    window.page.keyboard.press("Enter")
    window.sees("This key is not known")
    window.page.get_by_label("API key").fill(viewer)
    window.page.keyboard.press("Enter")
    window.sees("Who gets what")  # where it was going
    window.open("/p/bank-kz")
    window.sees("From tables to offers")
    assert window.page.get_by_role("button").count() == 0  # a viewer looks
    assert all(cookie["httpOnly"] for cookie in window.context.cookies() if cookie["name"] == "nextbest_key")
    assert viewer not in window.page.evaluate("document.cookie + document.documentElement.innerHTML")
    window.page.get_by_role("link", name="Sign out").click()
    window.page.get_by_label("API key").fill(ended)
    window.page.keyboard.press("Enter")
    window.page.locator("button:enabled", has_text="Decide").wait_for()
    revoke_key(next(key.key_id for key in list_keys(workspace=place) if key.name == "boris"), workspace=place)
    answers(server, ended, 401)
    window.page.get_by_role("button", name="Decide").click()
    window.sees("Your key does not allow this.")
    window.open()
    window.sees("Sign in")
    window.context.close()
