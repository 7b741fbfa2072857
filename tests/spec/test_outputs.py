"""What lies in OUT after a run, and that it is there whole or not at all."""

import csv
import json
import re
import subprocess
import sys
import time
from io import StringIO

import pandas as pd
import pytest
from rich.console import Console
from tests.conftest import Bank

import nextbest
from nextbest.errors import PlaybookError
from nextbest.report.console import explanation_html, summary
from nextbest.services import decide as service


def test_the_files_of_a_run(demo):
    names = {path.name for path in demo.folder.iterdir()}
    assert names == {
        "recommendations.csv", "decisions.parquet", "features.parquet", "messages.parquet", "rejects.parquet",
        "run.json", "report.html", "playbook",
    }  # fmt: skip


def test_recommendations_are_exactly_three_columns_one_row_per_client_in_order(demo):
    with (demo.folder / "recommendations.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["client_code", "product", "push_notification"]
    assert [int(row[0]) for row in rows[1:]] == list(range(1, 61))
    assert all(180 <= len(row[2]) <= 220 for row in rows[1:])


def test_decisions_hold_every_client_and_offer(demo):
    d = demo.decisions
    assert {"client_code", "offer", "product", "rank", "confidence", "score", "verdict", "benefit", "reasons"} <= set(d.columns)
    assert len(d) == 60 * 10 and not d.duplicated(["client_code", "offer"]).any()
    assert d.confidence.between(0, 100).all()


def test_run_json_says_what_was_run(demo):
    record = json.loads((demo.folder / "run.json").read_text())
    assert record["as_of"] == "2025-08-31" and record["seed"] == 0
    assert re.fullmatch("[0-9a-f]{64}", record["playbook"]["sha256"]) and re.fullmatch("[0-9a-f]{64}", record["data"]["sha256"])
    assert record["counts"]["rows"]["transactions"]["read"] == 60 * 120
    assert all(stage["seconds"] >= 0 for stage in record["stages"])


def test_the_report_loads_nothing_from_outside(demo):
    page = (demo.folder / "report.html").read_text()
    assert not re.search(r"(src|href)=|https?://|@import|url\(", page)
    assert "Кредитная карта" in page


def test_a_rule_that_leaves_customers_without_a_text_is_named(bank: Bank, tmp_path):
    """A slip of an editor's: no text has nine digits in a row."""
    voice = nextbest.copy("bank-kz", tmp_path / "own") / "voice" / "ru.yaml"
    voice.write_text(voice.read_text().replace("require: '\\p{Nd}'", "require: '\\p{Nd}{9}'"))
    run = bank.decide(playbook=tmp_path / "own")
    [(rule, texts)] = run.record["counts"]["texts_refused"].items()
    assert rule == "says_a_figure" and texts >= run.record["counts"]["customers"]["without_fitting_text"] > 0
    for said in ((run.folder / "report.html").read_text(), printed(run)):
        assert f"says_a_figure {texts}" in re.sub("<[^>]*>", "", said)
    assert [list(rules) for rules in run.messages.failed] == [["says_a_figure"]]
    told = nextbest.explain(run.folder, 1, "en")
    assert told.refused_by == {"says_a_figure": "The text has at least one figure"}
    assert "refused by the rule says_a_figure: The text has at least one figure" in explanation_html(told)


def with_rules(book, **patterns):
    """The playbook with rules of the Russian voice before all others: what no text may say, by the rule's name."""
    voice = book / "voice" / "ru.yaml"
    meaning = "dimension: tone, meaning: {ru: Иначе, en: Otherwise}, bad: []"
    rules = "".join(f"  {name}: {{{meaning}, forbid: ['{pattern}']}}\n" for name, pattern in patterns.items())
    voice.write_text(voice.read_text().replace("lint:\n", f"lint:\n{rules}", 1))
    return book


def test_every_rule_that_refused_a_wording_is_told_of_who_has_no_text(bank: Bank, tmp_path):
    """The first wording falls to one rule, the next one to another."""
    bank.tables["clients.csv"] = str(bank.tables["clients.csv"]).replace("Айгерим", "")  # nothing is tried again without a name
    book = with_rules(nextbest.copy("bank-kz", tmp_path / "own"), so_short="депозит[.]$", so_long="в приложении[.]$")
    run = bank.decide(playbook=book)
    assert run.messages.message.isna().all()
    assert list(run.messages.failed[0]) == ["so_long", "so_short"]
    assert run.record["counts"]["texts_refused"].keys() == {"so_long", "so_short"}


def test_nothing_is_told_of_refused_wordings_where_another_went_out(tmp_path):
    data = nextbest.synth(60, out=tmp_path / "bank", seed=1, rows_per_customer=240)
    book = with_rules(nextbest.copy("bank-kz", tmp_path / "own"), no_forms="Оформить")
    run = nextbest.decide(data, book, as_of="2025-08-31", out=tmp_path / "out")
    written = run.messages[run.messages.message.notna()]
    assert run.record["counts"]["texts_refused"]["no_forms"] > 0 and not written.message.str.contains("Оформить").any()
    assert len(written) > 50 and (written.failed.map(len) == 0).all()


def printed(run):
    console = Console(width=200, file=StringIO())
    console.print(summary(run))
    return console.file.getvalue()


def test_a_rule_that_cannot_be_computed_is_told(bank: Bank, tmp_path):
    book = nextbest.copy("bank-kz", tmp_path / "own")
    features = book / "features.yaml"
    rule = "case when status > 1 then 2 else 1 end"
    mixed = f'features:\n  mixed: {{value: "{rule}", unit: x, meaning: {{ru: проба, en: probe}}}}\n'
    features.write_text(features.read_text().replace("features:\n", mixed, 1))
    with pytest.raises(PlaybookError, match=r"computing features: a rule cannot be computed \(BinderException\)"):
        bank.decide(playbook=book)


def test_a_run_that_fails_leaves_the_earlier_one(bank: Bank, monkeypatch):
    first = bank.decide()
    before = (first.folder / "run.json").read_bytes()
    monkeypatch.setattr(service, "write_report", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        bank.decide()
    assert (first.folder / "run.json").read_bytes() == before
    assert [path.name for path in bank.folder.iterdir() if path.name.startswith(".out")] == []


def test_a_killed_run_leaves_no_half_output(tmp_path):
    data = nextbest.synth(2000, out=tmp_path / "data", format="parquet", rows_per_customer=40)
    command = [sys.executable, "-m", "nextbest", "decide", str(data), "--as-of", "2025-08-31", "--out", str(tmp_path / "out")]
    for delay in (0.9, 1.5, 2.2):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(delay)
        process.kill()
        process.wait()
        assert not (tmp_path / "out").exists() or (tmp_path / "out" / "run.json").is_file()
    assert subprocess.run(command, capture_output=True).returncode == 0
    assert len(pd.read_csv(tmp_path / "out" / "recommendations.csv")) == 2000


def test_the_same_bank_at_any_size(tmp_path):
    small = nextbest.synth(10, out=tmp_path / "small", seed=5)
    large = nextbest.synth(500, out=tmp_path / "large", seed=5)
    for name in ("clients.csv", "transactions.csv", "transfers.csv", "truth.csv"):
        a, b = pd.read_csv(small / name), pd.read_csv(large / name)
        b = b[b.client_code <= 10].reset_index(drop=True)
        pd.testing.assert_frame_equal(a, b)
    parquet = nextbest.synth(10, out=tmp_path / "parquet", seed=5, format="parquet")
    assert len(pd.read_parquet(parquet / "transactions.parquet")) == len(pd.read_csv(small / "transactions.csv"))


def test_csv_and_parquet_give_the_same_decisions(tmp_path):
    runs = []
    for format in ("csv", "parquet"):
        data = nextbest.synth(40, out=tmp_path / format, format=format)
        runs.append(nextbest.decide(data, as_of="2025-08-31", out=tmp_path / f"out-{format}"))
    assert (runs[0].folder / "decisions.parquet").read_bytes() == (runs[1].folder / "decisions.parquet").read_bytes()


def test_a_different_seed_is_a_different_bank(tmp_path):
    a = nextbest.synth(50, out=tmp_path / "a", seed=1)
    b = nextbest.synth(50, out=tmp_path / "b", seed=2)
    assert (a / "clients.csv").read_bytes() != (b / "clients.csv").read_bytes()
