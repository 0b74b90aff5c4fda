#!/usr/bin/env python3
"""How often a run calls each function of the CUDA driver: the difference between many runs and few,
so that loading, warming up and unloading are not in it. One JSON object a line.

    per_run.py PROGRAM ENGINE --calls calls.so --shape image=1x3x32x32 [--yardstick YARDSTICK]

The engine in process with graphs off and on, the yardstick likewise, and behind a server, where what
is counted is a batch. `waits` are calls that keep the host until the GPU is done, or may.
"""

import argparse
import collections
import json
import os
import re
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "soak"))

from soak import ENVIRONMENT, level, listening, project

FEW, MANY, WARMUP = 500, 4500, 100
REQUESTS = (2_000, 18_000)
# Copies that are not asynchronous, allocations and releases wait for the device, too.
WAITS = re.compile(r"cu(Stream|Event|Ctx)Synchronize|cuMemcpy(?!.*Async).*|cuMem(Alloc|Free|Host|Pool).*")
SPEC = """\
version: 1
name: calls
stages:
  api:
    serve:
      name: calls
      from: {{ file: "{engine}", kind: engine }}
      instances: 2
      batching: {{ max_batch: 8, max_delay_ms: 1 }}
      cuda_graphs: "{graphs}"
"""


def counted(path):
    """-> calls by name and time in them, and what the busiest thread did in its window."""
    calls, spent, windows = collections.Counter(), collections.Counter(), collections.defaultdict(list)
    for line in map(json.loads, path.read_text().splitlines()):
        if "call" in line:
            windows[line["thread"]].append(line)
        else:
            calls[line["name"]] += line["calls"]
            spent[line["name"]] += line["ns"]
    window = max(windows.values(), key=lambda calls: sum(call["call"].startswith("cuMemcpyHtoD") for call in calls), default=[])
    return calls, spent, window


def settings(args, file):
    return {"LD_PRELOAD": str(args.calls), "CUDA_CALLS": str(file), "CUDA_CALLS_AFTER": str(args.window_after)}


def of_command(args, command):
    with tempfile.TemporaryDirectory(prefix="calls-") as scratch:
        file = Path(scratch, "calls")
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, env=ENVIRONMENT | settings(args, file), check=False)
        if done.returncode != 0:
            sys.exit(f"{command} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return counted(file)


def of_server(args, graphs, requests):
    """-> what was counted, and how many batches ran."""
    with tempfile.TemporaryDirectory(prefix="calls-") as scratch:
        file = Path(scratch, "calls")
        argv = [args.program, "serve", "p.yaml", "--http", "127.0.0.1:0", "--grpc", "off", "--admin", "off"]
        with project(SPEC.format(engine=args.engine, graphs=graphs), {}) as folder:
            with listening(argv, folder, settings(args, file)) as (_server, addresses):
                url = f"http://{addresses['http']}"
                level(args.program, folder, f"{url}/calls", "--requests", requests, "--concurrency", 8, "--batch", 1)
                with urllib.request.urlopen(f"{url}/v2/models/calls/stats", timeout=30) as answer:
                    batches = json.load(answer)["model_stats"][0]["execution_count"]
        return counted(file), batches


def difference(few, many, runs):
    """Calls of one run by name, with the nanoseconds spent in each."""
    found = {}
    for name, calls in many[0].items():
        more = calls - few[0][name]
        if more / runs > 0.0005:
            found[name] = {"calls": more / runs, "ns": (many[1][name] - few[1][name]) / more}
    return dict(sorted(found.items(), key=lambda item: -item[1]["calls"]))


def say(program, graphs, unit, few, many, runs):
    calls = difference(few, many, runs)
    waits = sum(one["calls"] for name, one in calls.items() if WAITS.fullmatch(name))
    first = many[2][0]["start_ns"] if many[2] else 0
    window = [[call["call"], call["start_ns"] - first, call["ns"]] for call in many[2]]
    print(json.dumps({"program": program, "graphs": graphs, "unit": unit, "runs": runs, "waits": waits, "calls": calls, "window": window}), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=lambda path: Path(path).resolve())
    parser.add_argument("engine", type=lambda path: Path(path).resolve())
    parser.add_argument("--calls", required=True, type=lambda path: Path(path).resolve())
    parser.add_argument("--shape", required=True)
    parser.add_argument("--yardstick", type=lambda path: Path(path).resolve())
    parser.add_argument("--window-after", type=int, default=3000, help="calls of a thread before those that are shown")
    parser.add_argument("--served", type=lambda path: Path(path).resolve(), help="another engine to serve, one that takes batches of 8")
    args = parser.parse_args()
    for graphs in ("off", "on"):
        if args.yardstick:
            base = [args.yardstick, args.engine / "engine.plan", "--shape", args.shape, "--graphs", graphs, "--warmup", WARMUP, "--samples", os.devnull]
            say("yardstick", graphs, "run", *(of_command(args, [*base, "--iterations", runs]) for runs in (FEW, MANY)), MANY - FEW)
        base = [args.program, "bench", args.engine, "--shapes", args.shape, "--streams", 1, "--graphs", graphs, "--warmup", WARMUP]
        say("bench", graphs, "run", *(of_command(args, [*base, "--runs", runs]) for runs in (FEW, MANY)), MANY - FEW)
    args.engine = args.served or args.engine
    for graphs in ("off", "on"):
        (few, least), (many, most) = (of_server(args, graphs, requests) for requests in REQUESTS)
        say("serve", graphs, "batch", few, many, most - least)


if __name__ == "__main__":
    main()
