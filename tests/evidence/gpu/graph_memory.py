#!/usr/bin/env python3
"""Device memory of a server with CUDA graphs and without, and what it counts itself: one JSON object
for each setting and round.

    graph_memory.py PROGRAM ENGINE [--sizes 16] [--instances 4] [--rounds 2]

`device_used` is what NVML says of the whole device once the server has warmed up and captured every
size; nothing else may use it. Standard library only.
"""

import argparse
import json
import re
import urllib.request
from pathlib import Path

from hot_reloads import Device
from soak import listening, project

SPEC = """\
version: 1
name: graphs
stages:
  api:
    serve:
      from: {{ file: "{engine}", kind: engine }}
      instances: {instances}
      batching: {{ max_batch: {sizes} }}
      cuda_graphs: {graphs}
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=lambda path: Path(path).resolve())
    parser.add_argument("engine", type=lambda path: Path(path).resolve())
    parser.add_argument("--sizes", type=int, default=16)
    parser.add_argument("--instances", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=2)
    args = parser.parse_args()
    device = Device()
    argv = [args.program, "serve", "p.yaml", "--http", "127.0.0.1:0", "--grpc", "off", "--admin", "127.0.0.1:0"]
    for number in range(args.rounds):
        for graphs in ('"off"', "[1]", list(range(1, args.sizes + 1))):
            idle = device.used()
            spec = SPEC.format(graphs=graphs, **vars(args))
            with project(spec, {}) as folder, listening(argv, folder) as (_server, addresses):
                with urllib.request.urlopen(f"http://{addresses['admin']}/metrics", timeout=30) as answer:
                    metrics = answer.read().decode()
                counted = dict(re.findall(r'^trt_pipeline_model_memory_bytes{[^}]*kind="(\w+)"} (\S+)', metrics, re.M))
                used = device.used()
            captured = args.instances * len(graphs) if isinstance(graphs, list) else args.instances * (graphs == "[1]")
            line = {"round": number, "graphs": captured, "device_used": used - idle, "counted": counted}
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
