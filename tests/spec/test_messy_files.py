"""Real files are messy. Each way to write a table works, or is refused clearly by name."""

import gzip
from io import StringIO

import duckdb
import pandas as pd
import pytest
from tests.conftest import CLIENTS, TRANSACTIONS, Bank, problems, spent

import nextbest
from nextbest.errors import DataError, UsageError


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
    run = bank.decide()
    assert len(run.recommendations) == 1
    assert problems(run) == {("transactions", "no_rows", None): (0, True)}


def test_customers_of_whom_none_can_be_read_are_told_as_such(bank: Bank):
    bank.tables["clients.csv"] = CLIENTS.replace("\n1,", "\n,")
    with pytest.raises(DataError, match="clients: every row would be left out: 1 no_id"):
        bank.decide()


def test_customers_without_rows_are_told_before_their_activity(bank: Bank):
    bank.tables["clients.csv"] = CLIENTS.splitlines()[0] + "\n"
    with pytest.raises(DataError) as error:
        bank.decide()
    assert [(problem.where, problem.what[:7]) for problem in error.value.problems] == [("clients", "no rows"), ("transactions", "every r")]


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


def test_a_quotation_mark_that_nobody_closes_is_told_with_its_line(bank: Bank):
    """The reader takes all that follows for one cell: thousands of rows would be missing."""
    rows = [f"1,2025-08-{1 + n % 28:02} 12:00:{n % 60:02},Такси,{100 + n},KZT" for n in range(3000)]
    rows[1000] = '1,2025-08-10 12:00:00,"Такси,100,KZT'
    bank.tables["transactions.csv"] = TRANSACTIONS.splitlines()[0] + "\n"
    bank.add("transactions.csv", *rows)
    with pytest.raises(DataError, match="transactions") as told:
        bank.decide()
    if duckdb.__version__ < "2":  # later ones say themselves that they cannot read it
        assert "transactions.csv, line 1002: a quotation mark is opened and not closed" in str(told.value)


def test_a_quotation_mark_within_a_row_costs_that_row_alone(bank: Bank):
    bank.add("transactions.csv", '1,2025-08-10 12:00:00,"Та"кси,100,KZT', "1,2025-08-11 12:00:00,Такси,100,KZT")
    run = bank.decide()
    assert problems(run) == {("transactions", "malformed_row", None): (1, False)} and spent(run) == 2600.0


def test_a_file_that_breaks_off_in_the_middle_is_told_without_its_values(bank: Bank):
    rows = pd.DataFrame(
        {"client_code": "1", "date": "2025-08-10", "category": "Такси", "amount": "77.25", "currency": "KZT"}, index=range(400_000)
    )
    rows["date"] = pd.date_range("2025-08-01", periods=len(rows), freq="s").astype(str)
    path = bank.folder / "whole.parquet"
    rows.to_parquet(path, row_group_size=100_000, compression="zstd")
    content = bytearray(path.read_bytes())
    middle = len(content) * 2 // 3
    content[middle : middle + 4000] = b"\xff" * 4000
    bank.tables |= {"transactions.csv": None, "transactions.parquet": bytes(content)}
    with pytest.raises(DataError, match="transactions: the files cannot be read") as told:
        bank.decide()
    assert "77.25" not in str(told.value) and not (bank.folder / "out").exists()


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


@pytest.mark.parametrize("folder", ["currency=USD", "date=2025-07-01", "client_code=7", "bank[1]", "банк *?"])
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_names_of_folders_and_files_are_names(bank: Bank, folder, kind):
    """Neither a column as data lakes write it, nor a pattern that other files fit."""
    data, other = bank.folder / folder, bank.folder / "bank1"
    for place, amount in ((data, "2500"), (other, "9")):
        place.mkdir()
        for name, content in bank.tables.items():
            (place / name).write_text(str(content).replace("2500", amount))
        odd = place / f"transactions[1].{kind}"
        if kind == "csv":
            (place / "transactions.csv").rename(odd)
        else:
            pd.read_csv(place / "transactions.csv").to_parquet(odd)
            (place / "transactions.csv").unlink()
        (place / f"transactions1.{kind}").write_bytes(odd.read_bytes())
    run = nextbest.decide(data, as_of="2025-08-31", out=bank.folder / "out[1]")
    assert run.record["counts"]["rows"]["transactions"] == {"read": 2, "kept": 1}  # the same row in two files
    assert spent(run) == 2500.0 and spent(run, "visits_lm[Такси]") == 1.0
    assert nextbest.explain(run.folder, 1).customer == "1"


def test_a_table_may_stand_in_parts_in_a_folder_and_what_is_not_read_is_named(bank: Bank):
    data = bank.write()
    (data / "transactions.csv").unlink()
    bank.tables["transactions.csv"] = None
    parts = data / "transactions.parquet"
    (parts / "month=8").mkdir(parents=True)
    table = pd.read_csv(StringIO(TRANSACTIONS))
    table.to_parquet(parts / "part-00000.snappy.parquet")
    table.assign(amount=500.0).to_parquet(parts / "month=8" / "part-00001.parquet")
    (parts / "_temporary").mkdir()
    table.assign(amount=9.0).to_parquet(parts / "_temporary" / "part-00002.parquet")
    for name in ("_SUCCESS", ".part-00000.crc", "part-00003"):
        (parts / name).touch()
    for name in ("transactions_backup", "old_transactions"):
        (data / name).mkdir()
        table.to_parquet(data / name / "part-00000.parquet")
    (data / "transactions_09.xlsx").write_bytes(b"PK")
    (data / "old").mkdir()
    run = bank.decide()
    assert spent(run) == 3000.0
    assert run.record["data"]["unused_files"] == [
        "old/", "old_transactions/", "transactions.parquet/part-00003", "transactions_09.xlsx", "transactions_backup/",
    ]  # fmt: skip
    explicit = nextbest.decide(data, as_of="2025-08-31", out=bank.folder / "out", tables={"transactions": parts})
    assert spent(explicit) == 3000.0


def test_a_folder_without_a_table_is_told_to_be_one(bank: Bank):
    (bank.folder / "empty").mkdir()
    with pytest.raises(UsageError, match="empty: the folder holds no table"):
        nextbest.decide(bank.write(), as_of="2025-08-31", out=bank.folder / "out", tables={"transactions": bank.folder / "empty"})


def test_a_folder_beside_the_file_is_not_read_too(bank: Bank):
    data = bank.write()
    (data / "transactions").mkdir()
    (data / "transactions" / "part.csv").write_text(TRANSACTIONS.replace("2500", "9"))
    run = bank.decide()
    assert spent(run) == 2500.0 and run.record["data"]["unused_files"] == ["transactions/"]


@pytest.mark.parametrize("column", ["currency", "category"])
def test_a_column_that_only_a_folder_names_is_told(bank: Bank, column):
    data = bank.write()
    (data / "transactions.csv").unlink()
    bank.tables["transactions.csv"] = None
    part = data / "transactions" / f"{column}=USD"
    part.mkdir(parents=True)
    pd.read_csv(StringIO(TRANSACTIONS)).drop(columns=column).to_parquet(part / "part-00000.parquet")
    with pytest.raises(DataError, match="names a column that the file lacks"):
        bank.decide()


def test_kazakh_names_in_the_code_page_of_windows(bank: Bank):
    bank.tables["clients.csv"] = CLIENTS.replace("Айгерим", "Әсел Қайратқызы").encode("kz1048")
    assert bank.decide().features["name"].tolist() == ["Әсел Қайратқызы"]


def test_a_table_whose_rows_all_have_a_cell_too_many_is_refused(bank: Bank):
    bank.tables["transactions.csv"] = TRANSACTIONS.replace("2500.00", "2500,00")
    with pytest.raises(DataError, match="transactions: every row would be left out: 1 malformed_row"):
        bank.decide()


def test_a_table_that_would_be_left_out_whole_is_refused(bank: Bank):
    with pytest.raises(DataError, match="every row would be left out: 1 before_window"):
        nextbest.decide(bank.write(), as_of="2026-03-31", out=bank.folder / "out")
