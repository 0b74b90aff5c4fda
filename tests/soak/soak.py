"""What the long proofs of serving share: models, a server, the load generator. Standard library only."""

import array
import contextlib
import json
import os
import queue
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
# The number in the fixture that adds one.
PLACEHOLDER = array.array("f", [1234.5]).tobytes()
PATIENCE = 120
ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith("TRT_PIPELINE_")}


def adder(number):
    """A model that adds a number to each of its four inputs."""
    model = (FIXTURES / "onnx" / "add.onnx").read_bytes()
    assert model.count(PLACEHOLDER) == 1
    return model.replace(PLACEHOLDER, array.array("f", [number]).tobytes())


def mlp(sizes):
    """Dense layers of `sizes` with a Relu between them: [batch, first] to [batch, last]."""

    def field(number, value):
        if isinstance(value, int):
            return varint(number << 3) + varint(value)
        value = value.encode() if isinstance(value, str) else value
        return varint(number << 3 | 2) + varint(len(value)) + value

    def varint(value):
        out = bytearray()
        while value > 127:
            out.append(value & 127 | 128)
            value >>= 7
        return bytes([*out, value])

    def tensor(name, dims, values):
        head = b"".join(field(1, dim) for dim in dims) + field(2, 1) + field(8, name)
        return field(5, head + field(9, values.tobytes()))

    def value(number, name, last):
        shape = field(1, field(2, "batch")) + field(1, field(1, last))
        return field(number, field(1, name) + field(2, field(1, field(1, 1) + field(2, shape))))

    def node(op, inputs, output):
        return field(1, b"".join(field(1, i) for i in inputs) + field(2, output) + field(3, output) + field(4, op))

    noise = random.Random(7)
    nodes, weights, last = b"", b"", "x"
    for layer, (rows, columns) in enumerate(zip(sizes, sizes[1:])):
        final = layer == len(sizes) - 2
        scale = (2 / rows) ** 0.5
        numbers = array.array("f", (noise.uniform(-scale, scale) for _ in range(rows * columns)))
        weights += tensor(f"w{layer}", [rows, columns], numbers)
        dense = "y" if final else f"dense{layer}"
        nodes += node("MatMul", [last, f"w{layer}"], dense)
        if not final:
            last = f"relu{layer}"
            nodes += node("Relu", [dense], last)
    graph = nodes + field(2, "mlp") + weights + value(11, "x", sizes[0]) + value(12, "y", sizes[-1])
    return field(1, 8) + field(8, field(2, 17)) + field(7, graph)


def replace(path, content):
    """Replaces a file in one step."""
    beside = path.with_name(f".{path.name}.new")
    beside.write_bytes(content)
    beside.replace(path)


class Program:
    """A program with `--format json` whose events arrive one by one."""

    def __init__(self, argv, folder, settings=()):
        """`settings` are further variables of its environment."""
        argv = [str(word) for word in argv]
        self.process = subprocess.Popen(
            [*argv, "--format", "json"], cwd=folder, env=ENVIRONMENT | dict(settings), stdout=subprocess.PIPE, text=True)
        self.events = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.events.put(json.loads(line))
        self.events.put(None)

    def next(self, name, patience=PATIENCE):
        """The next event of that name."""
        end = time.monotonic() + patience
        while True:
            try:
                event = self.events.get(timeout=max(0, end - time.monotonic()))
            except queue.Empty:
                sys.exit(f"no `{name}` came within {patience} s")
            if event is None:
                sys.exit(f"no `{name}` came: {self.process.args[:2]} ended with {self.process.wait()}")
            if event["event"] == name:
                return event
            if event["event"] == "diagnostic":
                print(f"{event['severity']}: {event['message']}", file=sys.stderr)

    def rss(self):
        """Bytes of it in the machine's memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return 1024 * int(next(line for line in status.splitlines() if line.startswith("VmRSS:")).split()[1])

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


@contextlib.contextmanager
def project(spec, files):
    """A folder with a spec and its files."""
    with tempfile.TemporaryDirectory(prefix="trt-soak-") as folder:
        folder = Path(folder)
        (folder / "p.yaml").write_text(spec)
        for name, content in files.items():
            (folder / name).write_bytes(content)
        yield folder


@contextlib.contextmanager
def listening(argv, folder, settings=(), may_fail=False):
    """A server, and its event with the addresses. It must end well unless it `may_fail`."""
    server = Program(argv, folder, settings)
    try:
        yield server, server.next("serving")
    finally:
        status = server.stop()
        if status != 0 and not may_fail and sys.exc_info()[0] is None:
            sys.exit(f"the server ended with {status}")


@contextlib.contextmanager
def serving(program, folder, *args):
    """A server on a free port, and the address of its models."""
    argv = [program, "serve", "p.yaml", "--http", "127.0.0.1:0", "--grpc", "off", "--admin", "off", *args]
    with listening(argv, folder) as (server, addresses):
        yield server, f"http://{addresses['http']}"


def bench(program, folder, url, *args):
    """Starts the load generator; its one `bench_level` is to be waited for."""
    return Program([program, "bench", url, *args], folder)


def level(program, folder, url, *args, patience=PATIENCE):
    """Runs the load generator to its end, which must be a good one."""
    running = bench(program, folder, url, *args)
    found = running.next("bench_level", patience)
    status = running.process.wait()
    if status != 0:
        sys.exit(f"bench {' '.join(map(str, args))} ended with {status}: {json.dumps(found)}")
    return found


def mib(size):
    return f"{size / (1 << 20):.1f} MiB"


def milliseconds(times, name):
    return f"{times[name]:.2f} ms" if times else "-"
