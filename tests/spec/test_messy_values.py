"""Real rows are messy. What is odd is kept and reported, what cannot be used is counted and lands in rejects."""

import pandas as pd
import pytest
from tests.conftest import CLIENTS, TRANSACTIONS, Bank, problems, spent

import nextbest
from nextbest.errors import DataError, PlaybookError


def test_rows_that_cannot_be_used_are_left_out_each_with_its_reason(bank: Bank):
    bank.add(
        "transactions.csv",
        ",2025-08-10,Такси,100,KZT",
        "1,yesterday,Такси,100,KZT",
        "1,2025-08-11,Такси,abc,KZT",
        '1,2025-08-11,Такси,"1,234",KZT',
        "1,2025-08-11,Такси,1.234,KZT",
        "1.5,2025-08-11,Такси,100,KZT",
        "1,2025-08-11,Такси,0,KZT",
        "1,2025-09-01,Такси,100,KZT",
        "1,2025-05-31,Такси,100,KZT",
        "99,2025-08-11,Такси,100,KZT",
        "1,2025-08-10 12:00:00,Такси,2500.00,KZT",
        "1,2025-08-10",
        "1,2025-08-11,Такси,100,KZT,more,cells",
    )
    run = bank.decide()
    left_out = {reason: rows for (table, reason, _), (rows, kept) in problems(run).items() if not kept}
    assert left_out == {
        "no_id": 1, "bad_date": 1, "bad_amount": 1, "ambiguous_amount": 2, "zero_amount": 1, "after_as_of": 1,
        "before_window": 1, "unknown_customer": 2, "duplicate_row": 1, "malformed_row": 2,
    }  # fmt: skip
    rejects = run.rejects
    assert sorted(rejects.problem.value_counts().to_dict().items()) == sorted(left_out.items())
    assert set(rejects.source_file) == {"transactions.csv"} and not rejects.kept.any()
    assert "yesterday" in rejects[rejects.problem == "bad_date"].row.iloc[0]
    assert spent(run) == 2500.0


def test_a_malformed_row_is_told_once_and_of_its_own_table(bank: Bank):
    bank.add("transactions.csv", "1,2025-08-10", "1,yesterday,Такси,100,KZT")
    bank.add("transfers.csv", "1,yesterday,salary_in,in,100,KZT")
    run = bank.decide()
    told = {("transactions", "malformed_row"), ("transactions", "bad_date"), ("transfers", "bad_date")}
    assert problems(run) == {(table, problem, None): (1, False) for table, problem in told}
    assert sorted(zip(run.rejects.source, run.rejects.problem, strict=True)) == sorted(told)


def test_a_playbook_says_that_months_come_first_and_what_stands_between_thousands(bank: Bank, tmp_path):
    mine = nextbest.copy("bank-kz", tmp_path / "mine") / "playbook.yaml"
    said = mine.read_text().replace("date: {type: date", "date: {type: date, month_first: true")
    mine.write_text(said.replace("amount: {type: money", 'amount: {type: money, thousands: ","'))
    lines = ("08/05/2025,Такси", "8/31/2025 10:00 AM,Такси", "2025-08-10,Такси", "31/08/2025,Такси")
    bank.tables["transactions.csv"] = TRANSACTIONS.splitlines()[0] + "\n"
    bank.add(
        "transactions.csv", *(f'1,{line},"1,234",KZT' for line in lines), "1,08/06/2025,Такси,1.234,KZT", '1,08/06/2025,Такси,"1,23",KZT'
    )
    run = bank.decide(playbook=mine.parent)
    assert problems(run) == {("transactions", "bad_date", None): (1, False), ("transactions", "bad_amount", None): (1, False)}
    assert spent(run) == pytest.approx(3 * 1234 + 1.23)


def test_what_is_said_of_a_column_must_fit_its_type(tmp_path):
    mine = nextbest.copy("bank-kz", tmp_path / "mine") / "playbook.yaml"
    said = mine.read_text().replace("amount: {type: money", "amount: {type: money, month_first: true")
    mine.write_text(said.replace("date: {type: date", 'date: {type: date, thousands: ","'))
    with pytest.raises(PlaybookError) as told:
        nextbest.check(mine.parent)
    assert "month_first" in str(told.value) and "thousands" in str(told.value)


@pytest.mark.parametrize(
    "thousands, written, read",
    [
        (None, "34", 34), (None, "34,000", None), (",", "34,000", 34000), (",", "12,5", None), (",", "1.5", 1), (",", "1.234,50", None),
        (".", "34.000", 34000), (".", "34.0", None), (".", "1234.56", None), (".", "1,5", 1), (".", "1,234.50", None),
    ],
)  # fmt: skip
def test_what_stands_between_thousands_is_no_decimal_mark(bank: Bank, tmp_path, thousands, written, read):
    mine = nextbest.copy("bank-kz", tmp_path / "mine") / "playbook.yaml"
    said = f', thousands: "{thousands}"' if thousands else ""
    mine.write_text(mine.read_text().replace("age: {type: integer, names: [возраст], min: 0, max: 120", f"age: {{type: integer{said}"))
    bank.tables["clients.csv"] = CLIENTS.replace(",34,", f',"{written}",')
    run = bank.decide(playbook=mine.parent)
    found = run.features.age.iloc[0]
    assert (None if pd.isna(found) else found) == read
    assert (("clients", "unreadable", "age") in problems(run)) == (read is None)


def test_a_whole_number_with_thousands_is_not_read_as_a_few(bank: Bank):
    bank.tables["clients.csv"] = CLIENTS.replace(",34,", ',"34,000",')
    run = bank.decide()
    assert problems(run) == {("clients", "unreadable", "age"): (1, True)}


def test_odd_values_are_kept_and_reported(bank: Bank):
    bank.add("transactions.csv", "1,2025-08-11,Космос,100,KZT", "1,2025-08-12,Такси,100,XYZ", "1,2025-08-13,Такси,-500,KZT")
    bank.add("transfers.csv", "1,2025-08-11,teleport,out,100,KZT", "1,2025-08-12,p2p_out,out,-300,KZT", "1,2025-08-13,p2p_out,,300,KZT")
    run = bank.decide()
    assert problems(run) == {
        ("transactions", "unknown", "category"): (1, True),
        ("transactions", "unknown", "currency"): (1, True),
        ("transactions", "refund", None): (1, True),
        ("transfers", "unknown", "type"): (1, True),
        ("transfers", "sign_repeats_direction", None): (1, True),
    }
    assert spent(run) == 2000.0  # the refund is taken off
    assert spent(run, "visits[Такси]") == 2.0  # and is no visit; a payment in an unknown currency is
    assert spent(run, "moved[p2p_out]") == 600.0
    assert spent(run, "flow[out]") == 700.0
    assert run.rejects.kept.all()


def test_a_blank_cell_in_a_column_that_is_needed_is_told(bank: Bank):
    bank.tables["clients.csv"] = CLIENTS.replace(",150000", ",")
    bank.add("transactions.csv", "1,2025-08-11,,100,KZT", "1,2025-08-11,Такси,,KZT", "1,2025-08-12,Такси,100,")
    bank.add("transfers.csv", "1,2025-08-11,,out,50,KZT")
    assert problems(bank.decide()) == {
        ("clients", "blank", "balance"): (1, True),
        ("transactions", "blank", "category"): (1, True),
        ("transactions", "bad_amount", None): (1, False),
        ("transfers", "blank", "type"): (1, True),
    }


def test_a_direction_that_contradicts_the_type_is_told(bank: Bank):
    bank.add("transfers.csv", "1,2025-08-11,p2p_out,in,-50,KZT", "1,2025-08-12,salary_in,out,70,KZT", "1,2025-08-13,salary_in,in,100,KZT")
    run = bank.decide()
    assert problems(run) == {("transfers", "direction_against_type", None): (2, True)}
    assert [spent(run, name) for name in ("moved[p2p_out]", "flow[out]")] == [50.0, 70.0]
    assert spent(run, "flow[in]") == 400_000 + 150


def test_of_a_direction_that_is_not_known_the_types_own_is_taken_and_that_is_told(bank: Bank):
    bank.add("transfers.csv", "1,2025-08-11,p2p_out,приход,50,KZT", "1,2025-08-12,p2p_out,,20,KZT", "1,2025-08-13,teleport,вверх,70,KZT")
    run = bank.decide()
    assert problems(run) == {("transfers", "unknown", "direction"): (1, True), ("transfers", "no_direction", None): (1, False)}
    assert spent(run, "flow[out]") == 70.0


def test_a_customer_twice_counts_once_and_the_first_row_holds(bank: Bank):
    bank.add("clients.csv", "1,Другая,Студент,20,Астана,1", "2,Дана,Студент,abc,Астана,30000", "3,Мария,Пират,200,Астана,30000")
    run = bank.decide()
    assert problems(run) == {
        ("clients", "duplicate_customer", None): (1, False),
        ("clients", "unknown", "status"): (1, True),
        ("clients", "unreadable", "age"): (1, True),
    }
    features = pd.read_parquet(run.folder / "features.parquet").set_index("client_code")
    assert features.loc[1, "name"] == "Айгерим"
    assert features.loc[[2, 3], "age"].isna().all()  # nobody is 200 years old
    assert run.recommendations.client_code.tolist() == [1, 2, 3]


def test_a_client_without_activity_still_gets_a_decision(bank: Bank):
    bank.add("clients.csv", "2,Дана,Зарплатный клиент,40,Астана,900000")
    run = bank.decide()
    second = run.recommendations.set_index("client_code").loc[2]
    assert second["product"].startswith("Депозит")
    assert second.push_notification.startswith("Дана, ")


def test_codes_that_are_not_numbers_stay_as_they_are(bank: Bank):
    bank.tables = {name: content.replace("\n1,", "\nA-07,") for name, content in bank.tables.items()}
    run = bank.decide()
    assert run.recommendations.client_code.tolist() == ["A-07"]
    assert spent(run) == 2500.0


@pytest.mark.parametrize("name", ["О'Коннор", '"Дана ""Д"" Б"', "<script>alert(1)</script>", "=cmd()", "", "Х" * 500, "ДАНА"])
def test_hostile_and_odd_names_do_no_harm(bank: Bank, name):
    bank.tables["clients.csv"] = CLIENTS.replace("Айгерим", name)
    run = bank.decide()
    text = run.recommendations.push_notification.iloc[0]
    assert 180 <= len(text) <= 220
    assert "<" not in text and "=" not in text and "ДАНА" not in text
    assert "<script>alert" not in (run.folder / "report.html").read_text()


def test_equal_fares_on_one_day_are_no_mistake(bank: Bank):
    bank.tables["transactions.csv"] = "client_code,date,category,amount,currency\n" + "1,2025-08-10,Такси,500,KZT\n" * 3
    assert spent(bank.decide()) == 1500.0


def test_a_consent_that_cannot_be_read_is_no_consent(bank: Bank):
    header = CLIENTS.splitlines()[0] + ",consent_marketing,consent_profiling\n"
    people = ["1,А,Студент,20,Астана,900000,,", "2,Б,Студент,20,Астана,900000,отозвано,", "3,В,Студент,20,Астана,900000,да,возражаю"]
    bank.tables["clients.csv"] = header + "\n".join(people) + "\n"
    run = bank.decide()
    texts = run.recommendations.set_index("client_code").push_notification
    assert (texts.loc[1] != "", texts.loc[2] != "", texts.loc[3] != "") == (True, False, False)
    assert set(run.decisions.client_code) == {1, 2}


def test_a_balance_that_cannot_be_read_is_not_zero(bank: Bank):
    bank.tables["clients.csv"] = CLIENTS.replace("150000", "abc")
    bank.add("transfers.csv", *(f"1,2025-08-{day:02} 10:00:00,loan_payment_out,out,90000,KZT" for day in range(1, 20)))
    run = bank.decide()
    loan = run.decisions.set_index("offer").loc["cash-loan"]
    assert loan.verdict == "ineligible"


def test_codes_keep_their_zeros(bank: Bank):
    bank.tables = {name: str(content).replace("\n1,", "\n007,") for name, content in bank.tables.items()}
    run = bank.decide()
    assert run.recommendations.client_code.tolist() == ["007"]
    assert nextbest.explain(run.folder, "007").customer == "007"


def test_a_name_in_capitals_is_written_as_a_name(bank: Bank):
    bank.tables["clients.csv"] = CLIENTS.replace("Айгерим", "АННА-МАРИЯ ИВАНОВА")
    assert bank.decide().recommendations.push_notification.iloc[0].startswith("Анна-Мария Иванова, ")


@pytest.mark.parametrize("name", ["nan", "Мечта", "Лол", "Срочно"])
def test_a_name_that_the_rules_dislike_costs_the_greeting_and_not_the_message(bank: Bank, name):
    bank.tables["clients.csv"] = CLIENTS.replace("Айгерим", name)
    text = bank.decide().recommendations.push_notification.iloc[0]
    assert text and (name not in text or name == "Мечта")


def test_text_that_parquet_calls_binary_is_text_and_a_flag_is_no_amount(bank: Bank):
    data = bank.write()
    table = pd.read_csv(data / "transactions.csv")
    (data / "transactions.csv").unlink()
    bank.tables["transactions.csv"] = None
    binary = table.assign(category=[value.encode() for value in table.category], photo=[b"\xff\xd8"] * len(table))
    binary.to_parquet(data / "transactions.parquet")
    run = bank.decide()
    assert spent(run) == 2500.0 and not run.record["problems"]
    table.assign(amount=True).to_parquet(data / "transactions.parquet")
    with pytest.raises(DataError, match="bad_amount"):
        bank.decide()


@pytest.mark.parametrize(("values", "yes"), [([1, 0, 2, -1, 9], [1]), ([1.0, 0.0, 0.5, None, 9.0], [1, 4])])
def test_only_one_and_nought_are_flags_in_parquet_too(bank: Bank, values, yes):
    """A blank cell gets the playbook's default, which is yes in this bank."""
    data = bank.write()
    clients = pd.concat([pd.read_csv(data / "clients.csv")] * len(values)).assign(client_code=range(1, 6), consent_marketing=values)
    (data / "clients.csv").unlink()
    bank.tables["clients.csv"] = None
    clients.to_parquet(data / "clients.parquet")
    messages = bank.decide().messages
    assert messages[messages.message.notna()].client_code.tolist() == yes


@pytest.mark.parametrize("kind", ["int64", "float64", "Int32"])
def test_days_that_parquet_holds_as_whole_numbers_are_days(bank: Bank, kind):
    data = bank.write()
    table = pd.read_csv(data / "transactions.csv")
    (data / "transactions.csv").unlink()
    bank.tables["transactions.csv"] = None
    days = pd.to_datetime(table.date).dt.strftime("%Y%m%d").astype("int64").astype(kind)
    table.assign(date=days).to_parquet(data / "transactions.parquet")
    run = bank.decide()
    assert spent(run) == 2500.0 and not run.record["problems"]
    for odd in (days * 1000 + 7, days // 10, days.astype("float64") + 0.6):
        table.assign(date=odd).to_parquet(data / "transactions.parquet")
        with pytest.raises(DataError, match="bad_date"):
            bank.decide()


def test_no_text_speaks_of_nothing_or_less(bank: Bank):
    bank.add(
        "transactions.csv", *(f"1,2025-08-{day},Путешествия,1000,GBP" for day in range(10, 15)), "1,2025-08-20 10:00:00,Отели,-87000,KZT"
    )
    text = bank.decide().recommendations.push_notification.iloc[0]
    assert " 0\u00a0₸" not in text and "-" not in text


def test_an_overdraft_is_no_money_to_put_by(bank: Bank):
    bank.tables["clients.csv"] = CLIENTS.replace("150000", "-1549000")
    decisions = bank.decide().decisions.set_index("offer")
    assert (decisions.benefit >= 0).all() and decisions.score.between(0, 1).all()
    assert decisions.loc["savings-deposit"].verdict == "ineligible"


def test_an_absurd_amount_does_not_stop_the_run(bank: Bank):
    bank.add("transactions.csv", "1,2025-08-11 10:00:00,Отели,9999999999999999.99,EUR")
    assert len(bank.decide().recommendations) == 1
