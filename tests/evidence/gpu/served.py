#!/usr/bin/env python3
"""Serves an engine of the digits network over HTTP and measures it in closed loops, every answer
checked against the engine in the client: one JSON line a concurrency and number of instances."""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "soak"))

from soak import level, project, serving

SPEC = """\
version: 1
name: served
stages:
  api:
    serve: {{ from: {{ file: {engine}, kind: engine }}, instances: {instances}, batching: {{ max_batch: 32 }} }}
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", type=lambda path: Path(path).resolve())
    parser.add_argument("engine", type=lambda path: Path(path).resolve())
    parser.add_argument("--seconds", type=float, default=5)
    args = parser.parse_args()
    for instances in (1, 2):
        spec = SPEC.format(engine=args.engine, instances=instances)
        with project(spec, {}) as folder, serving(args.program, folder) as (_server, address):
            for concurrency in (1, 8, 32):
                words = ["--concurrency", concurrency, "--duration", f"{args.seconds:g}s", "--batch", 1]
                check = ["--check", "--engine", args.engine]
                level(args.program, folder, f"{address}/served", *words, "--requests", 1000, *check)
                found = level(args.program, folder, f"{address}/served", *words)
                print(json.dumps(found | {"instances": instances}), flush=True)


if __name__ == "__main__":
    main()
