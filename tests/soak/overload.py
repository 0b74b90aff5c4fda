#!/usr/bin/env python3
"""Ten times the requests that a server can answer: what still gets answers, how fast the rest is refused.

    cargo build --release && tests/soak/overload.py target/release/trt-pipeline

The capacity is that of a closed loop; then an open loop of ten times its rate comes, a Poisson
process; then one request at a time again. Failed and wrong answers fail; times are printed.
"""

import argparse
import sys
import threading
import time
from pathlib import Path

from soak import bench, level, mib, milliseconds, mlp, project, serving

SPEC = """\
version: 1
name: wide
stages:
  onnx: { convert: { model: model.onnx } }
  engine: { build: { from: onnx } }
  api: { serve: { from: engine, queue: { limit: 64 } } }
"""
TIMES = 10
# Most requests without an answer: several times what may wait.
OUTSTANDING = 512
# A network that computes for a millisecond: what refusing costs shows in the goodput of one that
# computes for less than ten refusals take.
SIZES = [2048, 2048, 2048, 10]


def highest(server, stop, out):
    """The most memory that the server has until it is told to stop."""
    while not stop.wait(0.05):
        out[0] = max(out[0], server.rss())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", type=lambda path: Path(path).resolve())
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="widths of the network's layers")
    args = parser.parse_args()
    long, check = ["--duration", f"{args.seconds:g}s"], ["--check", "--engine", "build/wide/engine"]
    with project(SPEC, {"model.onnx": mlp(args.sizes)}) as folder, serving(args.program, folder) as (server, address):
        def measure(*words):
            return level(args.program, folder, f"{address}/wide", *words, patience=600 + args.seconds)

        idle = measure("--concurrency", 1, "--duration", "2s", *check)
        peak = measure("--concurrency", 8, *long)
        before = server.rss()
        stop, most = threading.Event(), [before]
        watcher = threading.Thread(target=highest, args=(server, stop, most), daemon=True)
        watcher.start()
        rate = TIMES * peak["requests_per_second"]
        storm = measure("--rate", f"{rate:.1f}", "--concurrency", OUTSTANDING, *long, *check)
        ended = time.monotonic()
        calm = measure("--concurrency", 1, "--requests", 1, "--warmup", 0, *check)
        recovered = time.monotonic() - ended
        stop.set()
        watcher.join()
        again = measure("--concurrency", 1, "--duration", "2s", *check)
        after = server.rss()
    goodput = storm["requests_per_second"] / peak["requests_per_second"]
    print(f"capacity {peak['requests_per_second']:.0f} answers/s at 8 at a time")
    print(f"offered {rate:.0f} requests/s: {storm['requests_per_second']:.0f} answers/s, {goodput:.0%} of the capacity"
          f" (to reach: 90%); {storm['refused']} refused, {storm['unsent']} not made for want of a free caller")
    print(f"refusals: p50 {milliseconds(storm['refusals'], 'p50_ms')}, p99 {milliseconds(storm['refusals'], 'p99_ms')}"
          f" (to reach: less than 10 ms); made late by p99 {milliseconds(storm['late'], 'p99_ms')}")
    print(f"answers meanwhile: p50 {milliseconds(storm['service'], 'p50_ms')},"
          f" p99 {milliseconds(storm['service'], 'p99_ms')}")
    print(f"one at a time: p50 {milliseconds(idle['latency'], 'p50_ms')} before,"
          f" {milliseconds(again['latency'], 'p50_ms')} after; the first answer {recovered:.2f} s after the load ended,"
          f" start of the load generator included (to reach: 1 s)")
    print(f"memory {mib(before)} before, {mib(most[0])} at most, {mib(after)} after")
    for part in (idle, peak, storm, calm, again):
        if part["failed"] or part["check"] and (part["check"]["wrong"] or part["check"]["mixed"]):
            sys.exit(f"failed or wrong: {part['endings']} {part['check']}")
    if not storm["refused"] and args.seconds >= 10:
        sys.exit("nothing was refused: this was no overload")


main()
