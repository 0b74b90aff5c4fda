#!/usr/bin/env python3
"""Turns what a step of run.sh left behind into evidence: OUT/STEP.md for people, OUT/STEP.json for
programs. Ends with 1 if the step did not pass. Standard library only."""

import argparse
import ctypes
import hashlib
import json
import os
import platform
import statistics
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

# What a process may still grow by over the last cycles: the allocator's own slack.
RSS_SLACK = 2 << 20


def said(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""


def tensorrt_version():
    for name in ("libnvinfer.so.8", "libnvinfer.so.10", "libnvinfer.so.11"):
        path = Path(os.environ.get("TENSORRT_LIBS", ".")) / name
        if path.exists():
            return f"{name}, getInferLibVersion() {ctypes.CDLL(str(path)).getInferLibVersion()}"
    return "no libnvinfer in TENSORRT_LIBS"


def facts():
    """What the numbers depend on."""
    program = Path(os.environ["TRT_PIPELINE"])
    processor = [line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    query = "name,driver_version,memory.total,compute_cap,clocks.max.sm"
    return {
        "commit": os.environ["COMMIT"],
        "program": said(str(program), "--version"),
        "program sha256": hashlib.sha256(program.read_bytes()).hexdigest() if program.exists() else "",
        "tensorrt": tensorrt_version(),
        "gpu": said("nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"),
        "cpu": f"{processor[0] if processor else platform.machine()}, {os.cpu_count()} cores",
        "system": f"{platform.system()} {platform.release()}, glibc {platform.libc_ver()[1]}",
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def without_places(text):
    """Folders of this machine by the names of what is in them."""
    root = str(Path(__file__).resolve().parents[3])
    for name in ("YARDSTICK", "TENSORRT_LIBS", "OUT", "WORK"):
        if os.environ.get(name):
            text = text.replace(os.environ[name], f"${name}")
    return text.replace(f"{root}/", "")


def json_lines(path):
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines if line.startswith("{")]


def finished(path):
    return {event["stage"]: event for event in json_lines(path) if event["event"] == "stage_finished"}


def table(head, rows, align):
    cells = [[str(cell) for cell in row] for row in [head, align, *rows]]
    return "\n".join("| " + " | ".join(row) + " |" for row in cells)


def stages(arguments):
    """Builds and validations of one pipeline run."""
    events = arguments.raw / "events.jsonl"
    started = next((event for event in json_lines(events) if event["event"] == "run_started"), None)
    if started is None:
        return False, {}, "The run did not start."
    outcomes, reports = finished(events), {}
    for stage, event in outcomes.items():
        report = arguments.links / started["pipeline"] / stage / "report.json"
        if report.exists() and event["outcome"] in ("built", "cached"):
            reports[stage] = json.loads(report.read_text())
    built = table(
        ["stage", "outcome", "seconds", "reason"],
        [[stage, event["outcome"], f"{event['seconds'] or 0:.2f}", event["reason"] or ""] for stage, event in outcomes.items()],
        ["---", "---", "--:", "---"],
    )
    gates = table(
        ["stage", "gate", "value", "limit", "verdict"],
        [
            [stage, f"{gate['name']} {gate['output'] or ''}", f"{gate['value']:.4g}", f"{gate['limit']:.4g}", "passed" if gate["passed"] else "FAILED"]
            for stage, report in reports.items()
            for gate in report["gates"]
        ],
        ["---", "---", "--:", "--:", "---"],
    )
    passed = set(started["stages"]) == set(outcomes) and all(event["outcome"] in ("built", "cached") for event in outcomes.values())
    return passed, {"stages": outcomes, "reports": reports}, f"{built}\n\n{gates}"


def timing_cache(arguments):
    first, second = finished(arguments.raw / "first.jsonl"), finished(arguments.raw / "second.jsonl")
    engines = [stage for stage in ("resnet50", "encoder") if stage in first and stage in second]
    rows = [(stage, first[stage]["seconds"], second[stage]["seconds"]) for stage in engines]
    text = table(
        ["engine", "first build, s", "second build, s", "second / first"],
        [[stage, f"{cold:.2f}", f"{warm:.2f}", f"{warm / cold:.2f}"] for stage, cold, warm in rows],
        ["---", "--:", "--:", "--:"],
    )
    both_built = all(run[stage]["outcome"] == "built" for run in (first, second) for stage in engines)
    passed = len(rows) == 2 and both_built and all(warm < cold for _, cold, warm in rows)
    return passed, {"engines": {stage: {"first": cold, "second": warm} for stage, cold, warm in rows}}, text


def leaks(arguments):
    """Lines with `cycle`, and after its unload `device_used` and `rss` of the whole process and
    `accounted`, the bytes that the product says are still allocated."""
    cycles = [line for line in json_lines(arguments.raw / "cycles.jsonl") if "cycle" in line]
    if len(cycles) < 100:
        return False, {}, f"Only {len(cycles)} cycles."
    rows, passed = [], all(cycle["accounted"] == 0 for cycle in cycles)
    for name, slack in (("device_used", 0), ("rss", RSS_SLACK)):
        values = [cycle[name] for cycle in cycles]
        # The first cycles fill caches of the driver and the C library.
        early, late = statistics.median(values[20:40]), statistics.median(values[-20:])
        rows.append([name, f"{early / 2**20:.2f}", f"{late / 2**20:.2f}", f"{(late - early) / 2**20:+.2f}", f"{slack / 2**20:.0f}"])
        passed = passed and late - early <= slack
    text = table(["MiB after the unload", "cycles 21 to 40", "last 20", "growth", "allowed"], rows, ["---", "--:", "--:", "--:", "--:"])
    worst = max(cycle["accounted"] for cycle in cycles)
    return passed, {"cycles": cycles}, f"{len(cycles)} cycles; most bytes still accounted for after an unload: {worst}\n\n{text}"


def overhead(arguments):
    found = [json.loads(path.read_text()) for path in sorted(arguments.raw.glob("*.json"))]
    texts = [path.read_text() for path in sorted(arguments.raw.glob("*.md"))]
    rows = [[one["label"], f"{one['yardstick']['median_ns'] / 1e3:.2f}", f"{one['ours']['median_ns'] / 1e3:.2f}", f"{one['ratio']:.4f}", "met" if one["met"] else "MISSED"] for one in found]
    text = table(["engine, batch", "yardstick us", "ours us", "ratio", ">= 0.98"], rows, ["---", "--:", "--:", "--:", "---"])
    return bool(found) and all(one["met"] for one in found), {"comparisons": found}, "\n\n".join([text, *texts])


def serve(arguments):
    reloads = (arguments.raw / "reloads.txt").read_text() if (arguments.raw / "reloads.txt").exists() else ""
    levels = [line for line in json_lines(arguments.raw / "levels.jsonl") if line["event"] == "bench_level"]
    rows = [
        [level["instances"], level["concurrency"], f"{level['requests_per_second']:,.0f}", *(f"{level['latency'][p] * 1e3:,.0f}" for p in ("p50_ms", "p99_ms")), level["failed"]]
        for level in levels
    ]
    text = table(["instances", "concurrency", "requests/s", "p50 us", "p99 us", "failed"], rows, ["--:"] * 6)
    passed = len(levels) == 6 and all(level["failed"] == 0 for level in levels)
    return passed, {"reloads": reloads.splitlines(), "levels": levels}, f"```\n{reloads}```\n\n{text}"


def doctor(arguments):
    text = (arguments.raw / "doctor.txt").read_text() if (arguments.raw / "doctor.txt").exists() else ""
    return bool(text), {"doctor": json_lines(arguments.raw / "doctor.jsonl")}, f"```\n{text}```"


STEPS = {"doctor": doctor, "digits": stages, "models": stages, "precision": stages, "timing-cache": timing_cache, "leaks": leaks, "serve": serve, "overhead": overhead}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", choices=STEPS)
    parser.add_argument("--raw", type=Path, required=True, help="what the step wrote")
    parser.add_argument("--links", type=Path, required=True, help="the build/ folder beside the specs")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--status", type=int, required=True, help="what the step ended with")
    parser.add_argument("--seconds", type=int, required=True)
    arguments = parser.parse_args()
    passed, data, text = STEPS[arguments.step](arguments)
    passed = passed and arguments.status == 0
    commands = (arguments.raw / "commands").read_text() if (arguments.raw / "commands").exists() else ""
    about = facts()
    result = {
        "step": arguments.step,
        "passed": passed,
        "status": arguments.status,
        "seconds": arguments.seconds,
        "facts": about,
        "commands": commands.splitlines(),
        **data,
    }
    verdict = "passed" if passed else f"FAILED (status {arguments.status})"
    listed = "\n".join(f"- {name}: {value}" for name, value in about.items())
    page = f"# {arguments.step}: {verdict}, {arguments.seconds} s\n\n{listed}\n\n```sh\n{commands}```\n\n{text}\n"
    (arguments.out / f"{arguments.step}.json").write_text(without_places(json.dumps(result, indent=1)) + "\n")
    (arguments.out / f"{arguments.step}.md").write_text(without_places(page))
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
