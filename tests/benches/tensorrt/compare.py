#!/usr/bin/env python3
"""Times two programs that run the same engine, in turns, at several numbers of streams, with CUDA
graphs off and on, and compares them.

    compare.py --yardstick 'yardstick E --streams {streams} --graphs {graphs} --warmup {warmup}
                            --milliseconds {milliseconds} --samples {samples}' \\
               --ours 'trt-pipeline bench E --streams {streams} --graphs {graphs} --warmup {warmup}
                       --duration {milliseconds}ms --dump-latencies {samples} --format json' \\
               --label 'ResNet-50, batch 1' --out result

Each program warms up every stream with so many runs, measures for so long, and writes a CSV file with
the columns `started_ns` and `run_ns` and a line for each run. A round goes through all streams and
graph settings with both programs; the first of the two changes each time. So every ratio is between
runs that were made within seconds of each other; what is told is the median of the rounds and their
spread. Writes OUT.json (every round) and OUT.md (the tables), prints the tables, and ends with 1 if
something is below what is asked for. Standard library only.
"""

import argparse
import csv
import itertools
import json
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

PROGRAMS = ("yardstick", "ours")


@dataclass
class Cell:
    """A number of streams and a setting of graphs, with what each program did there, by round."""

    streams: int
    graphs: str
    rounds: dict = field(default_factory=lambda: {name: [] for name in PROGRAMS})

    def values(self, program, key):
        return [round_[key] for round_ in self.rounds[program]]

    def median(self, program, key):
        return statistics.median(self.values(program, key))

    def paired(self, key, by):
        return [by(ours, theirs) for theirs, ours in zip(*(self.values(name, key) for name in PROGRAMS))]


def spread(values):
    return {"median": statistics.median(values), "low": min(values), "high": max(values), "rounds": values}


def percentile(ascending, percent):
    """Nearest rank."""
    return ascending[max(0, -(-len(ascending) * percent // 100) - 1)]


def read(samples):
    """What the runs of all streams say: from the start of the first to the end of the last."""
    with samples.open(newline="") as file:
        runs = [(int(row["started_ns"]), int(row["run_ns"])) for row in csv.DictReader(file)]
    if not runs:
        sys.exit("a program measured no run")
    took = sorted(run for _, run in runs)
    seconds = (max(start + run for start, run in runs) - min(start for start, _ in runs)) / 1e9
    percentiles = {f"p{percent}_us": percentile(took, percent) / 1e3 for percent in (1, 50, 90, 99)}
    return {"runs": len(runs), "seconds": seconds, "per_second": len(runs) / seconds, **percentiles}


def run(template, cell, arguments):
    with tempfile.TemporaryDirectory(prefix="compare-") as scratch:
        samples = Path(scratch) / "samples"
        values = {
            "{streams}": cell.streams,
            "{graphs}": cell.graphs,
            "{warmup}": arguments.warmup,
            "{milliseconds}": arguments.milliseconds,
            "{samples}": samples,
        }
        words = shlex.split(template)
        for place, value in values.items():
            words = [word.replace(place, str(value)) for word in words]
        done = subprocess.run(words, capture_output=True, text=True, timeout=arguments.timeout, check=False)
        if done.returncode != 0:
            sys.exit(f"`{shlex.join(words)}` ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        if not samples.exists():
            sys.exit(f"`{shlex.join(words)}` wrote no samples; does the command contain {{samples}}?")
        found = read(samples)
    lines = done.stdout.splitlines()
    try:
        found["said"] = json.loads(lines[-1])
    except (IndexError, json.JSONDecodeError):
        found["said"] = lines[-1:]
    return found


def measure(cells, commands, arguments):
    turn, start, longest = 0, time.monotonic(), 0.0
    for round_ in range(arguments.rounds):
        began = time.monotonic()
        if round_ and began - start + longest > arguments.at_most_seconds:
            break
        for cell in cells:
            for name in PROGRAMS if turn % 2 == 0 else PROGRAMS[::-1]:
                cell.rounds[name].append(run(commands[name], cell, arguments))
            turn += 1
        last = ", ".join(f"{c.streams}/{c.graphs} {c.paired('per_second', lambda o, t: o / t)[-1]:.3f}" for c in cells)
        longest = max(longest, time.monotonic() - began)
        print(f"round {round_ + 1} of {arguments.rounds}, ours / yardstick: {last}", file=sys.stderr, flush=True)


def gains(cells, program):
    """Throughput of more streams over that of one, by round; and the latency that graphs save."""
    found = {}
    for cell in cells:
        one = next((c for c in cells if c.streams == 1 and c.graphs == cell.graphs), None)
        if one and cell.streams > 1:
            pairs = zip(cell.values(program, "per_second"), one.values(program, "per_second"))
            found[f"{cell.streams} streams, graphs {cell.graphs}"] = [many / alone for many, alone in pairs]
    single = {cell.graphs: cell for cell in cells if cell.streams == 1}
    if {"off", "on"} <= single.keys():
        pairs = zip(single["off"].values(program, "p50_us"), single["on"].values(program, "p50_us"))
        found["graphs, 1 stream"] = [plain / graph for plain, graph in pairs]
    return found


def result(cells, commands, arguments):
    """-> every number, and what was asked for and whether it was met."""
    measured, asked = [], []

    def ask(what, value, limit, met):
        asked.append({"what": what, "value": value, "limit": limit, "met": met})

    for cell in cells:
        ratio = spread(cell.paired("per_second", lambda ours, theirs: ours / theirs))
        longer = spread(cell.paired("p50_us", lambda ours, theirs: ours - theirs))
        place = f"{cell.streams} stream{'s' * (cell.streams > 1)}, graphs {cell.graphs}"
        measured.append({"streams": cell.streams, "graphs": cell.graphs, "ratio": ratio, "longer_us": longer, **cell.rounds})
        ask(f"throughput over the yardstick's, {place}", ratio["median"], arguments.at_least, ratio["median"] >= arguments.at_least)
        if cell.streams == 1:
            ask(f"p50 latency over the yardstick's in us, {place}", longer["median"], arguments.at_most_us, longer["median"] <= arguments.at_most_us)
    theirs, ours = (gains(cells, name) for name in PROGRAMS)
    gained = {}
    for name in ours:
        share = spread([own / other for own, other in zip(ours[name], theirs[name])])
        gained[name] = {"yardstick": spread(theirs[name]), "ours": spread(ours[name]), "share": share}
        if name.startswith("graphs"):
            if arguments.graphs_at_least:
                value = gained[name]["ours"]["median"]
                ask("latency without graphs over that with, 1 stream", value, arguments.graphs_at_least, value >= arguments.graphs_at_least)
        else:
            ask(f"share of the yardstick's gain, {name}", share["median"], arguments.gain_at_least, share["median"] >= arguments.gain_at_least)
    settings = {key: getattr(arguments, key) for key in ("label", "warmup", "milliseconds")}
    rounds = len(cells[0].rounds["ours"])
    return {**settings, "rounds": rounds, "commands": commands, "cells": measured, "gains": gained, "asked": asked, "met": all(one["met"] for one in asked)}


def table(found, cells):
    lines = [
        f"{found['label']}: {found['rounds']} rounds in turns, each {found['milliseconds']} ms after {found['warmup']} runs of every stream",
        "",
        "| streams | graphs | yardstick runs/s | ours runs/s | ratio of the rounds | yardstick p50, p99 us | ours p50, p99 us | p50 longer by us |",
        "|--:|---|--:|--:|--:|--:|--:|--:|",
    ]
    for cell, row in zip(cells, found["cells"]):
        rates = " | ".join(f"{cell.median(name, 'per_second'):,.0f}" for name in PROGRAMS)
        times = " | ".join(f"{cell.median(name, 'p50_us'):.1f}, {cell.median(name, 'p99_us'):.1f}" for name in PROGRAMS)
        ratio, longer = row["ratio"], row["longer_us"]
        lines.append(
            f"| {cell.streams} | {cell.graphs} | {rates} | {ratio['median']:.4f} ({ratio['low']:.3f} .. {ratio['high']:.3f}) "
            f"| {times} | {longer['median']:+.1f} ({longer['low']:+.1f} .. {longer['high']:+.1f}) |"
        )
    if found["gains"]:
        lines += ["", "| gain of | yardstick | ours | ours / yardstick |", "|---|--:|--:|--:|"]
    for name, gain in found["gains"].items():
        cells_ = (f"{gain[key]['median']:.3f} ({gain[key]['low']:.3f} .. {gain[key]['high']:.3f})" for key in ("yardstick", "ours", "share"))
        lines.append(f"| {name} | " + " | ".join(cells_) + " |")
    missed = [one for one in found["asked"] if not one["met"]]
    lines += ["", f"Asked for {len(found['asked'])} things, {'all met' if not missed else f'{len(missed)} MISSED'}"]
    lines += [f"- MISSED: {one['what']}: {one['value']:.4f} instead of {one['limit']}" for one in missed]
    return "\n".join([*lines, ""])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--yardstick", required=True, help="command of the yardstick")
    parser.add_argument("--ours", required=True, help="command to hold against it")
    parser.add_argument("--label", default="engine", help="what the report calls the engine and shapes")
    parser.add_argument("--streams", default="1,2,4", help="numbers of streams, with commas")
    parser.add_argument("--graphs", default="off,on", help="settings of graphs, with commas")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--warmup", type=int, default=100, help="runs of every stream")
    parser.add_argument("--milliseconds", type=int, default=500)
    parser.add_argument("--at-most-seconds", type=float, default=3600, help="start no round that would not end by then")
    parser.add_argument("--timeout", type=float, default=120, help="seconds one run may take")
    parser.add_argument("--at-least", type=float, default=0.99, help="throughput over the yardstick's")
    parser.add_argument("--at-most-us", type=float, default=5, help="how much longer the median latency of one stream may be")
    parser.add_argument("--gain-at-least", type=float, default=0.98, help="gain of more streams over the yardstick's gain")
    parser.add_argument("--graphs-at-least", type=float, help="latency without graphs over that with")
    parser.add_argument("--out", type=Path, help="writes OUT.json and OUT.md")
    arguments = parser.parse_args()
    commands = {"yardstick": arguments.yardstick, "ours": arguments.ours}
    settings = itertools.product(arguments.streams.split(","), arguments.graphs.split(","))
    cells = [Cell(int(streams), graphs) for streams, graphs in settings]
    measure(cells, commands, arguments)
    found = result(cells, commands, arguments)
    text = table(found, cells)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        Path(f"{arguments.out}.json").write_text(json.dumps(found, indent=1) + "\n")
        Path(f"{arguments.out}.md").write_text(text)
    print(text)
    sys.exit(0 if found["met"] else 1)


if __name__ == "__main__":
    main()
