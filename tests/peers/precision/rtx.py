"""The onnx package's light models in FP16 and INT8, built by the real TensorRT-RTX.

    run.sh rtx [--binary trt-pipeline] [--tensorrt FOLDER] [--folder target/precision/rtx] [NAME..]

Each model is optimized, lowered to FP16 and quantized to INT8 over a few inputs, and both graphs are
built for compute capability 8.9, which needs no GPU: TensorRT accepts every cast and every Q/DQ
pair, or says which one it does not. Ends with 1 if it refuses any. The library is the one that
`trt-pipeline runtime install tensorrt-rtx` installs, or the one in --tensorrt.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
from light import ROOT, SHIPPED, sample, with_real_weights
from ours import results

DTYPES = ["fp16", "int8"]


def pipeline(folder, model, inputs):
    """Writes a spec that makes both engines, and the samples."""
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, folder / "model.onnx")
    name, = inputs[0]
    np.savez(folder / "samples.npz", **{name: np.concatenate([batch[name] for batch in inputs])})
    build = {"backend": "tensorrt", "compute_capabilities": ["8.9"], "tensorrt": {"flavor": "rtx"}}
    stages = {
        "onnx": {"convert": {"model": "model.onnx"}},
        "slim": {"optimize": {"from": "onnx"}},
        "fp16": {"optimize": {"from": "onnx", "precision": "fp16"}},
        "int8": {"calibrate": {"from": "slim", "data": "samples.npz"}},
    } | {f"{dtype}_engine": {"build": {"from": dtype} | build} for dtype in DTYPES}
    spec = folder / "pipeline.yaml"
    # JSON is YAML.
    spec.write_text(json.dumps({"version": 1, "name": f"rtx-{folder.name}", "stages": stages}, indent=1))
    return spec


def build(binary, spec, tensorrt):
    """What became of each stage: {stage: (outcome, seconds)}, and all that was said."""
    argv = [str(binary), "run", str(spec), "--format", "json"]
    environment = os.environ | ({"TRT_PIPELINE_TENSORRT": tensorrt} if tensorrt else {})
    ran = subprocess.run(argv, capture_output=True, text=True, env=environment, check=False)
    events = [json.loads(line) for line in ran.stdout.splitlines()]
    finished = [event for event in events if event["event"] == "stage_finished"]
    return {e["stage"]: (e["outcome"], e["seconds"]) for e in finished}, ran.stdout + ran.stderr


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", default=ROOT / "target/release/trt-pipeline", type=Path)
    parser.add_argument("--tensorrt", default=os.environ.get("TRT_PIPELINE_TENSORRT"))
    parser.add_argument("--folder", default=ROOT / "target/precision/rtx", type=Path)
    parser.add_argument("names", nargs="*")
    given = parser.parse_args()
    paths = [path for path in sorted(SHIPPED.glob("*.onnx")) if not given.names or path.stem in given.names]
    refused = 0
    print("| model | FP16 engine | INT8 engine | Q/DQ pairs |\n|---|--:|--:|--:|")
    for path in paths:
        model = onnx.load(path)
        inputs = [sample(model, seed) for seed in range(4)]
        spec = pipeline(given.folder / path.stem, with_real_weights(model, 0), inputs)
        stages, said = build(given.binary.resolve(), spec, given.tensorrt)
        built = {dtype: stages.get(f"{dtype}_engine", ("missing", 0)) for dtype in DTYPES}
        failed = [dtype for dtype, (outcome, _) in built.items() if outcome not in ("built", "cached")]
        refused += len(failed)
        quantized = results(spec.parent.resolve(), f"rtx-{path.stem}") / "int8/model.onnx"
        pairs = 0
        if quantized.exists():
            pairs = sum(node.op_type == "QuantizeLinear" for node in onnx.load(quantized).graph.node)
        cells = " | ".join(f"{outcome}, {seconds:.0f} s" for outcome, seconds in built.values())
        print(f"| {path.stem} | {cells} | {pairs} |", flush=True)
        if failed:
            print(said[-4000:], file=sys.stderr)
    sys.exit(refused > 0)


if __name__ == "__main__":
    main()
