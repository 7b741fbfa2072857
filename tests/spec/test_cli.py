"""The command line: what it prints, and its exit codes."""

import pytest
from tests.conftest import Bank
from typer.testing import CliRunner

import nextbest
from nextbest.cli import app

runner = CliRunner()


def run(*arguments):
    return runner.invoke(app, [str(argument) for argument in arguments])


def test_the_whole_path(bank: Bank):
    data, out = bank.write(), bank.folder / "out"
    result = run("decide", data, "--playbook", "bank-kz", "--as-of", "2025-08-31", "--out", out)
    assert result.exit_code == 0 and "recommendations.csv" in result.output
    assert run("explain", out, 1).exit_code == 0
    assert run("lint", out / "recommendations.csv", "--voice", "ru", "--channel", "push").exit_code == 0
    reference = bank.folder / "reference.csv"
    reference.write_text("client_code,product\n1,Инвестиции\n")
    assert "of 1" in run("score", out, "--reference", reference).output


def test_tables_by_explicit_paths(bank: Bank):
    data = bank.write()
    tables = [f"--table={name}={data / name}.csv" for name in ("clients", "transactions", "transfers")]
    assert run("decide", *tables, "--as-of", "2025-08-31", "--out", bank.folder / "out").exit_code == 0


def test_playbook_commands(tmp_path):
    assert run("check").exit_code == 0
    assert run("playbook", "copy", "bank-kz", tmp_path / "mine").exit_code == 0
    assert run("check", tmp_path / "mine").exit_code == 0
    assert run("playbook", "schema", "--out", tmp_path / "schema").exit_code == 0
    assert (tmp_path / "schema" / "offer.schema.json").is_file()


def test_synth_and_version(tmp_path):
    assert run("synth", "--customers", 5, "--seed", 3, "--out", tmp_path / "bank", "--format", "parquet").exit_code == 0
    assert run("--version").output.strip() == "0.1.0"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["decide", "nowhere", "--as-of", "2025-08-31", "--out", "x"], 2, "not a folder"),
        (["decide", "nowhere", "--as-of", "31.08.2025", "--out", "x"], 2, "not a day"),
        (["decide", "--as-of", "2025-08-31", "--out", "x"], 2, "no data"),
        (["decide", "--table", "clients", "--as-of", "2025-08-31", "--out", "x"], 2, "NAME=PATH"),
        (["decide", "nowhere", "--playbook", "none", "--as-of", "2025-08-31", "--out", "x"], 2, "bank-kz"),
        (["decide", "nowhere", "--as-of", "2020-01-01", "--out", "x"], 3, "no value on 2020-01-01"),
        (["explain", "nowhere", "1"], 2, "not an output folder"),
        (["score", "nowhere", "--reference", "x"], 2, "not an output folder"),
        (["synth", "--customers", "0", "--out", "x"], 2, "customers"),
        (["decide"], 2, ""),
    ],
)
def test_exit_codes(arguments, code, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.exit_code == code
    assert says in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    "command, rows",
    [
        ("consent", "customer,purpose,granted,happened\n1,marketing,perhaps,2025-09-01T10:00:00Z\n"),
        ("outcomes", "event_id,event,happened,decision_id\na,what,never,x-0\n"),
    ],
)
def test_a_file_of_which_no_row_can_be_used_is_no_success(command, rows, tmp_path):
    (tmp_path / "file.csv").write_text(rows)
    nextbest.consent(1, "marketing", True, workspace=tmp_path / "workspace")
    done = CliRunner().invoke(app, [command, "import", str(tmp_path / "file.csv"), "--workspace", str(tmp_path / "workspace")])
    assert done.exit_code == 1, done.output


@pytest.mark.parametrize("threads", ["many", "0"])
def test_a_wrong_setting_is_told(threads, tmp_path, monkeypatch):
    monkeypatch.setenv("NEXTBEST_THREADS", threads)
    done = run("synth", "--customers", 2, "--out", tmp_path / "bank")
    assert done.exit_code == 2 and "NEXTBEST_THREADS" in done.output


@pytest.mark.parametrize("limit", ["0GB", "-1GB", "much", "1e400GB", "4", "80%"])
def test_a_limit_of_memory_that_is_none_is_told(limit, tmp_path, monkeypatch):
    monkeypatch.setenv("NEXTBEST_MEMORY_LIMIT", limit)
    done = run("synth", "--customers", 2, "--out", tmp_path / "bank")
    assert done.exit_code == 2 and "NEXTBEST_MEMORY_LIMIT" in done.output


def test_a_setting_that_is_empty_is_not_set(tmp_path, monkeypatch):
    for name in ("NEXTBEST_MEMORY_LIMIT", "NEXTBEST_THREADS", "NEXTBEST_TEMP_FOLDER"):
        monkeypatch.setenv(name, "")
    assert run("synth", "--customers", 2, "--out", tmp_path / "bank").exit_code == 0


@pytest.mark.parametrize("folder", ["{}/nowhere", "/proc"])
def test_a_folder_for_what_spills_that_is_none_is_told(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("NEXTBEST_TEMP_FOLDER", folder.format(tmp_path))
    done = run("synth", "--customers", 2, "--out", tmp_path / "bank")
    assert done.exit_code == 2 and "NEXTBEST_TEMP_FOLDER" in done.output


def test_too_little_memory_is_told_and_is_no_damaged_file(tmp_path, monkeypatch):
    data = nextbest.synth(60, out=tmp_path / "bank")
    monkeypatch.setenv("NEXTBEST_MEMORY_LIMIT", "1MB")
    done = run("decide", data, "--as-of", "2025-08-31", "--out", tmp_path / "out")
    assert done.exit_code == 2 and "NEXTBEST_MEMORY_LIMIT" in done.output and "damaged" not in done.output
    assert not (tmp_path / "out").exists()
