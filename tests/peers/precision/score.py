#!/usr/bin/env python3
"""How near a model comes to its original: score.py MODEL.onnx --reference FP32.onnx --data HOLDOUT.npz

Both run in onnxruntime with graph optimization off: a Q/DQ pair rounds, and nothing else differs.
Prints JSON: for each output the signal-to-noise ratio in dB over all samples, the largest error and
that beside the largest value; top-1 of both if the data has `label`; operators of the model.
"""

import argparse
import json
import math
from collections import Counter

import numpy as np
import onnx
import onnxruntime as ort
from samples import Samples, labels

TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(int64)": np.int64,
         "tensor(int32)": np.int32, "tensor(uint8)": np.uint8, "tensor(double)": np.float64}


def opened(path, threads=0):
    """A session that runs the model as it is written."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def ran(session, batch):
    types = {value.name: TYPES[value.type] for value in session.get_inputs()}
    outputs = session.run(None, {name: batch[name].astype(dtype, copy=False) for name, dtype in types.items()})
    return [output.astype(np.float64) for output in outputs]


class Error:
    """What an output's values differ by, summed up batch by batch."""

    def __init__(self):
        self.signal = self.noise = self.largest = self.largest_error = 0.0

    def add(self, got, wanted):
        difference = got - wanted
        self.signal += float(np.square(wanted).sum())
        self.noise += float(np.square(difference).sum())
        self.largest = max(self.largest, float(np.abs(wanted).max()))
        self.largest_error = max(self.largest_error, float(np.abs(difference).max()))

    def summary(self):
        decibels = 10 * math.log10(self.signal / self.noise) if self.noise and self.signal else None
        return {"snr_db": decibels and round(decibels, 2), "max_abs": self.largest_error,
                "max_relative": self.largest_error / self.largest if self.largest else None}


def score(model, reference, data, batch=32, threads=0):
    """JSON of `model` beside `reference` over `data`; an SNR of null: no difference at all."""
    tested, original = opened(model, threads), opened(reference, threads)
    names = [value.name for value in original.get_inputs()]
    outputs = [value.name for value in original.get_outputs()]
    errors, picks = [Error() for _ in outputs], ([], [])
    for samples in Samples(data, names, batch):
        got, wanted = ran(tested, samples), ran(original, samples)
        for error, a, b in zip(errors, got, wanted, strict=True):
            error.add(a, b)
        for pick, values in zip(picks, (got, wanted)):
            pick.append(values[0].reshape(len(values[0]), -1).argmax(1))
    result = {"outputs": {name: error.summary() for name, error in zip(outputs, errors)}}
    if (truth := labels(data)) is not None:
        result["top1"], result["reference_top1"] = (round(float(np.mean(np.concatenate(pick) == truth)), 4) for pick in picks)
    result["agreement"] = round(float(np.mean(np.concatenate(picks[0]) == np.concatenate(picks[1]))), 4)
    nodes = onnx.load(model, load_external_data=False).graph.node
    result["nodes"], result["operators"] = len(nodes), dict(sorted(Counter(node.op_type for node in nodes).items()))
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--reference", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=0, help="0: one per core")
    arguments = parser.parse_args()
    print(json.dumps(score(arguments.model, arguments.reference, arguments.data, arguments.batch, arguments.threads)))


if __name__ == "__main__":
    main()
