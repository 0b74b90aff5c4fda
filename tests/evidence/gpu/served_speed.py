#!/usr/bin/env python3
"""Serves a ResNet-50 and a model that only takes and gives as many bytes, and measures how near the
served ResNet comes to what holds it: the engine in process at its best batch, and the transport.

    served_speed.py PROGRAM ENGINE IDENTITY --replay REPLAY

Requests are of one image; over gRPC, over HTTP with binary tensors, and with tensors in system shared
memory (sent by tests/benches/serving/replay.c). One JSON object a line: `in_process`, `checked`,
`level`, `half_load`; each level with what the server says of its phases and batches meanwhile.
Standard library only.
"""

import argparse
import array
import contextlib
import json
import os
import random
import re
import resource
import statistics
import struct
import subprocess
import sys
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "soak"))

from soak import ENVIRONMENT, listening, project

SHAPE = (1, 3, 224, 224)
IMAGE, CLASSES = 3 * 224 * 224, 1000
ANSWER = 4 * CLASSES
TRANSPORTS = ("grpc", "http", "shared-memory")
REGION = "images"
# What halves of different batches may differ by, of the largest value.
TOLERANCE = 0.02
SPEC = """\
version: 1
name: speed
stages:
  resnet50: {{ serve: {{ name: resnet50, from: {{ file: "{engine}", kind: engine }}, {settings} }} }}
  identity: {{ serve: {{ name: identity, from: {{ file: "{identity}", kind: engine }}, {settings} }} }}
"""
SETTINGS = "instances: {instances}, batching: {{ max_batch: {max_batch}, max_delay_ms: {delay_ms:g} }}, queue: {{ limit: 8192 }}, cuda_graphs: \"{graphs}\""


def halves():
    """-> two lists of processors, as of taskset, that share no core."""
    allowed = os.sched_getaffinity(0)
    cores = sorted({
        tuple(sorted({*expanded(Path(f"/sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list").read_text())} & allowed))
        for number in allowed
    })
    half = len(cores) // 2
    return [",".join(str(number) for core in part for number in core) for part in (cores[:half], cores[half:])]


def expanded(text):
    """`0-2,8` as numbers."""
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def say(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


def fetch(address, path, body=None, headers=None):
    data = json.dumps(body).encode() if isinstance(body, dict) else body
    request = urllib.request.Request(f"http://{address}{path}", data, headers or {}, method="POST" if data is not None else "GET")
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read(), answer.headers


def last_event(words, name, cores):
    command = ["taskset", "--cpu-list", cores, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, env=ENVIRONMENT, check=False)
    events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    found = [event for event in events if event.get("event", name) == name]
    if done.returncode != 0 or not found:
        sys.exit(f"`{' '.join(command)}` ended with {done.returncode}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return found[-1]


class Counters:
    """What the server has counted of a model until now."""

    def __init__(self, addresses, model):
        text = fetch(addresses["admin"], "/metrics")[0].decode()
        pattern = rf'trt_pipeline_request_seconds_(sum|count){{model="{model}",[^}}]*phase="(\w+)"}} (\S+)'
        self.phases = {(phase, kind): float(value) for kind, phase, value in re.findall(pattern, text)}
        self.cpu = float(re.search(r"^process_cpu_seconds_total (\S+)", text, re.M)[1])
        self.stats = json.loads(fetch(addresses["http"], f"/v2/models/{model}/stats")[0])["model_stats"][0]

    def batches(self):
        return {
            batch["batch_size"]: [batch["compute_infer"]["count"], *(batch[f"compute_{part}"]["ns"] for part in ("input", "infer", "output"))]
            for batch in self.stats["batch_stats"]
        }

    def since(self, before):
        """Means of each phase and batch between the two."""
        phases = {}
        for (phase, kind), value in self.phases.items():
            count = self.phases[phase, "count"] - before.phases.get((phase, "count"), 0)
            if kind == "sum" and count:
                phases[phase] = (value - before.phases.get((phase, "sum"), 0)) / count * 1e3
        earlier, sizes = before.batches(), {}
        for size, numbers in self.batches().items():
            changed = [new - old for new, old in zip(numbers, earlier.get(size, [0] * 4))]
            if changed[0]:
                sizes[size] = changed
        executions = sum(numbers[0] for numbers in sizes.values())
        parts = [sum(numbers[part] for numbers in sizes.values()) / executions / 1e6 for part in (1, 2, 3)]
        return {
            "phases_ms": phases,
            "executions": executions,
            "mean_batch": sum(size * numbers[0] for size, numbers in sizes.items()) / executions,
            "batch_ms": dict(zip(("upload", "compute", "download"), parts)),
            "sizes": {size: numbers[0] for size, numbers in sorted(sizes.items())},
            "server_cpu_seconds": self.cpu - before.cpu,
        }


class Images:
    """Requests whose tensors lie in shared memory: one place for each connection."""

    def __init__(self, addresses, connections):
        self.addresses, self.connections = addresses, connections
        self.path = Path(f"/dev/shm/trt-pipeline-speed-{os.getpid()}")
        self.size = connections * (IMAGE + ANSWER)

    def __enter__(self):
        noise = random.Random(1).randbytes(IMAGE)
        with self.path.open("wb") as file:
            for at in range(self.connections):
                file.write(noise[at:] + noise[:at])
            file.truncate(self.size)
        body = {"key": f"/{self.path.name}", "offset": 0, "byte_size": self.size}
        fetch(self.addresses["admin"], f"/v2/systemsharedmemory/region/{REGION}/register", body)
        return self

    def __exit__(self, *_):
        self.path.unlink()

    def image(self, at):
        with self.path.open("rb") as file:
            file.seek(at * IMAGE)
            return file.read(IMAGE)

    def answer(self, at):
        with self.path.open("rb") as file:
            file.seek(self.connections * IMAGE + at * ANSWER)
            return array.array("f", file.read(ANSWER))

    def clear(self):
        with self.path.open("r+b") as file:
            file.seek(self.connections * IMAGE)
            file.write(bytes(self.connections * ANSWER))

    def requests(self, model, connections, path):
        """The file that `replay` takes."""
        with path.open("wb") as file:
            for at in range(connections):
                place = {"shared_memory_region": REGION}
                taken = place | {"shared_memory_offset": at * IMAGE, "shared_memory_byte_size": IMAGE}
                given = place | {"shared_memory_offset": self.connections * IMAGE + at * ANSWER, "shared_memory_byte_size": ANSWER}
                body = json.dumps({
                    "inputs": [{"name": "image", "datatype": "UINT8", "shape": SHAPE, "parameters": taken}],
                    "outputs": [{"name": "logits", "parameters": given}],
                }, separators=(",", ":")).encode()
                head = f"POST /v2/models/{model}/infer HTTP/1.1\r\nHost: {self.addresses['http']}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
                request = head.encode() + body
                file.write(struct.pack("<I", len(request)) + request)


def asked_once(addresses, model, image):
    """The answer over HTTP."""
    tensor = {"name": "image", "datatype": "UINT8", "shape": SHAPE, "parameters": {"binary_data_size": IMAGE}}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))}
    content, answered = fetch(addresses["http"], f"/v2/models/{model}/infer", head + image, headers)
    return array.array("f", content[int(answered["Inference-Header-Content-Length"]):])


def in_process(args):
    """-> the best samples a second."""
    best = 0
    for batch in args.batches:
        for streams in args.streams:
            words = [args.program, "bench", args.engine, "--batch", batch, "--streams", streams, "--graphs", args.graphs]
            words += ["--warmup", 20, "--duration", f"{args.in_process_ms}ms", "--format", "json"]
            found = last_event(words, "bench", args.all_cores)
            best = max(best, found["samples_per_second"])
            say("in_process", batch=batch, streams=streams, samples_per_second=found["samples_per_second"], p50_ms=found["latency"]["run"]["p50_ms"])
    return best


class Load:
    """Requests to a model over a transport."""

    def __init__(self, args, addresses, images, scratch):
        self.args, self.addresses, self.images, self.scratch = args, addresses, images, scratch

    def url(self, transport, model):
        return f"grpc://{self.addresses['grpc']}/{model}" if transport == "grpc" else f"http://{self.addresses['http']}/{model}"

    def bench(self, transport, model, *words):
        words = [self.args.program, "bench", self.url(transport, model), "--batch", 1, *words, "--format", "json"]
        found = last_event(words, "bench_level", self.args.client_cores)
        if found["failed"] or found["refused"]:
            sys.exit(f"{transport} {model}: {found['failed']} failed, {found['refused']} refused: {found['endings']}")
        return found

    def measured(self, transport, model, concurrency, seconds, rate=None):
        before, used = Counters(self.addresses, model), resource.getrusage(resource.RUSAGE_CHILDREN)
        if transport == "shared-memory":
            requests = self.scratch / f"{model}-{concurrency}"
            self.images.requests(model, concurrency, requests)
            words = [self.args.replay, self.addresses["http"].split(":")[-1], requests]
            words += ["--threads", self.args.threads, "--seconds", seconds, "--warmup", 0.5]
            found = last_event(words + (["--rate", rate] if rate else []), "replay", self.args.client_cores)
            result = {"per_second": found["per_second"], "p50_ms": found["p50_us"] / 1e3, "p99_ms": found["p99_us"] / 1e3, "said": found}
        else:
            words = ["--duration", f"{seconds}s", "--threads", self.args.threads]
            words += ["--rate", f"{rate:.0f}", "--warmup", int(rate / 2)] if rate else ["--concurrency", concurrency, "--warmup", "500ms"]
            found = self.bench(transport, model, *words)
            latency = found["latency"]
            result = {"per_second": found["requests_per_second"], "p50_ms": latency["p50_ms"], "p99_ms": latency["p99_ms"], "said": found}
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        client = after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime
        return result | {"client_cpu_seconds": client, "server": Counters(self.addresses, model).since(before)}

    def check(self, transport, model, engine):
        """Every transport gives the right answers."""
        if transport != "shared-memory":
            found = self.bench(transport, model, "--check", "--engine", engine, "--tolerance", TOLERANCE, "--requests", 300, "--concurrency", 16)
            return found["check"]["wrong"]
        self.images.clear()
        connections = min(16, self.images.connections)
        self.measured(transport, model, connections, 0.2)
        wrong = 0
        for at in range(connections):
            right, got = asked_once(self.addresses, model, self.images.image(at)), self.images.answer(at)
            scale = max(map(abs, right))
            wrong += len(got) != len(right) or max(abs(a - b) for a, b in zip(right, got)) > TOLERANCE * scale
        return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=lambda path: Path(path).resolve())
    parser.add_argument("engine", type=lambda path: Path(path).resolve())
    parser.add_argument("identity", type=lambda path: Path(path).resolve())
    parser.add_argument("--replay", required=True, type=lambda path: Path(path).resolve())
    parser.add_argument("--server-cores", help="as of taskset, such as 0-7 [default: half of the cores]")
    parser.add_argument("--client-cores", help="likewise [default: the other half]")
    parser.add_argument("--graphs", default="on", choices=("on", "off", "auto"))
    parser.add_argument("--instances", type=int, default=4)
    parser.add_argument("--max-batch", type=int, default=64)
    parser.add_argument("--delay-ms", type=float, default=2)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 16, 32, 64])
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--concurrency", type=int, nargs="+", default=[128, 384])
    parser.add_argument("--threads", type=int, default=6, help="threads of the client")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=2, help="of each level")
    parser.add_argument("--half-seconds", type=float, default=4, help="at half load")
    parser.add_argument("--in-process-ms", type=int, default=800)
    args = parser.parse_args()
    if not (args.server_cores and args.client_cores):
        args.server_cores, args.client_cores = halves()
    args.all_cores = f"{args.server_cores},{args.client_cores}"
    wanted = ("graphs", "instances", "max_batch", "delay_ms", "server_cores", "client_cores", "threads")
    say("settings", **{name: getattr(args, name) for name in wanted})
    best = in_process(args)
    settings = SETTINGS.format(**vars(args))
    spec = SPEC.format(engine=args.engine, identity=args.identity, settings=settings)
    engines = {"resnet50": args.engine, "identity": args.identity}
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(project(spec, {}))
        argv = ["taskset", "--cpu-list", args.server_cores, args.program, "serve", "p.yaml", "--shared-memory"]
        argv += [word for listener in ("http", "grpc", "admin") for word in (f"--{listener}", "127.0.0.1:0")]
        _server, addresses = stack.enter_context(listening(argv, folder))
        images = stack.enter_context(Images(addresses, max(args.concurrency)))
        load = Load(args, addresses, images, folder)
        for transport in TRANSPORTS:
            for model, engine in engines.items():
                say("checked", transport=transport, model=model, wrong=load.check(transport, model, engine))
        reached = {}
        for _ in range(args.rounds):
            for concurrency in args.concurrency:
                for transport in TRANSPORTS:
                    for model in engines:
                        found = load.measured(transport, model, concurrency, args.seconds)
                        reached.setdefault((transport, model, concurrency), []).append(found["per_second"])
                        say("level", transport=transport, model=model, concurrency=concurrency, **found)
        for transport in TRANSPORTS:
            served = max(statistics.median(rates) for (by, model, _), rates in reached.items() if (by, model) == (transport, "resnet50"))
            half = min(served, best) / 2
            found = load.measured(transport, "resnet50", max(args.concurrency), args.half_seconds, rate=half)
            say("half_load", transport=transport, rate=half, delay_ms=args.delay_ms, **found)


if __name__ == "__main__":
    main()
