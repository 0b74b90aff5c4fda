"""INT8 calibration beside onnxruntime's quantize_static: run.sh compare [options]

Both calibrate the same file (what our `optimize` makes of the model) with the same samples, batch
size, method and cores, in turns, round by round. Theirs is timed inside the process, after imports
and after the model was read once. Ours is the time of the stage `calibrate`, which contains reading
the model and writing model, cache and report, in a process that has calibrated over one batch
before, so that what theirs imports is loaded here too. Peak memory is that of the whole process on
both sides. Accuracy: score.py, on held-out samples.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from ours import Ours
from score import score

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
METHODS = ["minmax", "entropy", "percentile", "mse", "distribution"]
MISSING = {"quantize_static": {"mse"}, "ours": {"distribution"}}


class Subject:
    """A model, its data, and the folder that everything made from it goes to."""

    def __init__(self, name, folder, batch, stride):
        self.name, self.folder, self.batch, self.stride = name, folder / name, batch, stride
        if name == "digits":
            digits = ROOT / "pipelines" / "digits"
            self.model, self.holdout = digits / "model" / "digits_cnn.onnx", digits / "data" / "holdout.npz"
            self.calibration = folder / "digits-calibration.npz"
            with np.load(digits / "data" / "calibration.npz") as arrays:  # 128 samples, ten times over
                np.savez(self.calibration, image=np.tile(arrays["image"], (10, 1, 1, 1)))
        else:
            self.model, self.holdout = folder / f"{name}.onnx", folder / f"{name}-holdout.npz"
            self.calibration = folder / f"{name}-calibration.npz"
            if not self.holdout.exists():
                subprocess.run([sys.executable, HERE / "models.py", folder, name], check=True, stdout=sys.stderr)


class Theirs:
    def __init__(self, subject, method, slim):
        self.out = subject.folder / f"quantize_static-{method}.onnx"
        self.argv = [sys.executable, HERE / "quantize_static.py", slim, subject.calibration, self.out,
                     "--method", method, "--batch", subject.batch]
        self.argv += ["--stride", subject.stride] if subject.stride else []

    def run(self, cores):
        argv = [str(part) for part in [*self.argv, "--threads", len(cores)]]
        done = subprocess.run(argv, check=True, capture_output=True, text=True,
                              preexec_fn=lambda: os.sched_setaffinity(0, cores))
        found = json.loads(done.stdout.splitlines()[-1])
        return found["seconds"], found["peak_mib"]


class OursRun:
    def __init__(self, pipeline, stage, first):
        self.pipeline, self.stage, self.first = pipeline, stage, first

    def run(self, cores):
        return self.pipeline.run(self.stage, force=True, cores=cores, after=self.first)

    @property
    def out(self):
        return self.pipeline.made(self.stage)


def contenders(subject, arguments):
    """{(method, who): something to run}, with the optimized model made."""
    methods = [method for method in arguments.methods if method not in MISSING["ours"]]
    settings = {"data": str(subject.calibration), "batch": subject.batch}
    stages = {f"first-{backend}": {**settings, "backend": backend, "samples": subject.batch} for backend in arguments.backends}
    stages |= {f"{method}-{backend}": {**settings, "method": method, "backend": backend}
               for method in methods for backend in arguments.backends}
    pipeline = Ours(arguments.binary, subject.folder, subject.model, stages)
    pipeline.run("slim")
    slim = subject.folder / "slim.onnx"
    shutil.copyfile(pipeline.made("slim"), slim)
    found = {}
    for method in arguments.methods:
        if method not in MISSING["quantize_static"] and not arguments.without_theirs:
            found[method, "quantize_static"] = Theirs(subject, method, slim)
        for backend in arguments.backends if method in methods else ():
            found[method, f"ours, {backend}"] = OursRun(pipeline, f"{method}-{backend}", f"first-{backend}")
    return found


def measure(subject, arguments):
    cores = sorted(os.sched_getaffinity(0))[:arguments.threads]
    running = contenders(subject, arguments)
    samples = {key: [] for key in running}
    for turn in range(arguments.rounds):
        for key, contender in running.items():
            samples[key].append(contender.run(cores))
            print(f"{subject.name} {turn + 1}/{arguments.rounds} {' '.join(key)}: {samples[key][-1][0]:.3f} s", file=sys.stderr)
    rows = []
    for (method, who), contender in running.items():
        seconds, peaks = zip(*samples[method, who])
        rows.append({"model": subject.name, "method": method, "who": who, "seconds": seconds, "peak_mib": max(peaks),
                     "score": score(contender.out, subject.model, subject.holdout)})
    return rows


def percent(share):
    return "" if share is None else f"{100 * share:.2f} %"


def table(rows):
    base = {(row["method"]): statistics.median(row["seconds"]) for row in rows if row["who"] == "quantize_static"}
    lines = ["| method | who | seconds, median (least - most) | times as fast | peak MiB | SNR dB | top-1 | FP32 |",
             "|---|---|---|---|---|---|---|---|"]
    for row in rows:
        median, scored = statistics.median(row["seconds"]), row["score"]
        ratio = f"{base[row['method']] / median:.1f}" if row["method"] in base else ""
        signal = ", ".join(f"{output['snr_db']}" for output in scored["outputs"].values())
        lines.append(f"| {row['method']} | {row['who']} | {median:.3f} ({min(row['seconds']):.3f} - {max(row['seconds']):.3f}) "
                     f"| {ratio} | {row['peak_mib']:.0f} | {signal} | {percent(scored.get('top1'))} "
                     f"| {percent(scored.get('reference_top1'))} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["digits", "resnet-64"], help="digits, or names of models.py")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS[:4])
    parser.add_argument("--backends", nargs="+", default=["onnxruntime", "cpu"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2, help="cores for each side, and its threads")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--stride", type=int, help="give quantize_static so many samples at a time, for models whose "
                        "activations do not fit into memory")
    parser.add_argument("--without-theirs", action="store_true")
    parser.add_argument("--binary", default=ROOT / "target" / "release" / "trt-pipeline")
    parser.add_argument("--folder", type=Path, default=ROOT / "target" / "precision")
    parser.add_argument("--json", type=Path, help="write every number here")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    rows = []
    print(f"onnxruntime {onnxruntime.__version__} on both sides, {arguments.threads} cores, batch {arguments.batch}, "
          f"{arguments.rounds} rounds; {platform.machine()}, load {os.getloadavg()[0]:.1f} at the start")
    for name in arguments.models:
        made = measure(Subject(name, arguments.folder, arguments.batch, arguments.stride), arguments)
        rows += made
        print(f"\n### {name}\n\n{table(made)}", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
