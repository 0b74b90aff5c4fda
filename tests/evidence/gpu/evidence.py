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
    for name in ("TOOLS", "TENSORRT_LIBS", "OUT", "WORK"):
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


def converted(arguments):
    """Conversions with how they compare with PyTorch, and whether TensorRT takes the program's."""
    passed, data, text = stages(arguments)
    started = next((event for event in json_lines(arguments.raw / "events.jsonl") if event["event"] == "run_started"), None)
    if started is None:
        return passed, data, text
    conversions = {}
    for stage in ("script", "weights", "program"):
        path = arguments.links / started["pipeline"] / stage / "convert.json"
        described = json.loads(path.read_text()) if path.exists() else {}
        conversions[stage] = {key: described.get(key) for key in ("opset", "source", "comparison")}
        passed = passed and bool(conversions[stage]["comparison"])
    program = finished(arguments.raw / "program.jsonl")
    told = table(
        ["of the program", "outcome", "reason"],
        [[stage, event["outcome"], event["reason"] or ""] for stage, event in program.items()],
        ["---", "---", "---"],
    )
    compared = json.dumps(conversions, indent=1)
    return passed, {**data, "conversions": conversions, "program": program}, f"{text}\n\n```json\n{compared}\n```\n\n{told}"


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


def growth(cycles, slacks):
    """-> whether nothing grew, and a table. `slacks` says how many bytes each number may grow by."""
    rows, passed = [], True
    for name, slack in slacks.items():
        values = [cycle[name] for cycle in cycles]
        if None in values:
            rows.append([name, "unknown", "unknown", "unknown", f"{slack / 2**20:.0f}"])
            passed = False
            continue
        # The first cycles fill caches of the driver and the C library.
        early, late = statistics.median(values[20:40]), statistics.median(values[-20:])
        rows.append([name, f"{early / 2**20:.2f}", f"{late / 2**20:.2f}", f"{(late - early) / 2**20:+.2f}", f"{slack / 2**20:.0f}"])
        passed = passed and late - early <= slack
    return passed, table(["MiB after the unload", "cycles 21 to 40", "last 20", "growth", "allowed"], rows, ["---", "--:", "--:", "--:", "--:"])


def leaks(arguments):
    """Lines with `cycle`, and after its unload `device_used` and `rss` of the whole process and
    `accounted`, the bytes that the product says are still allocated."""
    cycles = [line for line in json_lines(arguments.raw / "cycles.jsonl") if "cycle" in line]
    if len(cycles) < 100:
        return False, {}, f"Only {len(cycles)} cycles."
    passed, text = growth(cycles, {"device_used": 0, "rss": RSS_SLACK})
    worst = max(cycle["accounted"] for cycle in cycles)
    return passed and worst == 0, {"cycles": cycles}, f"{len(cycles)} cycles; most bytes still accounted for after an unload: {worst}\n\n{text}"


def reloads(arguments):
    """`leaks`, and the same of a server that changes its model under load."""
    passed, data, text = leaks(arguments)
    lines = json_lines(arguments.raw / "hot.jsonl")
    hot, ends = [line for line in lines if "cycle" in line], [line for line in lines if "answered" in line]
    if len(hot) < 100 or not ends:
        return False, data | {"hot": hot}, f"{text}\n\nOnly {len(hot)} hot reloads."
    level, hot_text = growth(hot, {"device_used": 0, "rss": 2 * RSS_SLACK})
    about = f"{len(hot)} hot reloads of a server under load, {ends[0]['answered']:,} requests answered and none failed"
    return passed and level, data | {"hot": hot, "answered": ends[0]["answered"]}, f"{text}\n\n{about}\n\n{hot_text}"


def speed(arguments):
    path = arguments.raw / "compared.json"
    if not path.exists():
        return False, {}, "The comparison did not end."
    found, same = json.loads(path.read_text()), (arguments.raw / "same.txt").read_text()
    return found["met"], {"same": same.splitlines(), "comparison": found}, f"Answers of both:\n\n```\n{same}```\n\n{path.with_suffix('.md').read_text()}"


def calls(arguments):
    """A run may wait once for the GPU."""
    found = json_lines(arguments.raw / "calls.jsonl")
    if len(found) != 6:
        return False, {"measured": found}, f"Only {len(found)} of 6 were measured."
    summary = table(
        ["program", "graphs", "unit", "waits a unit"],
        [[one["program"], one["graphs"], one["unit"], f"{one['waits']:.3f}"] for one in found],
        ["---", "---", "---", "--:"],
    )
    texts = [summary]
    for one in found:
        rows = [[name, f"{call['calls']:.3f}", f"{call['ns'] / 1e3:.2f}"] for name, call in one["calls"].items()]
        texts.append(f"## {one['program']}, graphs {one['graphs']}: calls of the CUDA driver a {one['unit']}\n\n" + table(["function", "calls", "us each"], rows, ["---", "--:", "--:"]))
        rows = [[f"{start / 1e3:.1f}", name, f"{took / 1e3:.1f}"] for name, start, took in one["window"][:40]]
        texts.append("Calls of one thread, in order:\n\n" + table(["at us", "function", "us"], rows, ["--:", "---", "--:"]))
    passed = all(one["waits"] <= 1.01 for one in found if one["program"] != "yardstick")
    return passed, {"measured": found}, "\n\n".join(texts)


def best_level(events, transport, model):
    """The level of a concurrency with the highest median, in the middle of its rounds."""
    levels = {}
    for event in events:
        if event["event"] == "level" and (event["transport"], event["model"]) == (transport, model):
            levels.setdefault(event["concurrency"], []).append(event)
    rounds = max(levels.values(), key=lambda found: statistics.median(one["per_second"] for one in found))
    rate = statistics.median(one["per_second"] for one in rounds)
    return rate, min(rounds, key=lambda one: abs(one["per_second"] - rate)), [one["per_second"] for one in rounds]


def served(arguments):
    """What is served against the smaller of the engine in process and the transport's ceiling; and how
    the share comes about: how fast batches of that size run in all instances, and how much of the
    time instances have one."""
    events = json_lines(arguments.raw / "served.jsonl")
    settings = next((event for event in events if event["event"] == "settings"), None)
    halves = [event for event in events if event["event"] == "half_load"]
    if settings is None or len(halves) != 3:
        return False, {"events": events}, "The measurement did not end."
    alone = [event for event in events if event["event"] == "in_process"]
    best = max(event["samples_per_second"] for event in alone)
    wrong = sum(event["wrong"] for event in events if event["event"] == "checked")
    passed, shares, explained, phases = wrong == 0, [], [], []
    for transport in [event["transport"] for event in halves]:
        rate, level, rounds = best_level(events, transport, "resnet50")
        ceiling, _, _ = best_level(events, transport, "identity")
        limit = min(best, ceiling)
        passed = passed and rate >= 0.85 * limit
        shares.append([transport, f"{best:,.0f}", f"{ceiling:,.0f}", f"{rate:,.0f} ({min(rounds):,.0f} .. {max(rounds):,.0f})", f"{100 * rate / limit:.1f} %", "met" if rate >= 0.85 * limit else "MISSED"])
        server = level["server"]
        batch_ms = sum(server["batch_ms"].values())
        speed_ = settings["instances"] * server["mean_batch"] / batch_ms * 1e3
        busy = rate / speed_
        requests = server["executions"] * server["mean_batch"]
        explained.append([
            transport, level["concurrency"], f"{server['mean_batch']:.1f}", *(f"{server['batch_ms'][part]:.2f}" for part in ("upload", "compute", "download")),
            f"{100 * speed_ / best:.1f} %", f"{100 * busy:.1f} %",
            f"{server['server_cpu_seconds'] / requests * 1e6:.0f}", f"{level['client_cpu_seconds'] / requests * 1e6:.0f}",
        ])
        phases.append([transport, *(f"{server['phases_ms'].get(name, 0):.2f}" for name in ("parse", "queue", "upload", "compute", "download", "encode", "total")), f"{level['p50_ms']:.2f}", f"{level['p99_ms']:.2f}"])
    rows = []
    for half in halves:
        compute = half["server"]["phases_ms"]["compute"]
        bound = compute + half["delay_ms"] + 2
        passed = passed and half["p99_ms"] <= bound
        rows.append([
            half["transport"], f"{half['rate']:,.0f}", f"{half['per_second']:,.0f}", f"{half['server']['mean_batch']:.1f}", f"{half['p50_ms']:.2f}", f"{half['p99_ms']:.2f}",
            f"{compute:.2f} + {half['delay_ms']:g} + 2 = {bound:.2f}", "met" if half["p99_ms"] <= bound else "MISSED",
        ])
    right, number = "--:", ["--:"] * 12
    text = "\n\n".join([
        f"{settings['instances']} instances, batches up to {settings['max_batch']}, delay {settings['delay_ms']:g} ms, CUDA graphs {settings['graphs']}; the server has processors {settings['server_cores']}, the client {settings['client_cores']}. {wrong} wrong answers.",
        table(["batch", "streams", "images/s in process", "p50 ms"], [[event["batch"], event["streams"], f"{event['samples_per_second']:,.0f}", f"{event['p50_ms']:.2f}"] for event in alone], [right] * 4),
        table(["transport", "in process", "transport alone", "served", "of the smaller", ">= 85 %"], shares, ["---", *number[:4], "---"]),
        "Share of the best in process = what the instances would reach with these batches, were they always busy, times how busy they are:",
        table(["transport", "concurrency", "mean batch", "upload ms", "compute ms", "download ms", "of the best, if busy", "busy", "server CPU us/request", "client CPU us/request"], explained, ["---", *number[:9]]),
        "Mean milliseconds of a request in each phase, and as the client saw it:",
        table(["transport", "parse", "queue", "upload", "compute", "download", "encode", "total", "client p50", "client p99"], phases, ["---", *number[:9]]),
        "At half of what is served, requests come at random:",
        table(["transport", "asked/s", "answered/s", "mean batch", "p50 ms", "p99 ms", "compute + delay + 2 ms", "p99 within"], rows, ["---", *number[:6], "---"]),
    ])
    return passed, {"events": events}, text


def scaling(arguments):
    """Images a second on several GPUs over as many times those on one, round by round."""
    rounds = {}
    for line in json_lines(arguments.raw / "scaling.jsonl"):
        rounds.setdefault(line["round"], {})[line["gpus"]] = line["samples_per_second"]
    whole = [found for found in rounds.values() if 1 in found and len(found) == max(map(len, rounds.values()))]
    counts = sorted(whole[0]) if whole else []
    rows, passed = [], len(counts) > 1
    for count in counts:
        rates = [found[count] for found in whole]
        shares = [found[count] / (count * found[1]) for found in whole]
        passed = passed and statistics.median(shares) >= 0.95
        rows.append([count, f"{statistics.median(rates):,.0f}", f"{statistics.median(shares):.3f} ({min(shares):.3f} .. {max(shares):.3f})"])
    text = table(["GPUs", "images/s", "of linear"], rows, ["--:"] * 3)
    return passed, {"rounds": rounds}, f"{len(whole)} rounds in turns, medians; 0.95 of linear is asked for.\n\n{text}"


def graph_memory(arguments):
    """MiB by the number of graphs, and what a graph takes more than none."""
    rows, data, passed = [], {}, True
    for engine in ("encoder", "resnet50"):
        lines = json_lines(arguments.raw / f"{engine}.jsonl")
        data[engine] = lines
        passed = passed and bool(lines)
        plain = [line["device_used"] for line in lines if not line["graphs"]]
        for count in sorted({line["graphs"] for line in lines}):
            found = [line for line in lines if line["graphs"] == count]
            used = statistics.median(line["device_used"] for line in found)
            own = (used - statistics.median(plain)) / count / 1024 if count else 0
            rows.append([engine, count, f"{used / 2**20:.1f}", f"{own:.0f}", json.dumps(found[-1]["counted"])])
    text = table(["engine", "graphs", "device MiB", "KiB a graph", "bytes that the server counts"], rows, ["---", "--:", "--:", "--:", "---"])
    return passed, data, text


def soak(arguments):
    text = (arguments.raw / "soak.txt").read_text() if (arguments.raw / "soak.txt").exists() else ""
    paths = sorted(arguments.raw.glob("*.json"))
    found = {path.stem: json.loads(path.read_text()) for path in paths}
    return bool(found) and all(one["is_good"] for one in found.values()), {"found": found}, f"```\n{text}```"


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


STEPS = {
    "doctor": doctor,
    "digits": stages,
    "models": stages,
    "precision": stages,
    "timing-cache": timing_cache,
    "leaks": leaks,
    "serve": serve,
    "engines": stages,
    "speed-thin": speed,
    "speed-resnet50": speed,
    "speed-encoder": speed,
    "calls": calls,
    "served": served,
    "scaling": scaling,
    "reloads": reloads,
    "graph-memory": graph_memory,
    "soak": soak,
    **{f"convert-{net}": converted for net in ("resnet18", "resnet50", "mobilenet_v3", "vit_b_16", "encoder")},
}


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
