#!/usr/bin/env python3
"""Where a model is quantized, in a form that can be compared: placement.py MODEL.onnx

One JSON object: `inputs` says for each quantized input of each operator what it is,
    "layer1.0.conv1[0]": "activation stem.pool"          (input 0 is the tensor stem.pool)
    "layer1.0.conv1[1]": "weight axis 0"                  (a constant, per channel; or "per tensor")
`plain` lists operators that have floating-point inputs and none of them quantized, `half` those of
which some activations are quantized and some are not. An operator is called by its node's name, or
by its first output's where it has none.
"""

import json
import sys
from collections import Counter

import onnx
from onnx import TensorProto, numpy_helper

FLOATS = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16}
QDQ = {"QuantizeLinear", "DequantizeLinear"}
KEEPS_VALUES = {"Cast", "Identity"}


class Graph:
    def __init__(self, model):
        self.model, graph = model, model.graph
        self.producers = {name: node for node in graph.node for name in node.output}
        self.constants = {tensor.name: tensor for tensor in graph.initializer}
        for node in graph.node:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                self.constants[node.output[0]] = node.attribute[0].t
        inferred = onnx.shape_inference.infer_shapes(model).graph
        infos = [*inferred.value_info, *inferred.input, *inferred.output]
        self.types = {info.name: info.type.tensor_type.elem_type for info in infos}
        self.types |= {name: tensor.data_type for name, tensor in self.constants.items()}

    def source(self, name):
        """The tensor behind casts and copies, and the node that makes it (None: an input or a constant)."""
        node = self.producers.get(name)
        while node is not None and node.op_type in KEEPS_VALUES:
            name = node.input[0]
            node = self.producers.get(name)
        return name, node

    def quantized(self, name):
        """What a DequantizeLinear made of, or None where `name` does not come from one."""
        _, node = self.source(name)
        if node is None or node.op_type != "DequantizeLinear":
            return None
        scale = self.constants.get(node.input[1])
        axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
        where = f"axis {axis}" if scale is not None and numpy_helper.to_array(scale).size > 1 else "per tensor"
        origin, before = self.source(node.input[0])
        if before is not None and before.op_type == "QuantizeLinear":
            origin, _ = self.source(before.input[0])
        if origin in self.constants:
            return f"weight {where}"
        return f"activation {origin}" + ("" if where == "per tensor" else f" {where}")

    def zero_points(self):
        """How many zero points of each type there are, and how many of them are not zero."""
        seen = Counter()
        for node in self.model.graph.node:
            if node.op_type == "DequantizeLinear":
                zero = self.constants.get(node.input[2]) if len(node.input) > 2 else None
                kind = "none" if zero is None else TensorProto.DataType.Name(zero.data_type).lower()
                shifted = zero is not None and numpy_helper.to_array(zero).astype("float32").any()
                seen[f"{kind}, {'not ' if shifted else ''}zero"] += 1
        return dict(sorted(seen.items()))


def placement(model):
    graph = Graph(model)
    inputs, plain, half = {}, [], []
    for node in model.graph.node:
        if node.op_type in QDQ or node.op_type in KEEPS_VALUES or node.op_type == "Constant":
            continue
        name = f"{node.op_type} {node.name or node.output[0]}"
        found = {index: what for index, tensor in enumerate(node.input) if (what := graph.quantized(tensor))}
        inputs |= {f"{name}[{index}]": what for index, what in found.items()}
        floats = [index for index, tensor in enumerate(node.input) if graph.types.get(tensor) in FLOATS]
        activations = [index for index in floats if graph.source(node.input[index])[0] not in graph.constants
                       and not found.get(index, "").startswith("weight")]
        if floats and not found:
            plain.append(name)
        elif 0 < sum(index in found for index in activations) < len(activations):
            half.append(name)
    return {
        "opset": next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx")),
        "operators": dict(sorted(Counter(node.op_type for node in model.graph.node).items())),
        "zero_points": graph.zero_points(),
        "outputs": {o.name: what for o in model.graph.output if (what := graph.quantized(o.name))},
        "inputs": dict(sorted(inputs.items())),
        "half": sorted(half),
        "plain": sorted(plain),
    }


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print(json.dumps(placement(onnx.load(sys.argv[1])), indent=1))
