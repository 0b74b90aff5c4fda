#!/usr/bin/env python3
"""Requests with distinct inputs through batching, several instances and hot reloads, each answer checked.

    cargo build --release && tests/soak/million.py target/release/trt-pipeline

Two models take turns under one name: one adds 1, the other 2. Each answer must be that of exactly
one of them, and of the same one for every answer of its version. A failed, wrong or mixed answer
fails, and so does a server that grows.
"""

import argparse
import sys
from pathlib import Path

from soak import adder, bench, level, mib, project, replace, serving

SPEC = """\
version: 1
name: sum
stages:
  onnx: { convert: { model: model.onnx } }
  engine: { build: { from: onnx, @ } }
  one: { build: { from: { file: one.onnx, kind: model }, @ } }
  two: { build: { from: { file: two.onnx, kind: model }, @ } }
  api:
    serve:
      from: engine
      instances: 2
      batching: { max_batch: 32, max_delay_ms: 0.5 }
      reload: { watch_seconds: 1 }
"""
BACKENDS = {
    "cpu": "backend: cpu",
    "tensorrt": "backend: tensorrt, profiles: [{ x: { min: [1, 4], opt: [32, 4], max: [32, 4] } }]",
}
# Requests after which memory is looked at for the first time, and how much it may grow from there.
FIRST = 10_000
GROWTH = 16 << 20


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", type=lambda path: Path(path).resolve())
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--reloads", type=int, default=50)
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--backend", choices=BACKENDS, default="cpu")
    args = parser.parse_args()
    spec = SPEC.replace("@", BACKENDS[args.backend])
    numbers = [adder(1), adder(2)]
    files = {"model.onnx": numbers[0], "one.onnx": numbers[0], "two.onnx": numbers[1]}
    with project(spec, files) as folder, serving(args.program, folder, "--watch") as (server, address):
        url = f"{address}/sum"
        # The links of the build move with every reload; these stay.
        check = ["--check", "--engine", "build/sum/one", "--engine", "build/sum/two", "--distinct"]
        load = ["--concurrency", args.concurrency, *check]
        first = min(FIRST, max(1, args.requests // 10))
        level(args.program, folder, url, "--requests", first, *load, patience=3600)
        before = server.rss()
        running = bench(args.program, folder, url, "--requests", args.requests - first, *load)
        running.next("bench_served")
        reloads = 0
        for turn in range(args.reloads):
            if running.process.poll() is not None:
                break
            replace(folder / "model.onnx", numbers[(turn + 1) % 2])
            reload = server.next("reload_finished")
            while reload["from"] is None:
                reload = server.next("reload_finished")
            if reload["outcome"] != "accepted":
                sys.exit(f"reload {turn + 1} was refused: {reload}")
            reloads += 1
        found = running.next("bench_level", 24 * 3600)
        status = running.process.wait()
        after = server.rss()
    check = found["check"]
    print(f"{first + found['answered']} answered, {found['failed']} failed, {found['refused']} refused,"
          f" {check['wrong']} wrong, {check['mixed']} mixed, {reloads} reloads under load,"
          f" {len(check['versions'])} versions seen")
    latency = found["latency"]
    print(f"{found['requests_per_second']:.0f} answers/s with every one checked,"
          f" p50 {latency['p50_ms']:.2f} ms, p99 {latency['p99_ms']:.2f} ms")
    print(f"memory {mib(before)} after {first} requests, {mib(after)} at the end")
    if status != 0 or found["refused"] or found["answered"] != args.requests - first:
        sys.exit(f"not every request was answered rightly: {found['endings']} {check['first']}")
    if reloads < args.reloads:
        sys.exit(f"the load ended after {reloads} of {args.reloads} reloads; give it more requests")
    if args.requests >= 100 * FIRST and after > before + GROWTH:
        sys.exit(f"the server grew by {mib(after - before)}, at most {mib(GROWTH)} are right")


main()
