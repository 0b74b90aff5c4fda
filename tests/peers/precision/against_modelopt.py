"""Where nvidia-modelopt puts Q/DQ and where `calibrate` does, over the same optimized models:

    run.sh against_modelopt [--binary trt-pipeline] [--folder target/precision] [NAME..]

A name is one of models.py, a light model's (with real weights; run.sh light makes them), or `digits`.
Prints what differs, by operator and input, and how near each comes to FP32 on held-out samples.
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
from diff_placement import differences
from models import MODELS
from ours import Ours
from placement import placement
from score import score

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
SHOWN = 6
PYTHON = Path(os.environ.get("PEERS_DIR", ROOT / "target" / "peers")) / "modelopt" / "bin" / "python"


def subject(name, folder):
    """The model, its calibration samples, and its held-out ones or None."""
    if name == "digits":
        data = ROOT / "pipelines" / "digits" / "data"
        return data.parent / "model" / "digits_cnn.onnx", data / "calibration.npz", data / "holdout.npz"
    if name in MODELS:
        if not (folder / f"{name}-holdout.npz").exists():
            subprocess.run([sys.executable, HERE / "models.py", folder, name], check=True, stdout=sys.stderr)
        return folder / f"{name}.onnx", folder / f"{name}-calibration.npz", folder / f"{name}-holdout.npz"
    model = folder / "light" / f"{name}.onnx"
    value, = onnx.load(model).graph.input
    shape = [4, *(dim.dim_value for dim in value.type.tensor_type.shape.dim[1:])]
    data = folder / "light" / f"{name}.npz"
    np.savez(data, **{value.name: np.random.default_rng(1).normal(0, 1, shape).astype(np.float32)})
    return model, data, None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", default=["digits", "resnet-64", "encoder", "encoder-decomposed"])
    parser.add_argument("--binary", default=ROOT / "target" / "release" / "trt-pipeline")
    parser.add_argument("--folder", type=Path, default=ROOT / "target" / "precision")
    parser.add_argument("--samples", type=int, default=256)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name in arguments.names:
        model, data, holdout = subject(name, arguments.folder)
        settings = {"data": str(data.resolve()), "method": "entropy", "samples": arguments.samples}
        raised = {"opset": 17} if holdout is None else {}  # light models are of opset 9
        pipeline = Ours(arguments.binary, arguments.folder / "modelopt" / name, model, {"int8": settings}, raised)
        pipeline.run("int8")
        slim, theirs = pipeline.folder / "slim.onnx", pipeline.folder / "modelopt.onnx"
        shutil.copyfile(pipeline.made("slim"), slim)
        batch = "1" if holdout is None else "32"
        subprocess.run([PYTHON, HERE / "modelopt.py", slim, data, theirs, "--samples", str(arguments.samples), "--batch", batch],
                       check=True, capture_output=True)
        ours, modelopt = (placement(onnx.load(path)) for path in (pipeline.made("int8"), theirs))
        alike = sum(modelopt["inputs"].get(key) == what for key, what in ours["inputs"].items())
        print(f"\n### {name}: of {len(ours['inputs'])} quantized inputs (modelopt: {len(modelopt['inputs'])}), {alike} alike")
        for kind, lines in differences(ours, modelopt).items():
            print(f"{kind}, {len(lines)} (ours | modelopt):", *(f"  {line}" for line in lines[:SHOWN]), sep="\n")
            if len(lines) > SHOWN:
                print(f"  and {len(lines) - SHOWN} more")
        for who, path in (("ours", pipeline.made("int8")), ("modelopt", theirs)) if holdout else ():
            found = score(path, model, holdout)
            print(f"{who}: SNR {[output['snr_db'] for output in found['outputs'].values()]} dB, "
                  f"top-1 {found['top1']} (FP32 {found['reference_top1']})", flush=True)


if __name__ == "__main__":
    main()
