"""What memory costs: the same customers decided without a workspace and with one, in one run.

Prints both times, the share that reserving and recording add, the size of the workspace, and how long `ledger verify`
takes. --workspace takes a PostgreSQL URL. Figures are for reading, nothing is asserted.
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

import nextbest


def job(data: Path, out: Path, workspace: str | None, queue: "multiprocessing.Queue[tuple[float, dict[str, float], float]]") -> None:
    started = time.perf_counter()
    run = nextbest.decide(data, as_of="2025-08-31", out=out, workspace=workspace)
    seconds = time.perf_counter() - started
    stages = {stage["stage"]: stage["seconds"] for stage in run.record["stages"]}
    queue.put((seconds, stages, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 / 1024))


def timed(*arguments: object) -> tuple[float, dict[str, float], float]:
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=job, args=(*arguments, queue))
    process.start()
    found = queue.get()
    process.join()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--customers", type=int, default=20_000)
    parser.add_argument("--rows", type=int, default=20, help="activity rows per customer")
    parser.add_argument("--workspace", help="PostgreSQL URL [default: SQLite in a new folder]")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        data = nextbest.synth(arguments.customers, out=base / "data", format="parquet", rows_per_customer=arguments.rows)
        workspace = arguments.workspace or str(base / "workspace")
        bare, _, peak = timed(data, base / "without", None)
        full, stages, peak_full = timed(data, base / "with", workspace)
        started = time.perf_counter()
        found = nextbest.verify(workspace)
        verify = time.perf_counter() - started
        size = sum(path.stat().st_size for path in (base / "workspace").glob("*")) / 2**20 if arguments.workspace is None else None
    print(f"{arguments.customers:,} customers: without a workspace {bare:.1f} s, with one {full:.1f} s: {100 * (full / bare - 1):+.0f}%")
    reserving, ledgering = stages["applying the contact policy"], stages["recording in the ledger"]
    print(f"of it reserving {reserving:.1f} s ({100 * reserving / bare:.0f}%), ledgering {ledgering:.1f} s ({100 * ledgering / bare:.0f}%)")
    print(f"peak memory {peak:.2f} GiB without, {peak_full:.2f} GiB with")
    print(f"verify: {found.records:,} records in {verify:.1f} s, {'whole' if found.whole else found.faults}")
    if size is not None:
        print(f"workspace {size:,.0f} MiB")


if __name__ == "__main__":
    main()
