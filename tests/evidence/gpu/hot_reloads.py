#!/usr/bin/env python3
"""Hot reloads of a server under load, and the memory after each: one JSON object a line.

    hot_reloads.py PROGRAM [--reloads 200] [--graphs on]

`device_used` is what NVML says of the whole device, `rss` is of the server, `model` what the server
counts of the model. Standard library only.
"""

import argparse
import ctypes
import json
import re
import sys
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "soak"))

from soak import adder, bench, listening, project, replace

SPEC = """\
version: 1
name: sum
stages:
  onnx: {{ convert: {{ model: model.onnx }} }}
  engine:
    build: {{ from: onnx, backend: tensorrt, profiles: [{{ x: {{ min: [1, 4], opt: [8, 4], max: [8, 4] }} }}] }}
  api:
    serve:
      from: engine
      instances: 2
      batching: {{ max_batch: 8 }}
      reload: {{ watch_seconds: 0 }}
      cuda_graphs: "{graphs}"
"""


class MemoryInfo(ctypes.Structure):
    _fields_ = [(name, ctypes.c_ulonglong) for name in ("total", "free", "used")]


class Device:
    """The memory of the first GPU; None where there is no NVML."""

    def __init__(self):
        try:
            self.library = ctypes.CDLL("libnvidia-ml.so.1")
        except OSError:
            self.library = None
            return
        self.handle = ctypes.c_void_p()
        if self.library.nvmlInit_v2() or self.library.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(self.handle)):
            self.library = None

    def used(self):
        info = MemoryInfo()
        if self.library is None or self.library.nvmlDeviceGetMemoryInfo(self.handle, ctypes.byref(info)):
            return None
        return info.used


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=lambda path: Path(path).resolve())
    parser.add_argument("--reloads", type=int, default=200)
    parser.add_argument("--graphs", default="on")
    args = parser.parse_args()
    device, numbers = Device(), [adder(1), adder(2)]
    argv = [args.program, "serve", "p.yaml", "--watch", "--http", "127.0.0.1:0", "--grpc", "off", "--admin", "127.0.0.1:0"]
    with project(SPEC.format(graphs=args.graphs), {"model.onnx": numbers[0]}) as folder, listening(argv, folder) as (server, addresses):
        load = bench(args.program, folder, f"http://{addresses['http']}/sum", "--concurrency", 4, "--duration", "1h")
        load.next("bench_served")
        for cycle in range(1, args.reloads + 1):
            replace(folder / "model.onnx", numbers[cycle % 2])
            reload = server.next("reload_finished")
            while reload["from"] is None:
                reload = server.next("reload_finished")
            if reload["outcome"] != "accepted":
                sys.exit(f"reload {cycle} was refused: {reload}")
            with urllib.request.urlopen(f"http://{addresses['admin']}/metrics", timeout=30) as answer:
                metrics = answer.read().decode()
            model = {kind: float(value) for kind, value in re.findall(r'^trt_pipeline_model_memory_bytes{[^}]*kind="(\w+)"} (\S+)', metrics, re.M)}
            print(json.dumps({"cycle": cycle, "device_used": device.used(), "rss": server.rss(), "model": model, "seconds": reload["seconds"]}), flush=True)
        load.process.send_signal(2)
        found = load.next("bench_level")
        load.process.wait()
    if found["failed"] or found["refused"]:
        sys.exit(f"{found['failed']} requests failed, {found['refused']} were refused: {found['endings']}")
    print(json.dumps({"answered": found["answered"], "reloads": args.reloads}))


if __name__ == "__main__":
    main()
