"""TensorFlow to ONNX by tf2onnx: a frozen graph is converted, and run as the reference."""

from __future__ import annotations

import logging
import os
import re
import sys
import warnings
from typing import Any, List, Optional, Sequence, Tuple

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
os.environ["KERAS_BACKEND"] = "tensorflow"

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import cases  # noqa: E402
import common  # noqa: E402
import onnx_file  # noqa: E402
from common import ExportError, Request  # noqa: E402
from tensorflow_source import Source, load  # noqa: E402

del sys.path[0]

# Earlier ones are taken by tf2onnx, and come out wrong or as another.
FIRST_OPSET = 7
UNSUPPORTED = re.compile(r"Tensorflow op \[(.+?): (.+?)\] is not supported")


def export(request: Request) -> common.Result:
    common.progress("loading TensorFlow")
    if request.exporter != "auto":
        help = "`exporter:` chooses between PyTorch's exporters: leave it out"
        raise ExportError("exporter", f"TensorFlow models have no exporter `{request.exporter}`", help)
    others = [("tf2onnx", "tf2onnx"), ("onnx", "onnx")]
    tf = common.require("tensorflow", "tensorflow-cpu", "exporting a TensorFlow model", others)
    onnx = common.require("onnx", "onnx", "exporting a TensorFlow model")
    tf2onnx = common.require("tf2onnx", "tf2onnx", "exporting a TensorFlow model")
    opsets = getattr(tf2onnx.constants, "OPSET_TO_IR_VERSION", {})
    common.check_opset(request, range(FIRST_OPSET, max(opsets, default=0) + 1), f"tf2onnx {tf2onnx.__version__}")
    tf.random.set_seed(request.seed)
    tf.get_logger().setLevel(logging.ERROR)  # tf2onnx uses what TensorFlow calls deprecated
    common.progress("loading the model")
    source = load(tf, request)
    drawn = cases.cases_of(request, source.inputs)
    computed = cases.write_cases(request, drawn, source.run)
    common.progress("exporting with tf2onnx")
    with warnings.catch_warnings(record=True) as records, common.logged("tf2onnx") as messages:
        warnings.simplefilter("always")
        convert(request, onnx, tf2onnx, source, messages)
    common.progress("saving")
    opset = onnx_file.tidy(request, onnx, source.inputs, drawn, computed)
    check_names(request, onnx, source)
    inputs, left_out = onnx_file.kept_inputs(request, onnx, source.inputs)
    notes = left_out + cases.says_little(computed) + common.noted(records) + [text for level, text in messages if level >= logging.WARNING]
    return common.Result("tf2onnx", inputs, source.outputs, opset, notes, source.choices)


def convert(request: Request, onnx: Any, tf2onnx: Any, source: Source, messages: List[Tuple[int, str]]) -> None:
    names = dict(zip(source.input_tensors + source.output_tensors, [each.name for each in source.inputs] + source.outputs))
    try:
        model, _ = tf2onnx.convert.from_graph_def(
            source.graph_def,
            name="model",
            input_names=source.input_tensors,
            output_names=source.output_tensors,
            opset=request.opset,
            tensors_to_rename=names,
        )
    except MemoryError:
        raise
    except Exception as error:
        unsupported(messages, error)
        help = f"{common.with_traceback()}; another `opset:` may do"
        raise ExportError("export", common.described(error), help) from error
    unsupported(messages, None)
    number_constants(model.graph)
    with open(request.onnx_path, "wb") as file:
        file.write(model.SerializeToString(deterministic=True))


def number_constants(graph: Any) -> None:
    """Numbers the constants that tf2onnx made by where they are first read: its own numbers differ
    from run to run, and the same model should be the same bytes."""
    made = {each.name for each in graph.initializer if re.search(r"__\d+$", each.name)}
    nodes = [node for each in onnx_file.graphs_of(graph) for node in each.node]
    first = {name: index for index, name in reversed(list(enumerate(name for node in nodes for name in node.input)))}
    taken = {name for node in nodes for name in (*node.input, *node.output)} - made
    free = (name for name in map("constant_{}".format, range(len(made) + len(taken))) if name not in taken)
    order = sorted(graph.initializer, key=lambda each: (first.get(each.name, len(first)), each.name))
    names = {each.name: next(free) for each in order if each.name in made}
    before = {new: old for old, new in names.items()}
    for each in onnx_file.graphs_of(graph):
        for value in [*each.initializer, *each.value_info, *each.output]:
            value.name = names.get(value.name, value.name)
        for node in each.node:
            node.input[:] = [names.get(name, name) for name in node.input]
    graph.initializer.sort(key=lambda each: (first.get(before.get(each.name, each.name), len(first)), each.name))


def check_names(request: Request, onnx: Any, source: Source) -> None:
    """The model's outputs bear the names that users know, whatever the converter did."""
    outputs = [each.name for each in onnx.load(request.onnx_path, load_external_data=False).graph.output]
    missing = [name for name in source.outputs if name not in outputs]
    if missing:
        message = f"tf2onnx left out the outputs {common.listed(missing)}: the model gives {common.listed(outputs)}"
        raise ExportError("export", message, "leave out outputs that are another's copy: `outputs:` names those to keep")


def unsupported(messages: Sequence[Tuple[int, str]], error: Optional[Exception]) -> None:
    """tf2onnx goes on after an operator that it does not know; the model would be of no use."""
    found = [match for _, text in messages for match in [UNSUPPORTED.search(text)] if match]
    if not found:
        return
    node, operator = found[0].groups()
    others = sorted({match.group(2) for match in found} - {operator})
    also = f" (also {common.listed(others)})" if others else ""
    message = f"tf2onnx has no ONNX form of the operator `{operator}` at `{node}`{also}"
    help = "try a later `opset:`, write the model without it, or write the export yourself with `script:`"
    raise ExportError("unsupported_operator", message, help) from error


if __name__ == "__main__":
    common.main(export)
