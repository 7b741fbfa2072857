"""Amounts in several currencies: rates of the day, and signs in the cells."""

import pandas as pd
import pytest
from tests.conftest import CLIENTS, Bank, problems, spent

import nextbest


def test_foreign_money_is_converted_at_the_rate_of_its_day(bank: Bank):
    bank.add("transactions.csv", "1,2025-06-15,Отели,100,EUR", "1,2025-08-15,Отели,100,EUR")
    assert spent(bank.decide(), "spend[Отели]") == 100 * 582 + 100 * 627


def test_rows_before_the_first_rate_are_reported(bank: Bank):
    bank.add("transactions.csv", "1,2025-05-20,Отели,100,EUR")
    bank.add("transfers.csv", "1,2025-06-05,p2p_out,out,100,KZT")
    run = nextbest.decide(bank.write(), as_of="2025-06-30", out=bank.folder / "out")
    found = {p["problem"] for p in run.record["problems"]}
    assert "rate_assumed" in found


def test_the_sign_of_an_amount_says_its_currency_where_nothing_else_does(bank: Bank):
    bank.tables["transactions.csv"] = "client_code,date,category,amount\n"
    written = {
        "$10": 10 * 539,
        "10 usd": 10 * 539,
        "US$ 10": 10 * 539,
        "2 490,50 тг.": 2490.5,
        "10тенге": 10,
        "100 ₸": 100,
        "-€5": -5 * 627,
    }
    bank.add("transactions.csv", *(f'1,2025-08-10,Такси,"{amount}"' for amount in written))
    run = bank.decide()
    assert problems(run) == {("transactions", "refund", None): (1, True)}
    assert spent(run) == sum(written.values())


def test_a_sign_that_is_not_the_currency_written_beside_it_makes_the_currency_unknown(bank: Bank):
    bank.add("transactions.csv", "1,2025-08-10,Такси,$100,KZT", "1,2025-08-10,Такси,₸ 100,KZT", "1,2025-08-10,Такси,€100,")
    run = bank.decide()
    assert problems(run) == {("transactions", "unknown", "currency"): (1, True)}
    assert spent(run) == 2500 + 100 + 100 * 627
    assert spent(run, "visits[Такси]") == 4


def test_a_sign_may_stand_for_the_name_of_a_currency(bank: Bank):
    bank.add("transactions.csv", "1,2025-08-10,Такси,100,₸", "1,2025-08-10,Такси,$10,us$", "1,2025-08-10,Такси,10,£")
    run = bank.decide()
    assert problems(run) == {("transactions", "unknown", "currency"): (1, True)}
    assert spent(run) == 2500 + 100 + 10 * 539


def test_a_sign_that_the_playbook_does_not_have_is_of_an_unknown_currency(bank: Bank):
    bank.add("transactions.csv", "1,2025-08-10,Такси,£100,", "1,2025-08-10,Такси,100 £,KZT", "1,2025-08-10,Такси,-₴5,UAH")
    run = bank.decide()
    assert problems(run) == {("transactions", "unknown", "currency"): (3, True)}
    assert spent(run) == 2500 and spent(run, "visits[Такси]") == 3


@pytest.mark.parametrize("amount", ["£5€", "$5€", "1$50", "5 тг.50", "$", "тг 5 тг", "5 kz", "100KZT200"])
def test_what_is_no_number_with_one_known_sign_is_no_amount(bank: Bank, amount):
    bank.add("transactions.csv", f"1,2025-08-10,Такси,{amount},")
    run = bank.decide()
    assert problems(run)[("transactions", "bad_amount", None)] == (1, False)
    assert spent(run) == 2500


@pytest.mark.parametrize("amount", ["$1,234", "1.234 ₸"])
def test_a_sign_does_not_make_an_ambiguous_amount_plain(bank: Bank, amount):
    bank.add("transactions.csv", f'1,2025-08-10,Такси,"{amount}",')
    assert problems(bank.decide()) == {("transactions", "ambiguous_amount", None): (1, False)}


def test_a_currency_of_a_customer_is_a_column_as_any_other(bank: Bank, tmp_path):
    mine = nextbest.copy("bank-kz", tmp_path / "mine") / "playbook.yaml"
    mine.write_text(mine.read_text().replace("      age: {", "      currency: {type: text}\n      amount: {type: money}\n      age: {"))
    bank.tables["clients.csv"] = CLIENTS.replace("KZT\n", "KZT,currency,amount\n").replace("150000", "150000,francs,5 ₸")
    assert problems(bank.decide(playbook=mine.parent)) == {}


def test_a_balance_has_the_sign_of_the_playbooks_own_currency_alone(bank: Bank):
    bank.tables["clients.csv"] = CLIENTS.replace("150000", "150 000 ₸")
    assert problems(bank.decide()) == {}
    bank.tables["clients.csv"] = CLIENTS.replace("150000", "$150000")
    assert problems(bank.decide()) == {("clients", "unreadable", "balance"): (1, True)}


def test_text_in_parquet_has_signs_too_and_numbers_have_none(bank: Bank):
    for amounts, worth in ((["$10", "20"], 10 * 539 + 20), ([10.0, 20.0], 30)):
        table = pd.DataFrame({"client_code": 1, "date": "2025-08-10", "category": "Такси", "amount": amounts})
        bank.tables["transactions.csv"] = None
        table.to_parquet(bank.write() / "transactions.parquet")
        run = nextbest.decide(bank.folder / "data", as_of="2025-08-31", out=bank.folder / "out")
        assert problems(run) == {} and spent(run) == worth


def test_a_row_in_an_unknown_currency_may_be_of_any(bank: Bank):
    bank.add("transactions.csv", "1,2025-07-03,Отели,90,EUR", "1,2025-07-04,Отели,300,GBP")
    partial = pd.read_parquet(bank.decide().folder / "features.parquet")["summed in part"][0]
    assert {"spend_in[EUR]", "spend_in[USD]", "spend_in[RUB]"} <= set(partial)


def test_a_refund_in_an_unknown_currency_is_no_purchase(bank: Bank):
    bank.add("transactions.csv", "1,2025-07-03,Отели,90,EUR", "1,2025-07-04,Отели,300,GBP", "1,2025-07-05,Отели,-300,GBP")
    row = pd.read_parquet(bank.decide().folder / "features.parquet").iloc[0]
    assert row["visits[Отели]"] == 2 and "spend[Отели]" in row["summed in part"]


def test_a_sum_that_lacks_all_its_rows_is_explained(bank: Bank):
    bank.add("transactions.csv", "1,2025-07-03,Отели,300,GBP", "1,2025-07-04,Отели,300,GBP")
    said = nextbest.explain(bank.decide().folder, 1)
    [hotels] = [cell for measure in said.activity if measure.measure == "spend" for cell in measure.cells if cell.cell == "Отели"]
    assert (hotels.count, hotels.sum, hotels.partial) == (2, 0, True)


def test_no_text_states_a_sum_that_lacks_rows(bank: Bank):
    bank.tables["clients.csv"] = CLIENTS.replace("150000", "5000")
    bank.add("transactions.csv", "1,2025-07-03 10:00:00,Отели,90000,KZT", "1,2025-07-05 10:00:00,Путешествия,60000,KZT")
    assert "вы потратили 150\u00a0000\u00a0₸ на отели и путешествия" in bank.decide().recommendations.push_notification[0]
    bank.add("transactions.csv", "1,2025-07-04 10:00:00,Отели,300,GBP")
    run = bank.decide()
    text = run.recommendations.push_notification[0]
    assert "у вас 3\u00a0оплаты за отели и путешествия." in text and "₸" not in text  # nor a benefit made of it
    partial = pd.read_parquet(run.folder / "features.parquet")["summed in part"][0]
    assert "spend[Отели]" in partial and "spend_back[2]" in partial
    assert "spend[Путешествия]" not in partial and "spend_back[1]" not in partial
    travel = next(offer for offer in nextbest.explain(run.folder, 1).offers if offer.offer == "travel-card")
    behind = {item.cell: item for term in travel.terms for item in term.behind}
    assert (behind["Отели"].count, behind["Отели"].sum, behind["Отели"].partial) == (2, 90000.0, True)
    assert not behind["Путешествия"].partial
