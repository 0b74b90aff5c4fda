#!/usr/bin/env python3
"""Writes the models whose speed is measured to a folder, with random weights from a fixed seed:

    make_speed_models.py FOLDER

thin.onnx       24 convolutions of 16 channels on 16x16: a run is mostly launches
resnet50.onnx   ResNet-50 on uint8 images, which it normalises itself; batch normalisation is folded
encoder.onnx    a transformer encoder of 6 layers, 384 wide, for 128 tokens
identity.onnx   takes and gives as many bytes as the ResNet and computes next to nothing

Opset 17, the batch axis is free. What is there already is kept. Needs numpy and onnx.
"""

import math
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper, numpy_helper

SIDE, CLASSES = 224, 1000
TOKENS, VOCABULARY, WIDTH, HEADS, LAYERS = 128, 8192, 384, 12, 6


class Graph:
    """A graph that grows node by node; every value has a name."""

    def __init__(self, seed):
        self.random = np.random.default_rng(seed)
        self.nodes, self.weights = [], []

    def node(self, op, *inputs, name=None, **attributes):
        output = name or f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def constant(self, value):
        name = f"constant_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def noise(self, *shape, deviation):
        return self.constant(self.random.standard_normal(shape, np.float32) * np.float32(deviation))

    def convolution(self, value, channels_in, channels_out, kernel, stride=1, gain=2.0):
        weight = self.noise(channels_out, channels_in, kernel, kernel, deviation=math.sqrt(gain / (channels_in * kernel**2)))
        bias = self.noise(channels_out, deviation=0.01)
        pads = [kernel // 2] * 4
        return self.node("Conv", value, weight, bias, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=pads)

    def dense(self, value, width_in, width_out):
        product = self.node("MatMul", value, self.noise(width_in, width_out, deviation=math.sqrt(1 / width_in)))
        return self.node("Add", product, self.noise(width_out, deviation=0.01))

    def save(self, path, inputs, outputs):
        def declared(values):
            return [helper.make_tensor_value_info(name, dtype, ["batch", *shape]) for name, (dtype, *shape) in values.items()]

        graph = helper.make_graph(self.nodes, path.stem, declared(inputs), declared(outputs), self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model)
        # Under another name first: a script that is stopped leaves nothing that looks whole.
        partial = path.with_suffix(".partial")
        onnx.save(model, partial)
        partial.rename(path)


def thin(path):
    graph = Graph(1)
    value = graph.node("Relu", graph.convolution("image", 3, 16, 3, stride=2))
    for _ in range(23):
        value = graph.node("Relu", graph.convolution(value, 16, 16, 3))
    flat = graph.node("Flatten", graph.node("GlobalAveragePool", value))
    graph.node("Gemm", flat, graph.noise(16, 10, deviation=0.25), graph.noise(10, deviation=0.01), name="logits")
    graph.save(path, {"image": (T.FLOAT, 3, 32, 32)}, {"logits": (T.FLOAT, 10)})


def resnet50(path):
    graph = Graph(2)
    mean = np.array([123.675, 116.28, 103.53], np.float32).reshape(1, 3, 1, 1)
    deviation = np.array([58.395, 57.12, 57.375], np.float32).reshape(1, 3, 1, 1)
    centred = graph.node("Sub", graph.node("Cast", "image", to=T.FLOAT), graph.constant(mean))
    normal = graph.node("Mul", centred, graph.constant(1 / deviation))
    value = graph.node("Relu", graph.convolution(normal, 3, 64, 7, stride=2))
    value = graph.node("MaxPool", value, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    channels = 64
    for stage, blocks in enumerate((3, 4, 6, 3)):
        inner = 64 << stage
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            beside = value if block else graph.convolution(value, channels, 4 * inner, 1, stride, gain=1.0)
            inside = graph.node("Relu", graph.convolution(value, channels, inner, 1))
            inside = graph.node("Relu", graph.convolution(inside, inner, inner, 3, stride))
            # A block adds little to what passes by it, as training would leave it: so half
            # precision is enough.
            inside = graph.convolution(inside, inner, 4 * inner, 1, gain=0.1)
            value = graph.node("Relu", graph.node("Add", inside, beside))
            channels = 4 * inner
    flat = graph.node("Flatten", graph.node("GlobalAveragePool", value))
    weight = graph.noise(channels, CLASSES, deviation=math.sqrt(1 / channels))
    graph.node("Gemm", flat, weight, graph.noise(CLASSES, deviation=0.01), name="logits")
    graph.save(path, {"image": (T.UINT8, 3, SIDE, SIDE)}, {"logits": (T.FLOAT, CLASSES)})


def encoder(path):
    graph = Graph(3)
    head = WIDTH // HEADS

    def normalised(value, name=None):
        scale, shift = graph.constant(np.ones(WIDTH, np.float32)), graph.constant(np.zeros(WIDTH, np.float32))
        return graph.node("LayerNormalization", value, scale, shift, name=name, axis=-1, epsilon=1e-5)

    def heads(value, order):
        apart = graph.node("Reshape", graph.dense(value, WIDTH, WIDTH), graph.constant(np.array([0, TOKENS, HEADS, head])))
        return graph.node("Transpose", apart, perm=order)

    kept = graph.node("Sub", graph.constant(np.float32(1)), graph.node("Cast", "mask", to=T.FLOAT))
    bias = graph.node("Mul", graph.node("Unsqueeze", kept, graph.constant(np.array([1, 2]))), graph.constant(np.float32(-10000)))
    value = graph.node("Gather", graph.noise(VOCABULARY, WIDTH, deviation=0.5), "tokens")
    value = normalised(graph.node("Add", value, graph.noise(1, TOKENS, WIDTH, deviation=0.1)))
    for layer in range(LAYERS):
        query, key, seen = heads(value, [0, 2, 1, 3]), heads(value, [0, 2, 3, 1]), heads(value, [0, 2, 1, 3])
        scores = graph.node("Mul", graph.node("MatMul", query, key), graph.constant(np.float32(1 / math.sqrt(head))))
        weights = graph.node("Softmax", graph.node("Add", scores, bias), axis=-1)
        together = graph.node("Transpose", graph.node("MatMul", weights, seen), perm=[0, 2, 1, 3])
        joined = graph.node("Reshape", together, graph.constant(np.array([0, TOKENS, WIDTH])))
        value = normalised(graph.node("Add", value, graph.dense(joined, WIDTH, WIDTH)))
        wide = graph.dense(value, WIDTH, 4 * WIDTH)
        bell = graph.node("Erf", graph.node("Mul", wide, graph.constant(np.float32(math.sqrt(0.5)))))
        half = graph.node("Mul", wide, graph.constant(np.float32(0.5)))
        gelu = graph.node("Mul", half, graph.node("Add", bell, graph.constant(np.float32(1))))
        last = "hidden" if layer == LAYERS - 1 else None
        value = normalised(graph.node("Add", value, graph.dense(gelu, 4 * WIDTH, WIDTH)), last)
    graph.save(path, {"tokens": (T.INT32, TOKENS), "mask": (T.INT32, TOKENS)}, {"hidden": (T.FLOAT, TOKENS, WIDTH)})


def identity(path):
    graph = Graph(4)
    flat = graph.node("Flatten", graph.node("Cast", "image", to=T.FLOAT))
    starts, ends, axes = (graph.constant(np.array([number])) for number in (0, CLASSES, 1))
    graph.node("Slice", flat, starts, ends, axes, name="logits")
    graph.save(path, {"image": (T.UINT8, 3, SIDE, SIDE)}, {"logits": (T.FLOAT, CLASSES)})


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for make in (thin, resnet50, encoder, identity):
        path = folder / f"{make.__name__}.onnx"
        if not path.exists():
            make(path)
        print(f"{path.name}: {path.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
