"""Times optimizers of ONNX models in process, interleaved, and counts the nodes they leave.

    compare.py OURS [RUNS] [MODEL.onnx..]

Each takes a model that is already in memory and gives one in memory; imports, reading and writing
files are not timed. The first run of each is not counted. Medians, with the fastest and slowest.
"""
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import onnx
import onnxsim
import onnxslim


class Ours:
    """The example `optimizer`, which times itself."""

    def __init__(self, program):
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([program], stdin=pipe, stdout=pipe, text=True)

    def run(self, path):
        self.process.stdin.write(f"{path}\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        return answer["seconds"], answer["nodes"]


class Peer:
    def __init__(self, simplify):
        self.simplify = simplify

    def run(self, path):
        model = onnx.load(path)
        started = time.perf_counter()
        simplified = self.simplify(model)
        return time.perf_counter() - started, len(simplified.graph.node)


def light_models():
    return sorted((Path(onnx.__file__).parent / "backend/test/data/light").glob("*.onnx"))


def shown(seconds):
    low, high = min(seconds) * 1e3, max(seconds) * 1e3
    return f"{statistics.median(seconds) * 1e3:.1f} ({low:.1f}-{high:.1f})"


def main():
    ours, *rest = sys.argv[1:]
    runs = int(rest[0]) if rest else 5
    models = [Path(path) for path in rest[1:]] or light_models()
    tools = {
        "ours": Ours(ours),
        "onnxsim": Peer(lambda model: onnxsim.simplify(model)[0]),
        "onnxslim": Peer(onnxslim.slim),
    }
    times = {(model, name): [] for model in models for name in tools}
    nodes = {}
    for model in models:
        for run in range(runs + 1):
            names = list(tools)
            shift = run % len(names)
            for name in names[shift:] + names[:shift]:
                seconds, nodes[model, name] = tools[name].run(model)
                if run > 0:
                    times[model, name].append(seconds)
        print(model.stem, file=sys.stderr)

    peers = {"onnxsim": onnxsim.__version__, "onnxslim": onnxslim.__version__}
    versions = ", ".join(f"{name} {version}" for name, version in peers.items())
    print(f"{versions}; {os.cpu_count()} processors; {runs} runs; milliseconds: median (range)\n")
    print("| model | nodes | ours | onnxsim | onnxslim | ours ms | onnxsim ms | onnxslim ms | times faster |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|")
    for model in models:
        median = {name: statistics.median(times[model, name]) for name in tools}
        ratios = [f"{median[name] / median['ours']:.1f}" for name in peers]
        cells = [model.stem.removeprefix("light_"), str(len(onnx.load(model).graph.node))]
        cells += [str(nodes[model, name]) for name in tools]
        cells += [shown(times[model, name]) for name in tools] + [" / ".join(ratios)]
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
