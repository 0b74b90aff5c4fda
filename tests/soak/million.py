#!/usr/bin/env python3
"""Requests with distinct inputs through batching, several instances and hot reloads, each answer checked.

    cargo build --release && tests/soak/million.py target/release/trt-pipeline

Two models take turns under one name: one adds 1, the other 2. Each answer must be that of exactly
one of them, and of the same one for every answer of its version. A failed, wrong or mixed answer
fails, and so does a server that grows.

With --fault-after a GPU breaks after so many batches: at some moment of all that where there are
several, and behind it where there is one, since nothing is left then. Each request must then have its
right answer or an error that says what happened; the server must say that it is degraded, or not
ready.
"""

import argparse
import json
import sys
import urllib.error
import urllib.request
from pathlib import Path

from soak import adder, bench, level, listening, mib, project, replace

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
FAULT = "TRT_PIPELINE_CUDA_FAULT"
BACKENDS = {
    "cpu": "backend: cpu",
    "tensorrt": "backend: tensorrt, profiles: [{ x: { min: [1, 4], opt: [32, 4], max: [32, 4] } }]",
}
# Requests after which memory is looked at for the first time.
FIRST = 10_000
# The reload under load from which memory is compared, and how much it may grow from there.
SETTLED = 2
GROWTH = 16 << 20
# What a request must not end with: nobody said what became of it.
UNTOLD = {"no connection", "connection lost", "no valid answer", "timeout"}


def get(url):
    """-> status and content."""
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def lost_devices(admin):
    """The devices that the metrics say are lost."""
    lines = get(f"{admin}/metrics")[1].splitlines()
    return {line.split("device=\"")[1].split('"')[0] for line in lines if line.startswith("trt_pipeline_device_up{") and float(line.split()[-1]) == 0}


class Tally:
    """What came of all requests."""

    def __init__(self):
        self.asked = self.answered = self.wrong = self.mixed = 0
        self.errors = {}

    def add(self, found, asked):
        self.asked += asked
        self.answered += found["answered"]
        self.wrong += found["check"]["wrong"]
        self.mixed += found["check"]["mixed"]
        for ending in found["endings"]:
            count, said = self.errors.get(ending["ending"], (0, ending["said"]))
            self.errors[ending["ending"]] = (count + ending["count"], said)

    def told(self):
        return sum(count for ending, (count, _) in self.errors.items() if ending not in UNTOLD)

    def is_good(self, errors_are_right):
        right = self.answered + (self.told() if errors_are_right else 0)
        return right == self.asked and self.wrong == 0 and self.mixed == 0


def served(args, spec, files, settings):
    """-> what a whole run found."""
    tally, load = Tally(), ["--check", "--engine", "build/sum/one", "--engine", "build/sum/two", "--distinct"]
    argv = [args.program, "serve", "p.yaml", "--watch", "--http", "127.0.0.1:0", "--grpc", "off", "--admin", "127.0.0.1:0"]
    with project(spec, files) as folder, listening(argv, folder, settings, may_fail=bool(settings)) as (server, addresses):
        http, admin = (f"http://{addresses[name]}" for name in ("http", "admin"))
        # The links of the build move with every reload; those to `one` and `two` stay.
        concurrency = ["--concurrency", args.concurrency]
        first = min(FIRST, max(1, args.requests // 10))
        tally.add(level(args.program, folder, f"{http}/sum", "--requests", first, *load, *concurrency, patience=3600), first)
        sizes, rest = [server.rss()], args.requests - first
        pace = ["--rate", args.rate] if args.rate else concurrency
        running = bench(args.program, folder, f"{http}/sum", "--requests", rest, *load, *pace)
        running.next("bench_served")
        reloads = 0
        for turn in range(args.reloads):
            if running.process.poll() is not None:
                break
            replace(folder / "model.onnx", files[("one.onnx", "two.onnx")[(turn + 1) % 2]])
            reload = server.next("reload_finished")
            while reload["from"] is None:
                reload = server.next("reload_finished")
            if reload["outcome"] != "accepted":
                sys.exit(f"reload {turn + 1} was refused: {reload}")
            reloads += 1
            sizes.append(server.rss())
            print(f"reload {reloads} of {args.reloads}", file=sys.stderr, flush=True)
        found = running.next("bench_level", 24 * 3600)
        running.process.wait()
        tally.add(found, rest)
        sizes.append(server.rss())
        broken = lost_devices(admin)
        # What is left until a GPU breaks runs in small batches, which are soon over.
        for _ in range(args.pieces if settings and not broken else 0):
            running = bench(args.program, folder, f"{http}/sum", "--requests", args.piece, *load, "--concurrency", 4)
            tally.add(running.next("bench_level", 3600), args.piece)
            running.process.wait()
            broken = lost_devices(admin)
            print(f"{args.piece} requests more: lost devices {sorted(broken)}", file=sys.stderr, flush=True)
            if broken:
                break
        ready = {path: get(f"{http}{path}")[0] for path in ("/v2/health/ready", "/v2/models/sum/ready")}
        state = get(f"{http}/v2/models/sum/ready")[1]
        batches = sum(float(line.split()[-1]) for line in get(f"{admin}/metrics")[1].splitlines() if line.startswith("trt_pipeline_batch_size_count"))
    return {
        "asked": tally.asked,
        "answered": tally.answered,
        "errors": {ending: {"count": count, "said": said} for ending, (count, said) in tally.errors.items()},
        "wrong": tally.wrong,
        "mixed": tally.mixed,
        "is_good": tally.is_good(bool(settings)),
        "reloads": reloads,
        "versions": len(found["check"]["versions"]),
        "under_load": {"asked": rest, "answered": found["answered"], "per_second": found["requests_per_second"], "latency": found["latency"]},
        "rss": sizes,
        "batches_of_last_versions": batches,
        "lost_devices": sorted(broken),
        "ready": ready,
        "state": state,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", type=lambda path: Path(path).resolve())
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--reloads", type=int, default=50)
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--rate", type=int, help="requests a second, whether those before were answered or not, so that the reloads fit in [default: as fast as they are answered]")
    parser.add_argument("--backend", choices=BACKENDS, default="cpu")
    parser.add_argument("--serve", default="", help="more settings of the serve stage, as YAML, with `;` between them: `cuda_graphs: on; devices: all`")
    parser.add_argument("--fault-after", type=int, help="batches after which a GPU breaks; a reload that meets it just then is refused, which fails")
    parser.add_argument("--fault-device", type=int, default=0)
    parser.add_argument("--fault-kind", choices=("error", "kernel"), default="kernel")
    parser.add_argument("--devices", type=int, default=1, help="how many GPUs the server has")
    parser.add_argument("--piece", type=int, default=20_000, help="requests at a time, behind all others, until the GPU breaks")
    parser.add_argument("--pieces", type=int, default=50)
    parser.add_argument("--json", type=Path, help="writes every number to this file")
    args = parser.parse_args()
    more = "".join(f"      {setting.strip()}\n" for setting in args.serve.split(";") if setting)
    spec = SPEC.replace("@", BACKENDS[args.backend]) + more
    numbers = [adder(1), adder(2)]
    files = {"model.onnx": numbers[0], "one.onnx": numbers[0], "two.onnx": numbers[1]}
    fault = f"device={args.fault_device},after={args.fault_after},kind={args.fault_kind}"
    settings = {FAULT: fault} if args.fault_after is not None else {}
    found = served(args, spec, files, settings) | {"fault": fault if settings else None}
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")
    under_load, errors = found["under_load"], {ending: one["count"] for ending, one in found["errors"].items()}
    sizes = found["rss"]
    before, after = sizes[min(SETTLED, len(sizes) - 2)], sizes[-1]
    print(f"{found['asked']} asked, {found['answered']} answered, errors {errors or 'none'}, {found['wrong']} wrong,"
          f" {found['mixed']} mixed, {found['reloads']} reloads under load, {found['versions']} versions seen")
    print(f"{under_load['per_second']:.0f} answers/s with every one checked,"
          f" p50 {under_load['latency']['p50_ms']:.2f} ms, p99 {under_load['latency']['p99_ms']:.2f} ms")
    print(f"memory {mib(sizes[0])} after the first requests, {mib(before)} after reload {min(SETTLED, len(sizes) - 2)} under load, {mib(after)} at the end")
    if settings:
        print(f"fault {fault}: lost devices {found['lost_devices']}, readiness {found['ready']}, {found['state']}")
    for ending, one in found["errors"].items():
        print(f"{ending}: {one['said']}")
    if not found["is_good"]:
        sys.exit("not every request was answered rightly")
    if found["reloads"] < args.reloads:
        sys.exit(f"the load ended after {found['reloads']} of {args.reloads} reloads; give it more requests")
    if args.requests >= 100 * FIRST and after > before + GROWTH:
        sys.exit(f"the server grew by {mib(after - before)}, at most {mib(GROWTH)} are right")
    if settings and found["lost_devices"] != [str(args.fault_device)]:
        sys.exit("the server does not say that it lost the GPU that broke")
    if settings and (found["ready"]["/v2/models/sum/ready"] == 200) != (args.devices > 1):
        sys.exit("the readiness of the model does not fit the GPUs that are left")


main()
