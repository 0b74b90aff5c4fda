#!/usr/bin/env python3
"""Times two programs that run the same engine, in turns, and compares their medians.

    compare.py --yardstick 'yardstick E --warmup {warmup} --iterations {iterations} --samples {samples}' \\
               --ours 'trt-pipeline bench E ... {warmup} {iterations} {samples}' --out result

Each program runs `{warmup}` iterations and then `{iterations}`, and writes the nanoseconds of each of
these to the file `{samples}`, one number a line. Both run once a round, the first of the two changes
each round. Writes OUT.json (every round) and OUT.md (the table), prints the table, and ends with 1 if
the ratio is below --at-least. The ratio is the yardstick's median time over ours: 1 is as fast, 0.98
is 2 % slower. Standard library only.
"""

import argparse
import json
import shlex
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path


def read(samples: Path) -> list[int]:
    """The nanoseconds of each run: a number a line, or the column `run_ns` of a CSV file."""
    lines = samples.read_text().split()
    if lines and not lines[0].isdigit():
        column = lines[0].split(",").index("run_ns")
        lines = [line.split(",")[column] for line in lines[1:]]
    return [int(line) for line in lines]


class Program:
    """One of the two, and what it measured: a list of nanoseconds a round."""

    def __init__(self, name, command):
        self.name, self.command, self.rounds, self.said = name, command, [], None

    def run(self, warmup, iterations, timeout):
        with tempfile.TemporaryDirectory(prefix="compare-") as scratch:
            samples = Path(scratch) / "samples"
            values = {"{warmup}": warmup, "{iterations}": iterations, "{samples}": samples}
            words = shlex.split(self.command)
            for place, value in values.items():
                words = [word.replace(place, str(value)) for word in words]
            done = subprocess.run(words, capture_output=True, text=True, timeout=timeout, check=False)
            command = shlex.join(words)
            if done.returncode != 0:
                sys.exit(f"`{command}` ended with {done.returncode}:\n{done.stdout}{done.stderr}")
            if not samples.exists():
                sys.exit(f"`{command}` wrote no samples; does the command contain {{samples}}?")
            times = read(samples)
        lines = done.stdout.splitlines()
        self.said = lines[-1] if lines else ""
        return times

    @property
    def pooled(self):
        return [time for round_ in self.rounds for time in round_]

    @property
    def medians(self):
        return [statistics.median(round_) for round_ in self.rounds]

    def report(self):
        percentiles = statistics.quantiles(self.pooled, n=100, method="inclusive")
        return {
            "command": self.command,
            "said": self.said,
            "samples": len(self.pooled),
            "median_ns": statistics.median(self.pooled),
            "p5_ns": percentiles[4],
            "p95_ns": percentiles[94],
            "p99_ns": percentiles[98],
            "round_medians_ns": self.medians,
        }


def measure(programs, arguments):
    for index in range(arguments.rounds):
        for program in programs if index % 2 == 0 else programs[::-1]:
            times = program.run(arguments.warmup, arguments.iterations, arguments.timeout)
            if len(times) != arguments.iterations:
                sys.exit(f"{program.name} wrote {len(times)} samples instead of {arguments.iterations}")
            program.rounds.append(times)
        last = ", ".join(f"{p.name} {p.medians[-1] / 1e3:.2f} us" for p in programs)
        print(f"round {index + 1} of {arguments.rounds}: {last}", file=sys.stderr, flush=True)


def result(yardstick, ours, arguments):
    by_round = [theirs / own for theirs, own in zip(yardstick.medians, ours.medians)]
    ratio = statistics.median(yardstick.pooled) / statistics.median(ours.pooled)
    return {
        "label": arguments.label,
        "warmup": arguments.warmup,
        "iterations": arguments.iterations,
        "rounds": arguments.rounds,
        "yardstick": yardstick.report(),
        "ours": ours.report(),
        "ratio": ratio,
        "round_ratios": by_round,
        "at_least": arguments.at_least,
        "met": ratio >= arguments.at_least,
    }


def table(found):
    lines = [
        f"{found['label']}: {found['rounds']} rounds in turns, {found['iterations']} iterations each after {found['warmup']}",
        "",
        "| program | median us | p5 .. p95 us | p99 us | medians of the rounds, us |",
        "|---|--:|--:|--:|--:|",
    ]
    for name in ("yardstick", "ours"):
        row = found[name]
        low, high = min(row["round_medians_ns"]), max(row["round_medians_ns"])
        lines.append(
            f"| {name} | {row['median_ns'] / 1e3:.2f} | {row['p5_ns'] / 1e3:.2f} .. {row['p95_ns'] / 1e3:.2f} "
            f"| {row['p99_ns'] / 1e3:.2f} | {low / 1e3:.2f} .. {high / 1e3:.2f} |"
        )
    low, high = min(found["round_ratios"]), max(found["round_ratios"])
    verdict = "met" if found["met"] else "MISSED"
    lines += [
        "",
        f"Ratio of medians {found['ratio']:.4f} (rounds {low:.4f} .. {high:.4f}), at least {found['at_least']}: {verdict}",
        "",
    ]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--yardstick", required=True, help="command of the yardstick")
    parser.add_argument("--ours", required=True, help="command to hold against it")
    parser.add_argument("--label", default="engine", help="what the report calls the engine and shapes")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--warmup", type=int, default=200)
    parser.add_argument("--iterations", type=int, default=2000)
    parser.add_argument("--timeout", type=float, default=120, help="seconds one run may take")
    parser.add_argument("--at-least", type=float, default=0.98)
    parser.add_argument("--out", type=Path, help="writes OUT.json and OUT.md")
    arguments = parser.parse_args()
    programs = [Program("yardstick", arguments.yardstick), Program("ours", arguments.ours)]
    measure(programs, arguments)
    found = result(*programs, arguments)
    text = table(found)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        Path(f"{arguments.out}.json").write_text(json.dumps(found, indent=1) + "\n")
        Path(f"{arguments.out}.md").write_text(text)
    print(text)
    sys.exit(0 if found["met"] else 1)


if __name__ == "__main__":
    main()
