"""The whole job beside its floor, in one run: synthetic customers through `decide`, and one bare DuckDB query over
the same files (scan both tables; count and sum by client, category or type, and month; write Parquet).

Prints the ratio, peak memory, and messages per second per core. Figures are for reading, nothing is asserted.
"""

import argparse
import multiprocessing
import os
import resource
import tempfile
import time
from pathlib import Path

import duckdb

import nextbest


def floor(data: Path, out: Path) -> float:
    started = time.perf_counter()
    with duckdb.connect() as connection:
        connection.execute(
            f"""copy (
              select client_code, 'card' as source, category as kind, month(date) as month, count(*) as n, sum(amount) as total
              from '{data}/transactions.parquet' group by all
              union all
              select client_code, 'transfer', type, month(date), count(*), sum(amount)
              from '{data}/transfers.parquet' group by all
            ) to '{out}' (format parquet)"""
        )
    return time.perf_counter() - started


def job(data: Path, out: Path, queue: "multiprocessing.Queue[tuple[float, float, float, int]]") -> None:
    started = time.perf_counter()
    run = nextbest.decide(data, as_of="2025-08-31", out=out)
    seconds = time.perf_counter() - started
    messages = next(stage["seconds"] for stage in run.record["stages"] if stage["stage"] == "writing messages")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 / 1024
    for stage in run.record["stages"]:
        print(f"  {stage['stage']:<24} {stage['seconds']:8.2f} s")
    queue.put((seconds, messages, peak, run.record["counts"]["customers"]["with_message"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--customers", type=int, default=20_000)
    parser.add_argument("--rows", type=int, default=20, help="activity rows per customer")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = nextbest.synth(arguments.customers, out=Path(folder) / "data", format="parquet", rows_per_customer=arguments.rows)
        floors = [floor(data, Path(folder) / "floor.parquet") for _ in range(3)]
        context = multiprocessing.get_context("spawn")
        queue = context.Queue()
        process = context.Process(target=job, args=(data, Path(folder) / "out", queue))
        process.start()
        seconds, messages, peak, written = queue.get()
        process.join()
    cores = os.cpu_count() or 1
    bare = sorted(floors)[1]
    rows = arguments.customers * arguments.rows
    print(f"{arguments.customers:,} customers, {rows:,} rows, {cores} cores")
    print(f"floor {bare:.2f} s, job {seconds:.2f} s, ratio {seconds / bare:.1f}; peak memory {peak:.2f} GiB")
    print(f"messages, rendered and linted: {written / messages / cores:,.0f} a second per core")


if __name__ == "__main__":
    main()
