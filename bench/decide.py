"""The whole job beside its floor: synthetic customers through `decide`, and one bare DuckDB query over the same files
(scan both tables; count and sum by client, category or type, and month; write Parquet). In turns, each time in a process
of its own: memory that nobody has used for a while is slow the first time, for whoever comes first. Beside them the copy:
the files that the job wrote, read and written again as it writes them, without anything that makes them.

Prints the ratio of the medians, peak memory, and messages per second per core. Figures are for reading, nothing is asserted.
"""

import argparse
import multiprocessing
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import duckdb

import nextbest
from nextbest.engines.duckdb import DuckDBEngine


def floor(data: Path, out: Path) -> dict[str, float]:
    started = time.perf_counter()
    with duckdb.connect() as connection:
        connection.execute("set enable_progress_bar = false")
        connection.execute(
            f"""copy (
              select client_code, 'card' as source, category as kind, month(date) as month, count(*) as n, sum(amount) as total
              from '{data}/transactions.parquet' group by all
              union all
              select client_code, 'transfer', type, month(date), count(*), sum(amount)
              from '{data}/transfers.parquet' group by all
            ) to '{out}' (format parquet)"""
        )
    return {"all": time.perf_counter() - started}


def copy(data: Path, out: Path) -> dict[str, float]:
    out.mkdir(exist_ok=True)
    files = sorted([*data.glob("*.parquet"), *data.glob("*.csv")], key=lambda file: -file.stat().st_size)
    started = time.perf_counter()
    with DuckDBEngine(out) as engine:
        engine.export({out / file.name: f"from '{file}'" for file in files})
    return {"all": time.perf_counter() - started}


def job(data: Path, out: Path) -> dict[str, float]:
    started = time.perf_counter()
    run = nextbest.decide(data, as_of="2025-08-31", out=out)
    seconds = time.perf_counter() - started
    return {
        "all": seconds,
        **{stage["stage"]: stage["seconds"] for stage in run.record["stages"]},
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 / 1024,
        "messages": run.record["counts"]["customers"]["with_message"],
    }


def alone(measured: Callable[[Path, Path], dict[str, float]], data: Path, out: Path) -> dict[str, float]:
    """In a process of its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measured, data, out).result()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--customers", type=int, default=20_000)
    parser.add_argument("--rows", type=int, default=20, help="activity rows per customer")
    parser.add_argument("--times", type=int, default=3)
    arguments = parser.parse_args()
    floors, jobs, copies = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        data = nextbest.synth(arguments.customers, out=Path(folder) / "data", format="parquet", rows_per_customer=arguments.rows)
        for _ in range(arguments.times):
            floors.append(alone(floor, data, Path(folder) / "floor.parquet"))
            jobs.append(alone(job, data, Path(folder) / "out"))
            copies.append(alone(copy, Path(folder) / "out", Path(folder) / "copy"))
    cores = os.cpu_count() or 1
    bare, whole, again = (statistics.median(run["all"] for run in runs) for runs in (floors, jobs, copies))
    written = statistics.median(run["messages"] / run["writing messages"] for run in jobs)
    print(f"{arguments.customers:,} customers, {arguments.customers * arguments.rows:,} rows, {cores} cores")
    for name in (name for name in jobs[0] if name not in ("all", "peak", "messages")):
        print(f"  {name:<34} {statistics.median(run[name] for run in jobs):8.2f} s")
    for name, runs in (("floor", floors), ("job", jobs), ("copy", copies)):
        print(f"{name}: {', '.join(format(run['all'], '.2f') for run in runs)} s")
    print(f"floor {bare:.2f} s, job {whole:.2f} s, ratio {whole / bare:.1f}; peak memory {max(run['peak'] for run in jobs):.2f} GiB")
    print(f"its files written again from themselves: {again:.2f} s, {again / bare:.1f} times the floor")
    print(f"messages, rendered and linted: {written / cores:,.0f} a second per core")


if __name__ == "__main__":
    main()
