#!/usr/bin/env python3
"""INT8 quantization by nvidia-modelopt: modelopt.py MODEL.onnx DATA.npz OUT.onnx [--samples 64]

Runs in the virtual environment of modelopt.txt. Prints JSON: version, seconds and operators.
Values that do not become INT8 stay FP32 (its default is FP16), to show the placement alone.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import logging
import sys
import time
import types
from collections import Counter

import numpy as np
import onnx
import onnxruntime.quantization  # noqa: F401 - before the next lines: it looks for torch, too

# modelopt imports torch, of which its ONNX part needs one thing only: packing FP8 weights. It is
# five gigabytes; an empty module of that name serves INT8.
if not importlib.util.find_spec("torch"):
    sys.modules["torch"] = types.ModuleType("torch")

# This file has the package's name: look for packages elsewhere first.
sys.path.append(sys.path.pop(0))
from modelopt.onnx.quantization import quantize  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("out")
    parser.add_argument("--method", choices=["entropy", "max"], default="entropy")
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--batch", type=int, default=1, help="samples at a time: with 1, its default, a Gemm is seen as a GEMV")
    arguments = parser.parse_args()
    names = [value.name for value in onnx.load(arguments.model).graph.input]
    with np.load(arguments.data) as arrays:
        data = {name: arrays[name][:arguments.samples] for name in names}
    shapes = ",".join(f"{name}:{'x'.join(map(str, (arguments.batch, *array.shape[1:])))}" for name, array in data.items())
    logging.disable(logging.WARNING)
    start = time.perf_counter()
    quantize(arguments.model, quantize_mode="int8", calibration_data=data, calibration_method=arguments.method,
             calibration_shapes=shapes, calibration_eps=["cpu"], output_path=arguments.out, high_precision_dtype="fp32", log_level="ERROR")
    seconds = time.perf_counter() - start
    made = onnx.load(arguments.out)
    print(json.dumps({"version": importlib.metadata.version("nvidia-modelopt"), "seconds": round(seconds, 3),
                      "operators": dict(sorted(Counter(node.op_type for node in made.graph.node).items()))}))


if __name__ == "__main__":
    main()
