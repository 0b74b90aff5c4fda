"""Measures what joining requests gives: one wide network with and without batching.

The network is 2048 -> 2048 -> 2048 -> 10 in FP32; the requests are HTTP with binary tensors. Says the
throughput at a concurrency, and at low load the p99 against the longest delay, the time of a run and
a millisecond: tests/benches/serving/run.sh batching --json FILE
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "peers"))

import asked
import compare
import load
import servers

DELAY_MS = 2
WAYS = ("alone", "batched")


def project(folder):
    folder = Path(folder, "wide")
    folder.mkdir()
    (folder / "pipeline.yaml").write_bytes((HERE / "wide" / "pipeline.yaml").read_bytes())
    make = HERE.parents[1] / "fixtures" / "make_serving_fixtures.py"
    subprocess.run([sys.executable, make, "--wide", folder / "wide.onnx"], check=True)
    return folder


def counted(server, model):
    """-> requests, executions, and the nanoseconds that requests were part of a computation."""
    with urllib.request.urlopen(f"http://127.0.0.1:{server.http}/v2/models/{model}/stats", timeout=30) as answer:
        stats = json.load(answer)["model_stats"][0]
    compute = stats["inference_stats"]["compute_infer"]
    return np.array([compute["count"], stats["execution_count"], compute["ns"]], float)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    load.tools()
    x = np.random.default_rng(1).standard_normal((1, 2048), np.float32)
    body, headers = asked.binary_request(x)
    about, runs = compare.machine(), {}
    with tempfile.TemporaryDirectory() as folder:
        settings = {"max_delay_ms": DELAY_MS}
        binary = servers.newest_binary(["release"])
        with servers.Ours(project(folder), compare.SERVER_CORE, binary, settings=settings) as server:
            both = [asked.answered("binary", server, way, x) for way in WAYS]
            np.testing.assert_allclose(both[0], both[1], rtol=1e-3, atol=1e-3)
            for _ in range(options.rounds):
                for way in WAYS:
                    for connections in (1, 32):
                        before = counted(server, way)
                        path = f"/v2/models/{way}/infer"
                        found = load.http(
                            server.http, path, body, headers, connections, options.seconds, compare.LOAD_CORE
                        )
                        found["rate"] = found["requests"] / found["seconds"]
                        requests, executions, nanoseconds = counted(server, way) - before
                        found["compute_ms"] = nanoseconds / requests / 1e6
                        found["batch"] = requests / executions
                        runs.setdefault(f"{way} c={connections}", []).append(found)
    median = {
        cell: {key: statistics.median(run[key] for run in found) for key in found[0]} for cell, found in runs.items()
    }
    if options.json:
        options.json.write_text(json.dumps({"machine": about, "median": median, "runs": runs}, indent=1) + "\n")
    print("| requests | c | requests/s | p50 ms | p99 ms | mean batch | compute ms |\n|---|--:|--:|--:|--:|--:|--:|")
    for cell, row in median.items():
        way, c = cell.split(" c=")
        print(f"| {way} | {c} | {row['rate']:,.0f} | {row['p50_us'] / 1e3:.2f} | {row['p99_us'] / 1e3:.2f} | {row['batch']:.1f} | {row['compute_ms']:.2f} |")  # fmt: skip
    times = median["batched c=32"]["rate"] / median["alone c=32"]["rate"]
    low = median["batched c=1"]
    bound = DELAY_MS + low["compute_ms"] + 1
    print(f"\nthroughput at 32: {times:.1f} times the unbatched: {'met' if times >= 3 else 'NOT met'} (3)")
    print(f"p99 at low load: {low['p99_us'] / 1e3:.2f} ms against {bound:.2f} ms: {'met' if low['p99_us'] / 1e3 <= bound else 'NOT met'}")  # fmt: skip
    return 1 if any(run["errors"] for found in runs.values() for run in found) else 0


if __name__ == "__main__":
    sys.exit(main())
