"""A model of more than 2 GiB, which no single protobuf message can be: run.sh large [options]

A table of 560 000 rows of 1 024 numbers in external data (2.2 GB, mostly a hole in the file), a
Gather and two MatMuls, through `optimize`, `calibrate` and `optimize: { precision: fp16 }`. Each
result runs in onnxruntime beside the original, over ids from both ends of the table. Ends with 1
where one is less alike than 30 dB (INT8) or 50 dB (FP16), or where its external data is cut off.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from ours import Ours
from score import score

ROOT = Path(__file__).resolve().parents[3]
ROWS, WIDTH, HIDDEN, IDS, USED = 560_000, 1_024, 64, 16, 2_000
LEAST_DB = {"slim": 100, "int8": 30, "fp16": 50}


def used_rows():
    """The rows that are not zero: the first and the last of the table."""
    return np.concatenate([np.arange(USED), np.arange(ROWS - USED, ROWS)])


def write_model(folder):
    rng = np.random.default_rng(5)
    with open(folder / "table.bin", "wb") as table:
        for first in (0, ROWS - USED):
            table.seek(first * WIDTH * 4)
            rng.normal(0, 1, (USED, WIDTH)).astype("<f4").tofile(table)
    table = TensorProto(name="table", data_type=TensorProto.FLOAT, dims=[ROWS, WIDTH], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": "table.bin", "offset": 0, "length": ROWS * WIDTH * 4}.items():
        table.external_data.add(key=key, value=str(value))
    first = rng.normal(0, np.sqrt(2 / WIDTH), (WIDTH, HIDDEN)).astype(np.float32)
    second = rng.normal(0, np.sqrt(2 / HIDDEN), (HIDDEN, HIDDEN)).astype(np.float32)
    nodes = [helper.make_node("Gather", ["table", "ids"], ["rows"], "lookup"), helper.make_node("MatMul", ["rows", "first"], ["hidden"], "first_layer"),
             helper.make_node("Relu", ["hidden"], ["active"], "relu"), helper.make_node("MatMul", ["active", "second"], ["out"], "second_layer")]
    graph = helper.make_graph(nodes, "large", [helper.make_tensor_value_info("ids", TensorProto.INT64, ["n", IDS])],
                              [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", IDS, HIDDEN])],
                              [table, numpy_helper.from_array(first, "first"), numpy_helper.from_array(second, "second")])
    path = folder / "large.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)
    return path


def write_ids(path, seed):
    np.savez(path, ids=np.random.default_rng(seed).choice(used_rows(), (256, IDS)).astype(np.int64))
    return path


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", default="cpu")
    parser.add_argument("--binary", default=ROOT / "target" / "release" / "trt-pipeline")
    arguments = parser.parse_args()
    failed = []
    with tempfile.TemporaryDirectory(dir=ROOT / "target") as folder:
        folder = Path(folder)
        model = write_model(folder)
        samples, holdout = write_ids(folder / "samples.npz", 1), write_ids(folder / "holdout.npz", 2)
        int8 = {"data": str(samples), "method": "entropy", "backend": arguments.backend}
        pipelines = {"slim": Ours(arguments.binary, folder / "int8", model, {"int8": int8}),
                     "fp16": Ours(arguments.binary, folder / "fp16", model, {}, {"precision": "fp16"})}
        for name, pipeline, stage in (("slim", "slim", "slim"), ("int8", "slim", "int8"), ("fp16", "fp16", "slim")):
            seconds, peak = pipelines[pipeline].run(stage)
            made = pipelines[pipeline].made(stage)
            size = sum(file.stat().st_size for file in made.parent.iterdir())
            decibels = score(made, model, holdout)["outputs"]["out"]["snr_db"]
            print(f"{name}: {size / 1e9:.2f} GB in {seconds:.1f} s, peak {peak:.0f} MiB, SNR {decibels} dB", flush=True)
            if decibels is not None and not decibels >= LEAST_DB[name]:
                failed.append(name)
    if failed:
        sys.exit(f"too far from the original: {', '.join(failed)}")


if __name__ == "__main__":
    main()
