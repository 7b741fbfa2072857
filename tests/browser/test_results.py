"""Results: filtered, sorted and paged on the server; files hold exactly what is filtered."""

import csv
from io import StringIO


def test_pages_and_order(look):
    window = look("/p/bank-kz/results")
    window.sees("Customers: 60 of 60")
    assert [row[0] for row in window.rows()] == [str(n) for n in range(1, 26)]
    window.page.get_by_role("button", name="Next page").click()
    window.sees("26–50 of 60")
    assert window.rows()[0][0] == "26"
    window.page.get_by_role("combobox", name="Sort by").click()
    window.page.get_by_role("option", name="Benefit").click()
    window.page.get_by_role("checkbox", name="Largest first").click()
    window.page.wait_for_function(
        "(() => { const of = [...document.querySelectorAll('table')[0].tBodies[0].rows].map(r => +r.cells[2].innerText.replace(/,/g, ''));"
        " return of[0] > of[24] && of.every((value, place) => !place || value <= of[place - 1]); })()"
    )
    window.sees("1–25 of 60")


def test_a_file_holds_exactly_what_is_filtered(look):
    window = look("/p/bank-kz/results")
    window.page.get_by_role("combobox", name="Offer").click()
    window.page.get_by_role("option", name="Gold bars").click()
    window.page.keyboard.press("Escape")
    window.sees("Customers: 9 of 60")
    shown = [row[0] for row in window.rows()]
    assert {row[1] for row in window.rows()} == {"Gold bars"}
    with window.page.expect_download() as got:
        window.page.get_by_role("link", name="CSV").click()
    assert [row["client_code"] for row in csv.DictReader(StringIO(got.value.path().read_text()))] == shown
    window.page.reload()  # the filter is in the address
    window.sees("Customers: 9 of 60")
    window.page.get_by_role("button", name="Clear").click()
    window.sees("Customers: 60 of 60")


def test_a_code_and_a_confidence(look):
    window = look("/p/bank-kz/results")
    window.page.get_by_label("Customer code").fill("1")
    window.sees("Customers: 11 of 60")
    window.page.get_by_label("Confidence from").fill("90")
    window.page.wait_for_function("!document.querySelector('[role=status]').innerText.includes(' 11 of')")
    assert all(row[0].startswith("1") and int(row[3]) >= 90 for row in window.rows())
    window.page.get_by_label("Customer code").fill("nobody")
    window.sees("Nobody fits the filter.")


def test_charts_follow_the_filter_in_a_browser_that_has_not_yet_drawn_them(look):
    window = look()
    window.page.add_init_script("const at = setTimeout; window.setTimeout = (f, ms, ...rest) => at(f, ms || 1500, ...rest)")
    window.open("/p/bank-kz/results")
    window.page.locator(".nb-chart").first.wait_for()
    assert window.page.locator(".nb-chart svg").count() == 0
    window.page.get_by_label("Customer code").fill("1")
    window.sees("Customers: 11 of 60")

    def drawn(customers: int) -> None:
        texts = "[...document.querySelectorAll('.nb-chart')[0].querySelectorAll('svg text')].map(text => Number(text.textContent))"
        window.page.wait_for_function(f"{texts}.reduce((sum, each) => sum + (each || 0), 0) === {customers}")

    shown = window.page.locator(".nb-chart").first
    drawn(11)
    window.page.get_by_label("Customer code").fill("nobody")
    shown.wait_for(state="hidden")
    window.page.get_by_label("Customer code").fill("")
    drawn(60)
    assert shown.locator("svg").bounding_box()["width"] > 100


def test_a_filter_that_means_nothing_shows_everyone_or_nobody(look):
    look("/p/bank-kz/results?message=%27&sure=1e99&segment=x%22%3B&offers=").sees("Customers: 0 of 60")
    look("/p/bank-kz/results?sure=nan").sees("Customers: 60 of 60")
    look("/p/bank-kz/results?sure=abc&code=%00").sees("Customers: 0 of 60")


def test_from_a_row_to_its_customer(look):
    window = look("/p/bank-kz/results")
    window.page.get_by_role("link", name="7", exact=True).click()
    window.sees("Customer 7")


def test_nothing_decided_yet(look):
    look("/p/private-bank/results").sees("Nothing was decided yet.")
