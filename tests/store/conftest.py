"""Every test of the workspace runs on SQLite, and on PostgreSQL where NEXTBEST_TEST_POSTGRES names a server."""

import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import nextbest as nb
from nextbest.run import Run
from nextbest.services.outcomes import Imported
from nextbest.store.workspace import Workspace

POSTGRES = os.environ.get("NEXTBEST_TEST_POSTGRES")

CLIENTS = "client_code,name,status,age,city,avg_monthly_balance_KZT,consent_marketing,consent_profiling,language,time_zone\n"
TRANSACTIONS = "client_code,date,category,amount,currency\n"
TRANSFERS = "client_code,date,type,direction,amount,currency\n"


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request, tmp_path):
    """Where the workspace is: a new one for each test."""
    if request.param == "sqlite":
        yield str(tmp_path / "workspace")
        return
    if not POSTGRES:
        pytest.skip("NEXTBEST_TEST_POSTGRES names no server: run tests/with_postgres make test")
    import psycopg

    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(POSTGRES, autocommit=True) as admin:
        admin.execute(f"create database {name}")
    yield POSTGRES.replace("/postgres?", f"/{name}?")
    with psycopg.connect(POSTGRES, autocommit=True) as admin:
        admin.execute(f"drop database {name} with (force)")


@dataclass
class Town:
    """A bank of a few clients, all of them travellers by taxi, and a workspace; decide as often as you like."""

    bank: Any
    place: str
    playbook: str | Path = "bank-kz"
    runs: int = 0

    def client(self, code: int | str, marketing: str = "", profiling: str = "", zone: str = "", name: str = "Айгерим") -> "Town":
        self.bank.add("clients.csv", f"{code},{name},Зарплатный клиент,34,Алматы,150000,{marketing},{profiling},ru,{zone}")
        for day in (3, 9, 14, 21):
            self.bank.add("transactions.csv", f"{code},2025-08-{day:02} 12:00:00,Такси,4500.00,KZT")
            self.bank.add("transactions.csv", f"{code},2025-08-{day:02} 13:00:00,Отели,90500.00,KZT")
        self.bank.add("transfers.csv", f"{code},2025-08-05 09:00:00,salary_in,in,400000,KZT")
        return self

    def decide(self, at: str = "2025-09-01T12:00", **options: object) -> Run:
        """Decide for a moment; each run has its own output folder."""
        self.runs += 1
        data = self.bank.write()
        return nb.decide(
            data, self.playbook, as_of="2025-08-31", at=at, out=self.bank.folder / f"out{self.runs}", workspace=self.place, **options
        )

    def held(self, run: Run) -> dict[str, str | None]:
        """Customer → what held the message back; None where it went out."""
        table = run.messages
        return {str(code): (None if pd.isna(rule) else rule) for code, rule in zip(table.client_code, table.withheld, strict=True)}

    def decision(self, run: Run, customer: int | str) -> str:
        """The id of a customer's decision."""
        table = run.messages
        return str(table.decision_id[table.client_code.astype(str) == str(customer)].iloc[0])

    def outcomes(self, *rows: str) -> Imported:
        """Import events written as event_id,event,happened,decision_id."""
        path = self.bank.folder / f"events{len(list(self.bank.folder.glob('events*')))}.csv"
        path.write_text("event_id,event,happened,decision_id\n" + "".join(row + "\n" for row in rows))
        return nb.import_outcomes(path, workspace=self.place, rejects=self.bank.folder / "rejected.csv")

    def edit(self, file: str, *pairs: tuple[str, str]) -> "Town":
        """The playbook with something in it replaced."""
        if self.playbook == "bank-kz":
            self.playbook = nb.copy("bank-kz", self.bank.folder / "playbook")
        path = Path(self.playbook) / file
        content = path.read_text()
        for old, new in pairs:
            assert old in content, old
            content = content.replace(old, new)
        path.write_text(content)
        return self

    def rows(self, statement: str) -> list[tuple]:
        with Workspace(self.place) as store, store.reading() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(statement)]


@pytest.fixture
def town(place, bank) -> Town:
    """No clients yet; nobody is held out unless the test says so."""
    bank.tables = {"clients.csv": CLIENTS, "transactions.csv": TRANSACTIONS, "transfers.csv": TRANSFERS}
    return Town(bank, place).edit(
        "params.yaml",
        ("global_holdout: {unit: share, values: {2025-01-01: 0.02}", "global_holdout: {unit: share, values: {2025-01-01: 0}"),
        ("playbook_holdout: {unit: share, values: {2025-01-01: 0.03}", "playbook_holdout: {unit: share, values: {2025-01-01: 0}"),
    )
