"""Real files are messy. Each mess works or is refused clearly, is counted, and its rows land in rejects."""

import gzip

import pandas as pd
import pytest
from tests.conftest import CLIENTS, TRANSACTIONS, Bank

import nextbest
from nextbest.errors import DataError, PlaybookError, UsageError


def problems(run):
    return {(p["table"], p["problem"], p["column"]): (p["rows"], p["kept"]) for p in run.record["problems"]}


def spent(run, column="spend[Такси]"):
    return pd.read_parquet(run.folder / "features.parquet")[column].iloc[0]


def test_clean_files_have_no_problems(bank: Bank):
    run = bank.decide()
    assert run.record["problems"] == []
    assert len(run.rejects) == 0
    assert spent(run) == 2500.0


@pytest.mark.parametrize(
    "encode",
    [
        pytest.param(lambda t: t.encode("utf-8-sig"), id="UTF-8 with BOM"),
        pytest.param(lambda t: t.encode("cp1251"), id="cp1251"),
        pytest.param(lambda t: t.encode("utf-16"), id="UTF-16"),
        pytest.param(lambda t: t.replace("\n", "\r\n").encode(), id="Windows line ends"),
        pytest.param(lambda t: t.replace(",", ";").encode(), id="semicolons"),
        pytest.param(lambda t: t.replace(",", "\t").encode(), id="tabs"),
        pytest.param(lambda t: t.rstrip("\n").encode(), id="no end of line at the end"),
        pytest.param(lambda t: t.replace("2025-08-10 12:00:00", "10.08.2025").encode(), id="day first"),
        pytest.param(lambda t: t.replace("2025-08-10 12:00:00", "10.08.2025 12:00").encode(), id="day first with time"),
        pytest.param(lambda t: t.replace("2025-08-10 12:00:00", "10/08/2025").encode(), id="day first with slashes"),
        pytest.param(lambda t: t.replace("2025-08-10 12:00:00", "10.08.25 12:00").encode(), id="two-digit year"),
        pytest.param(lambda t: b"\n\n" + t.encode(), id="blank lines first"),
        pytest.param(lambda t: t.replace(",", ",filename,", 1).replace("1,2025", "1,x,2025").encode(), id="a column named filename"),
        pytest.param(lambda t: t.replace("\n", ",\n").encode(), id="a column without a name"),
        pytest.param(lambda t: t.encode("koi8-r"), id="koi8-r"),
        pytest.param(lambda t: t.replace("2025-08-10 12:00:00", "2025-08-10T12:00:00Z").encode(), id="ISO 8601"),
        pytest.param(lambda t: t.replace("2500.00", '"2500,00"').encode(), id="decimal comma"),
        pytest.param(lambda t: t.replace("2500.00", '"2 500,00"').encode(), id="quoted number with a space"),
        pytest.param(lambda t: t.replace("2500.00", '"2\u00a0500"').encode(), id="no-break space"),
        pytest.param(lambda t: t.replace("2500.00", '"2,500.00"').encode(), id="English thousands"),
        pytest.param(lambda t: t.replace("2500.00", '"2.500,00"').encode(), id="German thousands"),
        pytest.param(lambda t: t.replace("2500.00", "2500 ₸").encode(), id="with the sign"),
        pytest.param(lambda t: t.replace("Такси", " такси ").encode(), id="other case and spaces"),
        pytest.param(lambda t: t.replace("client_code", "Client_Code").encode(), id="header in other case"),
        pytest.param(lambda t: t.replace("\n1,", "\n1.0,").encode(), id="code as 1.0"),
        pytest.param(lambda t: t.replace("amount", "сумма").encode(), id="header by another name"),
    ],
)
def test_every_way_to_write_a_table_reads_alike(bank: Bank, encode):
    bank.tables["transactions.csv"] = encode(TRANSACTIONS)
    run = bank.decide()
    assert spent(run) == 2500.0
    assert run.record["problems"] == []


def test_gzip_parquet_and_one_file_per_client_in_any_mix(bank: Bank):
    bank.tables |= {
        "transactions.csv": None,
        "client_1_transactions_3m.csv.gz": gzip.compress(TRANSACTIONS.encode()),
        "client_2_transactions_3m.csv": TRANSACTIONS.replace("\n1,", "\n2,").replace(",", ";"),
        "clients.csv": CLIENTS + "2,Дана,Студент,20,Астана,30000\n3,Мария,Студент,20,Астана,30000\n",
    }
    data = bank.write()
    pd.DataFrame(
        {"client_code": [3], "date": [pd.Timestamp("2025-08-10")], "category": ["Такси"], "amount": [700.0], "currency": ["KZT"]}
    ).to_parquet(data / "client_3_transactions_3m.parquet")
    run = bank.decide()
    assert pd.read_parquet(run.folder / "features.parquet")["spend[Такси]"].tolist() == [2500.0, 2500.0, 700.0]


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
    assert set(rejects.source_file) == {"transactions.csv"}
    assert "yesterday" in rejects[rejects.problem == "bad_date"].row.iloc[0]
    assert spent(run) == 2500.0


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


def test_foreign_money_is_converted_at_the_rate_of_its_day(bank: Bank):
    bank.add("transactions.csv", "1,2025-06-15,Отели,100,EUR", "1,2025-08-15,Отели,100,EUR")
    assert spent(bank.decide(), "spend[Отели]") == 100 * 582 + 100 * 627


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


def test_columns_outside_the_contract_are_ignored_and_never_become_features(bank: Bank):
    bank.tables["transactions.csv"] = "client_code,date,category,amount,currency,product\n1,2025-08-10,Такси,2500.00,KZT,Инвестиции\n"
    run = bank.decide()
    assert run.record["data"]["ignored_columns"]["transactions"] == ["product"]
    assert "product" not in pd.read_parquet(run.folder / "features.parquet").columns


def test_optional_columns_may_be_missing(bank: Bank):
    bank.tables["transactions.csv"] = "client_code,date,category,amount\n1,2025-08-10,Такси,2500.00\n"
    bank.tables["transfers.csv"] = "client_code,date,type,amount\n1,2025-08-10,p2p_out,2500.00\n"
    run = bank.decide()
    assert spent(run) == 2500.0
    assert spent(run, "flow[out]") == 2500.0


def test_a_table_with_a_header_and_no_rows_is_a_table(bank: Bank):
    bank.tables["transactions.csv"] = TRANSACTIONS.splitlines()[0] + "\n"
    assert len(bank.decide().recommendations) == 1


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("transactions.csv", None, "no file for 'transactions'"),
        ("transactions.csv", b"", "the file is empty"),
        ("transactions.csv", b"\x89PNG\r\n\x1a\n0000", "it is a picture"),
        ("transactions.csv", b"PK\x03\x04 sheet", "an Excel or zip file"),
        ("transactions.csv", b"hello\nworld\n", "none of its columns is known"),
        ("transactions.csv", b"\x00\x01\x02\x03", "binary"),
        ("transactions.csv", b"client_code,date,categori,amount\n", "column 'category"),
        ("transactions.csv", b"client_code,date,category,amount,amount\n", "stands twice"),
        ("transactions.csv.gz", b"\x1f\x8b broken", "gzip file is damaged"),
        ("transactions.parquet", b"PAR1 broken", "not a Parquet file"),
    ],
)
def test_what_is_not_a_table_is_refused_by_name(bank: Bank, name, content, says):
    bank.tables["transactions.csv"] = None
    bank.tables[name] = content
    with pytest.raises(DataError, match="transactions") as error:
        bank.decide()
    assert says in str(error.value)
    assert not (bank.folder / "out").exists()


def test_all_broken_files_are_told_at_once(bank: Bank):
    bank.tables |= {"transactions.csv": b"", "transfers.csv": b"\x89PNG", "clients.csv": b"a,b\n"}
    with pytest.raises(DataError) as error:
        bank.decide()
    assert len(error.value.problems) == 3


def test_a_folder_that_is_not_ours_is_not_overwritten(bank: Bank):
    (bank.folder / "out").mkdir()
    (bank.folder / "out" / "precious.txt").write_text("mine")
    with pytest.raises(UsageError):
        bank.decide()
    assert (bank.folder / "out" / "precious.txt").read_text() == "mine"


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


def test_a_file_part_utf8_part_not_is_refused_with_the_line(bank: Bank):
    bank.tables["transactions.csv"] = TRANSACTIONS.encode() + "1,2025-08-11,Такси,100,KZT\n".encode("cp1251")
    with pytest.raises(DataError, match="line 3 is not UTF-8"):
        bank.decide()


@pytest.mark.parametrize("line", ["", "1,2025-08-10,Такси,100,KZT\n" * 300])
def test_cp1251_is_known_from_one_word(bank: Bank, line):
    bank.tables["transactions.csv"] = ("client_code,date,category,amount,currency\n1,2025-08-10,Такси,2500,KZT\n" + line).encode("cp1251")
    run = bank.decide()
    assert run.record["problems"] == []
    assert spent(run) >= 2500.0


def test_gzip_by_another_name_and_names_in_capitals(bank: Bank):
    bank.tables |= {
        "transactions.csv": gzip.compress(TRANSACTIONS.encode()),
        "clients.csv": None,
        "CLIENTS.CSV.GZ": gzip.compress(CLIENTS.encode()),
    }
    assert spent(bank.decide()) == 2500.0


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


def test_lists_in_parquet_and_whole_codes_written_as_floats(bank: Bank):
    bank.tables["clients.csv"] = None
    data = bank.write()
    pd.DataFrame(
        {"client_code": [1.0, None], "name": ["А", "Б"], "status": ["Студент"] * 2, "age": [30, 31], "city": ["x"] * 2,
         "avg_monthly_balance_KZT": [9e5, 1.0], "owned_products": [["Депозит Сберегательный"], None]}
    ).to_parquet(data / "clients.parquet")  # fmt: skip
    run = nextbest.decide(data, as_of="2025-08-31", out=bank.folder / "out")
    assert run.recommendations.client_code.tolist() == [1]
    assert run.decisions.set_index("offer").loc["savings-deposit"].verdict == "held"


def test_rows_before_the_first_rate_are_reported(bank: Bank):
    bank.add("transactions.csv", "1,2025-05-20,Отели,100,EUR")
    bank.add("transfers.csv", "1,2025-06-05,p2p_out,out,100,KZT")
    run = nextbest.decide(bank.write(), as_of="2025-06-30", out=bank.folder / "out")
    found = {p["problem"] for p in run.record["problems"]}
    assert "rate_assumed" in found


def test_codes_keep_their_zeros(bank: Bank):
    bank.tables = {name: str(content).replace("\n1,", "\n007,") for name, content in bank.tables.items()}
    run = bank.decide()
    assert run.recommendations.client_code.tolist() == ["007"]
    assert nextbest.explain(run.folder, "007").customer == "007"


def test_a_name_in_capitals_is_written_as_a_name(bank: Bank):
    bank.tables["clients.csv"] = CLIENTS.replace("Айгерим", "АННА-МАРИЯ ИВАНОВА")
    assert bank.decide().recommendations.push_notification.iloc[0].startswith("Анна-Мария Иванова, ")


def test_a_table_that_would_be_left_out_whole_is_refused(bank: Bank):
    with pytest.raises(DataError, match="every row would be left out: 1 before_window"):
        nextbest.decide(bank.write(), as_of="2026-03-31", out=bank.folder / "out")


@pytest.mark.parametrize("name", ["nan", "Мечта", "Лол", "Срочно"])
def test_a_name_that_the_rules_dislike_costs_the_greeting_and_not_the_message(bank: Bank, name):
    bank.tables["clients.csv"] = CLIENTS.replace("Айгерим", name)
    text = bank.decide().recommendations.push_notification.iloc[0]
    assert text and (name not in text or name == "Мечта")


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
