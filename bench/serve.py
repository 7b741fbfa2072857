"""How fast a server answers, beside the bare framework's hello in the same run: `python bench/serve.py --customers 10000`.

Needs wrk (Debian: apt-get install wrk). Two servers of one worker each take turns, so that both see the same machine.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import pandas as pd

import nextbest as nb

HELLO = "from fastapi import FastAPI\napp = FastAPI()\n@app.get('/')\nasync def hello():\n    return {'hello': 'world'}\n"
BIN = Path(sys.executable).parent


def wait(url: str) -> None:
    for _ in range(300):
        try:
            urllib.request.urlopen(url)
            return
        except OSError:
            time.sleep(0.2)
    raise SystemExit(f"{url} does not answer")


def load(url: str, seconds: int) -> tuple[float, float]:
    """Requests a second, and the 99th percentile in milliseconds."""
    said = subprocess.run(["wrk", "-t1", "-c16", f"-d{seconds}s", "--latency", url], capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in said:
        raise SystemExit(f"errors from {url}:\n{said}")
    number, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", said).groups()  # type: ignore[union-attr]
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", said).group(1))  # type: ignore[union-attr]
    return rate, float(number) * {"us": 0.001, "ms": 1, "s": 1000}[unit]


def post(url: str, body: object) -> dict:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request) as reply:
        return json.load(reply)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--customers", type=int, default=10_000)
    parser.add_argument("--seconds", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temp:
        folder = Path(temp)
        (folder / "hello.py").write_text(HELLO)
        nb.synth(asked.customers, out=folder / "data", seed=1, rows_per_customer=40, format="parquet")
        environment = {**os.environ, "NEXTBEST_SERVER_RATE": "100000000/minute"}
        serve = [BIN / "nextbest", "serve", "--no-keys", "--port", "8701", "--workspace", folder / "workspace"]
        servers = [
            subprocess.Popen(
                [BIN / "granian", "--interface", "asgi", "--port", "8700", "hello:app"], cwd=folder, stderr=subprocess.DEVNULL
            ),
            subprocess.Popen(serve, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL),
        ]
        try:
            wait("http://127.0.0.1:8700/")
            wait("http://127.0.0.1:8701/ready")
            api = "http://127.0.0.1:8701/v1/playbooks/bank-kz"
            for table in ("clients", "transactions", "transfers"):
                put = ["curl", "-sSf", "-X", "PUT", "-F", f"file=@{folder}/data/{table}.parquet", f"{api}/tables/{table}"]
                subprocess.run(put, check=True, capture_output=True)
            job = post(f"{api}/jobs", {"as_of": "2025-08-31", "record": False})
            while job["finished"] is None:
                time.sleep(0.5)
                with urllib.request.urlopen(f"http://127.0.0.1:8701/v1/jobs/{job['job_id']}") as reply:
                    job = json.load(reply)
            assert job["state"] == "done", job
            time.sleep(2)
            ratios, tails = [], []
            for _ in range(5):
                bare, ours = load("http://127.0.0.1:8700/", asked.seconds), load(f"{api}/customers/7/decision", asked.seconds)
                ratios.append(ours[0] / bare[0])
                tails.append(ours[1] / bare[1])
                print(f"hello {bare[0]:,.0f}/s p99 {bare[1]:.1f} ms; stored decision {ours[0]:,.0f}/s p99 {ours[1]:.1f} ms")
            print(f"stored decision: {statistics.median(ratios):.0%} of hello's rate, p99 × {statistics.median(tails):.1f} (medians of 5)")
            tables = {name: pd.read_parquet(folder / f"data/{name}.parquet") for name in ("clients", "transactions", "transfers")}
            taken = []
            for code in range(1, 61):
                own = {name: table[table.client_code == code] for name, table in tables.items()}
                rows = {name: json.loads(table.to_json(orient="records", date_format="iso")) for name, table in own.items()}
                started = time.perf_counter()
                post(f"{api}/decisions", {"tables": rows, "as_of": "2025-08-31"})
                taken.append((time.perf_counter() - started) * 1000)
            steady = sorted(taken[20:])
            median, tail = statistics.median(steady), steady[35]
            print(f"fresh decision: median {median:.0f} ms, 90% within {tail:.0f} ms; {asked.customers} customers loaded")
        finally:
            for server in servers:
                server.terminate()
                server.wait(20)


if __name__ == "__main__":
    main()
