#!/usr/bin/env python3
"""INT8 by onnxruntime's quantize_static: quantize_static.py MODEL.onnx DATA.npz OUT.onnx [options]

Q/DQ form, symmetric, weights per channel. Prints JSON: `seconds` of the call (imports and reading
the model are before it; it reads samples batch by batch, and writes OUT), `peak_mib` of the process,
and `grown_mib`, what the call added to what the process already had.

    --stride N   hand over N samples at a time (its CalibStridedMinMax): without that, the histogram
                 methods hold every value of every activation of all samples in memory
"""

import argparse
import contextlib
import json
import logging
import resource
import sys
import time

import onnx
import onnxruntime
from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.calibrate import CalibrationDataReader
from samples import Samples

METHODS = {"minmax": CalibrationMethod.MinMax, "entropy": CalibrationMethod.Entropy,
           "percentile": CalibrationMethod.Percentile, "distribution": CalibrationMethod.Distribution}


class Reader(CalibrationDataReader):
    """Batches of a file in their order. Strides follow one another, so a range is only an end."""

    def __init__(self, samples):
        self.samples, self.batches = samples, iter(samples)
        self.given, self.end = 0, len(samples)

    def __len__(self):
        return len(self.samples)

    def set_range(self, start_index, end_index):
        self.end = end_index

    def get_next(self):
        if self.given >= self.end:
            return None
        self.given += self.samples.size
        return next(self.batches, None)


def limit_threads(count):
    """Sessions for calibration have `count` threads; quantize_static has no setting for that."""
    made = onnxruntime.SessionOptions

    def options():
        value = made()
        value.intra_op_num_threads = count
        return value

    onnxruntime.SessionOptions = options


def peak_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("out")
    parser.add_argument("--method", choices=METHODS, default="entropy")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--samples", type=int)
    parser.add_argument("--stride", type=int)
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    limit_threads(arguments.threads)
    options = {"ActivationSymmetric": True, "WeightSymmetric": True}
    if arguments.method in ("minmax", "percentile"):
        options["CalibTensorRangeSymmetric"] = True
    if arguments.stride:
        options["CalibStridedMinMax"] = arguments.stride
    given = [value.name for value in onnx.load(arguments.model).graph.input]
    before, start = peak_mib(), time.perf_counter()
    with contextlib.redirect_stdout(sys.stderr):
        quantize_static(
            arguments.model, arguments.out, Reader(Samples(arguments.data, given, arguments.batch, arguments.samples)),
            quant_format=QuantFormat.QDQ, per_channel=True, activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8, calibrate_method=METHODS[arguments.method], extra_options=options)
    seconds = time.perf_counter() - start
    print(json.dumps({"version": onnxruntime.__version__, "method": arguments.method, "seconds": round(seconds, 3),
                      "peak_mib": round(peak_mib(), 1), "grown_mib": round(peak_mib() - before, 1)}))


if __name__ == "__main__":
    main()
