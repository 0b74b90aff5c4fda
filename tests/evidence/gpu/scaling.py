#!/usr/bin/env python3
"""Measures how an engine's throughput in process grows with the number of GPUs:

    scaling.py PROGRAM ENGINE [--batch 32] [--streams 2] [--rounds 5] [--milliseconds 2000]

1, 2, 4, .. GPUs of this machine in turns, each round in the opposite order of the one before. One JSON
object a line: `round` with images a second. Standard library only.
"""

import argparse
import json
import subprocess
import sys


def gpus():
    listed = subprocess.run(["nvidia-smi", "--list-gpus"], stdout=subprocess.PIPE, text=True, check=True).stdout
    return len(listed.splitlines())


def measured(args, count):
    """-> images a second on the first `count` GPUs."""
    words = [args.program, "bench", args.engine, "--batch", args.batch, "--streams", args.streams, "--graphs", args.graphs]
    words += ["--devices", ",".join(map(str, range(count))), "--warmup", "20", "--duration", f"{args.milliseconds}ms", "--format", "json"]
    ran = subprocess.run(list(map(str, words)), stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(ran.stdout.splitlines()[-1])["samples_per_second"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("engine")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--streams", type=int, default=2)
    parser.add_argument("--graphs", default="auto")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--milliseconds", type=int, default=2000)
    args = parser.parse_args()
    there = gpus()
    counts = [1 << power for power in range(there.bit_length()) if 1 << power <= there]
    if len(counts) < 2:
        sys.exit(f"this machine has {there} GPU: there is nothing to compare")
    for number in range(args.rounds):
        for count in counts if number % 2 == 0 else reversed(counts):
            line = {"event": "round", "round": number, "gpus": count, "samples_per_second": measured(args, count)}
            print(json.dumps(line), flush=True)


main()
