"""Measures servers side by side: requests a second, latency and CPU a request, on two cores.

The servers are pinned to one core and the load to the other. All servers run at once, but only one
is asked at a time; rounds go through all of them, so that a drift of the machine meets all alike.
Prints a table and writes every number: tests/benches/serving/run.sh compare --json FILE
"""

import argparse
import contextlib
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "peers"))

import asked
import load
import servers

FAIRNESS = """\
Server on one core, load on the other; every server runs the model with one thread, Triton and
MLServer through onnxruntime. Triton runs it in its Python backend, the only one its wheel has: each
execution passes to another process and through Python, which is most of what Triton spends here.
MLServer has no runtime for ONNX and is given one of three lines; it has no binary tensors over HTTP.
"""
PROTOCOLS = {"json": "HTTP JSON", "binary": "HTTP binary", "grpc": "gRPC"}
SERVER_CORE, LOAD_CORE = 0, 1
MAX_BATCH = 32


@dataclass(frozen=True)
class Contender:
    """One way to serve the model; several may be one process."""

    peer: str
    way: str
    model: str


CONTENDERS = [
    Contender("ours", "batching", "tiny"),
    Contender("ours", "no batching", "plain"),
    Contender("triton", "batching", "tiny"),
    Contender("triton", "no batching", "single"),
    Contender("mlserver", "no batching", "tiny"),
]


def started(peer):
    if peer == "ours":
        settings = {"max_batch": MAX_BATCH}
        return servers.Ours(core=SERVER_CORE, binary=servers.newest_binary(["release"]), settings=settings)
    if peer == "triton":
        joined = servers.tiny_for_triton(MAX_BATCH, "dynamic_batching { }\n")
        return servers.Triton({"tiny": joined, "single": servers.tiny_for_triton(MAX_BATCH)}, core=SERVER_CORE)
    return servers.MLServer(core=SERVER_CORE)


def measured(server, contender, protocol, connections, seconds):
    answered, before = asked.successes(server, contender.model), server.cpu_seconds()
    if protocol == "grpc":
        message = asked.grpc_request(contender.model, asked.X)
        found = load.grpc(server.grpc, asked.METHOD, message, connections, seconds, LOAD_CORE)
    else:
        body, headers = asked.json_request(asked.X) if protocol == "json" else asked.binary_request(asked.X)
        path = f"/v2/models/{contender.model}/infer"
        found = load.http(server.http, path, body, headers, connections, seconds, LOAD_CORE)
    cpu = server.cpu_seconds() - before
    if answered is not None:
        # Over gRPC an error looks like an answer to the load; the server knows better.
        missing = found["requests"] - connections - (asked.successes(server, contender.model) - answered)
        found["errors"] += max(0, missing)
    found["rate"] = found["requests"] / found["seconds"]
    found["cpu_us"] = cpu / found["requests"] * 1e6
    found["rate_per_core"] = 1e6 / found["cpu_us"]
    return found


def summary(runs):
    """Median and spread of each number over the rounds."""
    keys = ["rate", "rate_per_core", "cpu_us", "p50_us", "p99_us"]
    cell = {key: statistics.median(run[key] for run in runs) for key in keys}
    cell["spread"] = {key: [min(run[key] for run in runs), max(run[key] for run in runs)] for key in keys}
    cell["errors"] = sum(run["errors"] for run in runs)
    cell["runs"] = runs
    return cell


def machine():
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    commit = subprocess.run(["git", "-C", HERE, "describe", "--always", "--dirty"], capture_output=True, text=True)
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "commit": commit.stdout.strip(),
        "load_average_at_start": os.getloadavg()[0],
    }


def table(results, connections):
    """One row for a protocol and concurrency: the best way of each peer."""
    lines = [
        "| protocol | c | server | requests/s | p50 µs | p99 µs | CPU µs/request | requests/s per core |",
        "|---|--:|---|--:|--:|--:|--:|--:|",
    ]
    for protocol, c in itertools.product(PROTOCOLS, connections):
        for peer in dict.fromkeys(contender.peer for contender in CONTENDERS):
            best = best_of(results, peer, protocol, c)
            if not best:
                continue
            cell, name = best, {"ours": "**trt-pipeline**", "triton": "Triton 2.51", "mlserver": "MLServer 1.7.1"}[peer]
            low, high = cell["spread"]["rate"]
            spread = f"±{100 * (high - low) / 2 / cell['rate']:.0f} %"
            lines.append(
                f"| {PROTOCOLS[protocol]} | {c} | {name}, {cell['way']} | {cell['rate']:,.0f} {spread} | "
                f"{cell['p50_us']:,.0f} | {cell['p99_us']:,.0f} | {cell['cpu_us']:,.1f} | {cell['rate_per_core']:,.0f} |"
            )
    return "\n".join(lines)


def best_of(results, peer, protocol, c):
    cells = [cell for cell in results if (cell["peer"], cell["protocol"], cell["connections"]) == (peer, protocol, c)]
    return max(cells, key=lambda cell: cell["rate"], default=None)


def verdict(results, connections):
    """What the project asks of itself: three times the best peer a core, at a lower p99; 30 µs."""
    for protocol, c in itertools.product(PROTOCOLS, connections):
        ours = best_of(results, "ours", protocol, c)
        peers = [cell for peer in ("triton", "mlserver") if (cell := best_of(results, peer, protocol, c))]
        if not ours or not peers:
            continue
        best = max(peers, key=lambda cell: cell["rate_per_core"])
        times = ours["rate_per_core"] / best["rate_per_core"]
        lowest = min(cell["p99_us"] for cell in peers)
        met = times >= 3 and ours["p99_us"] < lowest
        if protocol == "binary" and c == 32:
            met = met and ours["cpu_us"] <= 30
        yield f"{PROTOCOLS[protocol]}, c = {c}: {times:.1f} times {best['peer']} a core, p99 {ours['p99_us']:,.0f} µs against {lowest:,.0f} µs, {ours['cpu_us']:.1f} µs CPU: {'met' if met else 'NOT met'}"  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", nargs="+", default=["ours", "triton", "mlserver"])
    parser.add_argument("--protocols", nargs="+", default=list(PROTOCOLS), choices=PROTOCOLS)
    parser.add_argument("--connections", nargs="+", type=int, default=[1, 8, 32])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    load.tools()
    about = machine()
    if about["load_average_at_start"] > 0.5:
        print(f"the machine is not idle: load average {about['load_average_at_start']:.1f}", file=sys.stderr)
    runs = {}
    with contextlib.ExitStack() as running:
        alive = {peer: running.enter_context(started(peer)) for peer in options.peers}
        contenders = [contender for contender in CONTENDERS if contender.peer in alive]
        cells = [
            (contender, protocol, c)
            for protocol, c in itertools.product(options.protocols, options.connections)
            for contender in contenders
            if asked.speaks(protocol, alive[contender.peer], contender.model)
        ]
        for contender, protocol in dict.fromkeys((contender, protocol) for contender, protocol, _ in cells):
            measured(alive[contender.peer], contender, protocol, 8, 1)  # warms up; not kept
        idle = {peer: server.cpu_seconds() for peer, server in alive.items()}
        time.sleep(2)
        about["idle_cpu_percent"] = {
            peer: round(50 * (server.cpu_seconds() - idle[peer]), 1) for peer, server in alive.items()
        }
        about["processes"] = {peer: server.processes() for peer, server in alive.items()}
        for number in range(options.rounds):
            for contender, protocol, c in cells:
                found = measured(alive[contender.peer], contender, protocol, c, options.seconds)
                runs.setdefault((contender, protocol, c), []).append(found)
                print(f"round {number + 1} {contender.peer} {contender.way} {protocol} c={c}: {found['rate']:,.0f}/s p99 {found['p99_us']:,.0f} µs CPU {found['cpu_us']:.1f} µs errors {found['errors']}", file=sys.stderr)  # fmt: skip
    results = [
        {"peer": contender.peer, "way": contender.way, "protocol": protocol, "connections": c} | summary(found)
        for (contender, protocol, c), found in runs.items()
    ]
    if options.json:
        options.json.write_text(json.dumps({"machine": about, "options": vars(options) | {"json": None}, "results": results}, indent=1) + "\n")  # fmt: skip
    print(table(results, options.connections))
    measured_as = f"medians of {options.rounds} interleaved rounds of {options.seconds} s, half the spread behind ±"
    print(
        f"\n{about['cpu']}, {about['cores']} cores, kernel {about['kernel']}, commit {about['commit']}; {measured_as}."
    )
    print(FAIRNESS)
    print("\n".join(verdict(results, options.connections)))
    return 1 if any(cell["errors"] for cell in results) else 0


if __name__ == "__main__":
    sys.exit(main())
