"""Start: files in, what was recognised, a run with its progress, what is odd."""

import pytest
from tests.browser.conftest import Window, write

HOSTILE = "<img src=x onerror=window.hacked=1>"
CLIENTS = (
    "client_code,name,status,age,city,avg_monthly_balance_KZT\n"
    f"1,{HOSTILE},Студент,30,{{{{7*7}}}},500000\n2,=1+1,Студент,abc,{'x' * 20000},100\n"
)
TRANSACTIONS = "client_code,date,category,amount,currency\n1,2025-08-10,Такси,2500,KZT\n1,2025-08-11,Отели,oops,KZT\n"
TRANSFERS = "client_code,date,type,direction,amount,currency\n1,2025-08-05,salary_in,in,400000,KZT\n"


def test_the_demo_bank_in_one_click(look, demo):
    """The module's server was filled by that click; what came of it stands there, after a reload too."""
    window = look()
    for text in ("transactions.csv", "client_code, name, status, age, city, balance", "No odd rows."):
        window.sees(text)
    window.page.reload()
    window.sees("transactions.csv")
    window.page.locator("button:enabled", has_text="Decide").wait_for()  # when the day is known
    assert window.page.get_by_label("As of").input_value() == "2025-08-31"
    assert window.rows(1)[0][2:] == ["done", "60"]


@pytest.fixture(scope="module")
def empty(served):
    return served()


def test_files_are_recognised_by_their_columns_and_shown_harmlessly(empty, browser, tmp_path):
    window = Window(browser, empty).open()
    files = write(
        tmp_path / "in", **{"выгрузка 1.csv": TRANSACTIONS, "<script>x.csv": CLIENTS, "transfers.csv": TRANSFERS, "odd.csv": "a,b\n1,2\n"}
    )
    window.page.locator("input[type=file]").set_input_files(files)
    window.sees("its columns fit none of the tables")
    window.sees("_script_x.csv: taken as clients")
    assert [row[0] for row in window.rows()] == ["transactions", "transfers", "clients"]
    assert window.page.get_by_label("As of").input_value() == "2025-08-11"
    window.page.get_by_role("button", name="Decide").click()
    window.page.get_by_role("cell", name="done").first.wait_for(timeout=60_000)
    window.sees("unreadable")
    odd = window.rows(2)
    assert {(row[0], row[2]) for row in odd} == {("clients", "1"), ("transactions", "1")}
    assert any("oops" in row[4] for row in odd) and all(len(row[4]) <= 300 for row in odd)
    with window.page.expect_download() as got:
        window.page.get_by_role("link", name="Download the odd rows").click()
    assert "oops" in got.value.path().read_text()

    window.open("/p/bank-kz/results")
    window.open("/p/bank-kz/clients/1")
    window.sees(HOSTILE)
    window.sees("{{7*7}}")
    window.open("/p/bank-kz/clients/%3Cscript%3Ewindow.hacked=1%3C%2Fscript%3E")
    window.sees("There is no such customer")
    assert window.page.evaluate("window.hacked") is None
    assert (window.outside, window.errors) == ([], [])
    window.context.close()


def test_a_bad_run_says_why_and_a_running_one_can_be_cancelled(empty, browser):
    window = Window(browser, empty).open("/p/private-bank")
    assert window.page.get_by_role("button", name="Try the demo bank").count() == 0
    window.page.get_by_role("button", name="Decide").click()
    window.sees("no file for 'customers'")
    window.context.close()


def test_a_table_can_be_removed(empty, browser, tmp_path):
    window = Window(browser, empty).open("/p/private-bank")
    [path] = write(tmp_path / "in", **{"customers.csv": "customer_id,age,income,credit_score,avg_account_balance\nC1,26,55000,700,4000\n"})
    window.page.locator("input[type=file]").set_input_files(path)
    window.sees("taken as customers")
    window.page.get_by_role("button", name="Remove the files of this table: customers").click()
    window.sees("no file yet")
    window.context.close()
