"""Closed loops of one request at a concurrency: wrk over HTTP, h2load over gRPC.

Every connection has one request under way. Both are pinned to one core and are the same for every
server. Knows nothing of servers.
"""

import json
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent


def tools():
    missing = [tool for tool in ("wrk", "h2load", "taskset") if not shutil.which(tool)]
    if missing:
        sys.exit(f"{', '.join(missing)} not found: on Debian, apt-get install wrk nghttp2-client util-linux")


def http(port, path, body, headers, connections, seconds, core):
    with tempfile.NamedTemporaryFile() as file:
        file.write(body)
        file.flush()
        said = _run(
            core,
            ["wrk", "--threads", "1", "--connections", connections, "--duration", f"{seconds}s", "--timeout", "10s"]
            + ["--script", HERE / "request.lua", f"http://127.0.0.1:{port}{path}", "--", file.name]
            + [part for header in headers.items() for part in header],
        )
    return json.loads(said.splitlines()[-1])


def grpc(port, method, message, connections, seconds, core):
    """h2load counts answers of HTTP; that they are answers of gRPC, the caller has seen before."""
    with tempfile.TemporaryDirectory() as folder:
        body, log = Path(folder, "body"), Path(folder, "log")
        body.write_bytes(struct.pack(">BI", 0, len(message)) + message)
        said = _run(
            core,
            ["h2load", "--threads", 1, "--clients", connections, "--max-concurrent-streams", 1]
            + ["--duration", seconds, "--data", body, "--log-file", log]
            + ["--header", "content-type: application/grpc", "--header", "te: trailers"]
            + [f"http://127.0.0.1:{port}{method}"],
        )
        # A line is: start of the request, status, microseconds; the status of a failed one is -1.
        lines = [line.split() for line in log.read_text().splitlines()]
    good = sorted(int(took) for _, status, took in lines if status == "200")
    if not good:
        raise RuntimeError(f"no request was answered:\n{said}")
    return {
        "requests": len(good),
        "seconds": float(seconds),
        "errors": len(lines) - len(good),
        "p50_us": percentile(good, 50),
        "p99_us": percentile(good, 99),
        "max_us": good[-1],
    }


def percentile(ascending, percent):
    return ascending[min(len(ascending) - 1, len(ascending) * percent // 100)]


def _run(core, command):
    command = ["taskset", "--cpu-list", str(core), *map(str, command)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout
