"""Small tables in, small tables out: `bank` writes the three tables of a tiny bank and decides for it."""

import os
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import pytest

for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # two workers with two threads each wait for one another
    os.environ.setdefault(threads, "1")

import nextbest  # noqa: E402
from nextbest.run import Run  # noqa: E402

CASES = Path(__file__).resolve().parents[2] / "shared" / "cases"

CLIENTS = "client_code,name,status,age,city,avg_monthly_balance_KZT\n1,Айгерим,Зарплатный клиент,34,Алматы,150000\n"
TRANSACTIONS = "client_code,date,category,amount,currency\n1,2025-08-10 12:00:00,Такси,2500.00,KZT\n"
TRANSFERS = "client_code,date,type,direction,amount,currency\n1,2025-08-05 09:00:00,salary_in,in,400000,KZT\n"


@dataclass
class Bank:
    """A folder with three tables; change a table, then `decide`."""

    folder: Path
    tables: dict[str, str | bytes | None] = field(
        default_factory=lambda: {"clients.csv": CLIENTS, "transactions.csv": TRANSACTIONS, "transfers.csv": TRANSFERS}
    )

    def write(self) -> Path:
        data = self.folder / "data"
        data.mkdir(exist_ok=True)
        for name, content in self.tables.items():
            if content is not None:
                (data / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return data

    def decide(self, **options: object) -> Run:
        return nextbest.decide(self.write(), as_of="2025-08-31", out=self.folder / "out", **options)  # type: ignore[arg-type]

    def add(self, table: str, *rows: str) -> "Bank":
        self.tables[table] = str(self.tables[table]) + "".join(row + "\n" for row in rows)
        return self


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    return Bank(tmp_path)


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A synthetic bank of 60, decided once for all tests that only read it."""
    folder = tmp_path_factory.mktemp("demo")
    nextbest.synth(60, out=folder / "data", seed=1, rows_per_customer=240)
    return nextbest.decide(folder / "data", as_of="2025-08-31", out=folder / "out")


def problems(run: Run) -> dict[tuple[str, str, str | None], tuple[int, bool]]:
    """What was odd in a run's tables: table, problem, column → rows, and whether they were kept."""
    return {(p["table"], p["problem"], p["column"]): (p["rows"], p["kept"]) for p in run.record["problems"]}


def spent(run: Run, column: str = "spend[Такси]") -> float:
    """A feature of the first customer."""
    return float(pd.read_parquet(run.folder / "features.parquet")[column].iloc[0])


def case(name: str) -> Path:
    """A shared case's folder; the test is skipped where it is absent."""
    folder = CASES / name
    if not folder.is_dir():
        pytest.skip(f"the shared case '{name}' is not on this machine ({folder})")
    return folder
