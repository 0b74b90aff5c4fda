#!/usr/bin/env python3
"""Models whose numbers mean something, and data for them: models.py FOLDER [NAME..]

  resnet-224, resnet-64      ResNet-18 over images of 3 x 224 x 224 (3 x 64 x 64), opset 17
  encoder                    a two-layer transformer encoder over token ids with a padding mask
  encoder-decomposed         the same one, its LayerNormalization written in small operators

Weights are random (He, Xavier) and nothing is trained but the last layer: batch norm takes its
statistics from data, layer by layer, and the classifier is a ridge regression on the features of
the calibration set, so that top-1 on held-out data is a real measure of damage done by rounding.
Each model comes as NAME.onnx, NAME-calibration.npz (1024 samples) and NAME-holdout.npz (512),
arrays named as its inputs, and `label`. The same bytes each time on one machine.
"""

import argparse
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

OPSET, IR = 17, 8
CALIBRATION, HOLDOUT = 1024, 512
PROBES = 32  # samples whose values are followed while a model is built


def session(model):
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def batches(arrays, size):
    """The samples of a dict of arrays, `size` at a time."""
    for start in range(0, len(next(iter(arrays.values()))), size):
        yield {name: array[start:start + size] for name, array in arrays.items()}


def run_alone(node, values, opset):
    """The first output of a node whose inputs are in `values`."""
    known = {key: values[key] for key in dict.fromkeys(node.input) if key}
    infos = [helper.make_tensor_value_info(key, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
             for key, value in known.items()]
    graph = helper.make_graph([node], "one", infos, [helper.make_empty_tensor_value_info(node.output[0])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=IR)
    return session(model).run(node.output[:1], known)[0]


class Network:
    """A graph that grows node by node; each node also runs at once on a few samples."""

    def __init__(self, name, inputs, probes):
        self.name, self.inputs = name, inputs
        self.nodes, self.weights = [], []
        self.values = {key: value[:PROBES] for key, value in probes.items()}

    def weight(self, name, array):
        self.weights.append(numpy_helper.from_array(array, name))
        self.values[name] = array
        return name

    def node(self, op, name, *inputs, **attributes):
        """Appends a node named `name`, which is also its output's name."""
        node = helper.make_node(op, inputs, [name], name, **attributes)
        self.nodes.append(node)
        self.values[name] = run_alone(node, self.values, OPSET)
        return name

    def model(self, output):
        """The graph up to `output`; the first dimension of inputs and output is `batch`."""
        def info(name, value):
            kind = helper.np_dtype_to_tensor_dtype(value.dtype)
            return helper.make_tensor_value_info(name, kind, ["batch", *value.shape[1:]])

        graph = helper.make_graph(self.nodes, self.name, [info(name, self.values[name]) for name in self.inputs],
                                  [info(output, self.values[output])], self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR,
                                  producer_name="tests/peers/precision/models.py")
        model = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
        onnx.checker.check_model(model, full_check=True)
        return model

    def classifier(self, features, labels, arrays, classes):
        """A Gemm on `features`, fitted to `labels` of all samples by ridge regression."""
        run = session(self.model(features))
        x = np.concatenate([run.run(None, batch)[0] for batch in batches(arrays, PROBES)]).astype(np.float64)
        centre = x.mean(axis=0)
        x -= centre
        gram = x.T @ x
        gram += 1.0 * np.trace(gram) / len(gram) * np.eye(len(gram))
        weights = np.linalg.solve(gram, x.T @ np.eye(classes)[labels]).T
        bias = 1 / classes - weights @ centre
        scale = 10.0  # logits of a usual size
        w = self.weight("head.weight", (scale * weights).astype(np.float32))
        b = self.weight("head.bias", (scale * bias).astype(np.float32))
        return self.node("Gemm", "logits", features, w, b, transB=1)


# Images: gratings behind a shape; the class decides orientation, wavelength, colours and shape.

IMAGE_CLASSES = 20


def images(rng, count, side):
    labels = rng.integers(0, IMAGE_CLASSES, count)
    classes = np.random.default_rng(20).random((IMAGE_CLASSES, 9))
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) / side - 0.5
    made = np.empty((count, 3, side, side), np.float32)
    for image, label in zip(made, labels):
        jitter = rng.normal(0, 1, 16).astype(np.float32)
        kind = classes[label].astype(np.float32)
        angle = np.pi * kind[0] + 0.12 * jitter[0]
        wavelength = 0.05 + 0.20 * kind[1] * (1 + 0.15 * jitter[1])
        along = x * np.cos(angle) + y * np.sin(angle)
        bend = 0.03 * np.sin(2 * np.pi * (x * jitter[2] + y * jitter[3]) + jitter[4])
        stripes = np.sin(2 * np.pi * (along + bend) / wavelength + 3 * jitter[5])
        light = 1 + 0.4 * (x * jitter[6] + y * jitter[7])
        colour = kind[2:5] + 0.08 * jitter[8:11]
        image[:] = (0.5 + 0.25 * stripes * light) * colour[:, None, None] + 0.15
        cx, cy, radius = 0.1 * jitter[11], 0.1 * jitter[12], 0.2 + 0.03 * jitter[13]
        dx, dy = np.abs(x - cx), np.abs(y - cy)
        inside = (np.maximum(dx, dy) if label % 2 else np.hypot(dx, dy)) < radius
        image[:, inside] = (kind[5:8] * (0.8 + 0.1 * jitter[14]))[:, None]
        image += rng.normal(0, 0.02, image.shape).astype(np.float32)
    mean, deviation = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
    made = (made.clip(0, 1) - mean[:, None, None]) / deviation[:, None, None]
    return {"image": made.astype(np.float32)}, labels


def resnet(name, side):
    rng = np.random.default_rng(18)
    arrays, labels = images(rng, CALIBRATION, side)
    net = Network(name, ["image"], arrays)

    def conv(label, x, channels, kernel, stride):
        fan_in = net.values[x].shape[1] * kernel * kernel
        shape = (channels, net.values[x].shape[1], kernel, kernel)
        w = net.weight(f"{label}.weight", rng.normal(0, np.sqrt(2 / fan_in), shape).astype(np.float32))
        return net.node("Conv", label, x, w, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[kernel // 2] * 4)

    def batch_norm(label, x, gammas=(0.5, 1.5)):
        seen = net.values[x].astype(np.float64)
        channels = seen.shape[1]
        gamma = rng.uniform(*gammas, channels).astype(np.float32)
        beta = rng.normal(0, 0.2, channels).astype(np.float32)
        parameters = {"gamma": gamma, "beta": beta, "mean": seen.mean((0, 2, 3)).astype(np.float32),
                      "variance": seen.var((0, 2, 3)).astype(np.float32)}
        return net.node("BatchNormalization", label, x,
                        *(net.weight(f"{label}.{key}", value) for key, value in parameters.items()), epsilon=1e-5)

    def block(label, x, channels, stride):
        y = conv(f"{label}.conv1", x, channels, 3, stride)
        y = net.node("Relu", f"{label}.relu1", batch_norm(f"{label}.bn1", y))
        y = conv(f"{label}.conv2", y, channels, 3, 1)
        y = batch_norm(f"{label}.bn2", y, gammas=(0.2, 0.6))  # a branch adds little, as training has it
        if stride != 1 or net.values[x].shape[1] != channels:
            x = batch_norm(f"{label}.shortcut.bn", conv(f"{label}.shortcut.conv", x, channels, 1, stride))
        return net.node("Relu", f"{label}.relu2", net.node("Add", f"{label}.add", y, x))

    x = conv("stem.conv", "image", 64, 7, 2)
    x = net.node("Relu", "stem.relu", batch_norm("stem.bn", x))
    x = net.node("MaxPool", "stem.pool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    for stage, channels in enumerate((64, 128, 256, 512), start=1):
        for index in range(2):
            x = block(f"layer{stage}.{index}", x, channels, 2 if stage > 1 and index == 0 else 1)
    x = net.node("Flatten", "flatten", net.node("GlobalAveragePool", "pool", x), axis=1)
    logits = net.classifier(x, labels, arrays, IMAGE_CLASSES)
    return net.model(logits), (arrays, labels), images(rng, HOLDOUT, side)


# Sentences: each class likes some tokens more than others.

SENTENCE_CLASSES, VOCABULARY, LENGTH, WIDTH, HEADS = 16, 1000, 64, 256, 4


def sentences(rng, count):
    labels = rng.integers(0, SENTENCE_CLASSES, count)
    liked = np.random.default_rng(16).integers(1, VOCABULARY, (SENTENCE_CLASSES, 60))
    ids = rng.integers(1, VOCABULARY, (count, LENGTH))
    on_topic = rng.random((count, LENGTH)) < 0.5
    ids[on_topic] = liked[labels[:, None], rng.integers(0, 60, (count, LENGTH))][on_topic]
    ids[:, 0] = 1
    mask = np.arange(LENGTH) < rng.integers(LENGTH // 2, LENGTH + 1, count)[:, None]
    return {"ids": np.where(mask, ids, 0).astype(np.int64), "mask": mask.astype(np.int64)}, labels


def encoder(name, decomposed):
    rng = np.random.default_rng(2)
    arrays, labels = sentences(rng, CALIBRATION)
    net = Network(name, ["ids", "mask"], arrays)

    def constant(label, *values, dtype=np.float32):
        return net.weight(label, np.array(values if len(values) != 1 else values[0], dtype))

    def linear(label, x, width):
        depth = net.values[x].shape[-1]
        w = rng.normal(0, np.sqrt(2 / (depth + width)), (depth, width)).astype(np.float32)
        b = rng.normal(0, 0.05, width).astype(np.float32)
        product = net.node("MatMul", f"{label}.matmul", x, net.weight(f"{label}.weight", w))
        return net.node("Add", label, product, net.weight(f"{label}.bias", b))

    def layer_norm(label, x):
        scale = net.weight(f"{label}.scale", rng.uniform(0.7, 1.3, WIDTH).astype(np.float32))
        bias = net.weight(f"{label}.bias", rng.normal(0, 0.1, WIDTH).astype(np.float32))
        if not decomposed:
            return net.node("LayerNormalization", label, x, scale, bias, axis=-1, epsilon=1e-5)
        centred = net.node("Sub", f"{label}.centred", x,
                           net.node("ReduceMean", f"{label}.mean", x, axes=[-1], keepdims=1))
        squared = net.node("Pow", f"{label}.squared", centred, constant(f"{label}.two", 2.0))
        variance = net.node("ReduceMean", f"{label}.variance", squared, axes=[-1], keepdims=1)
        safe = net.node("Add", f"{label}.safe", variance, constant(f"{label}.epsilon", 1e-5))
        deviation = net.node("Sqrt", f"{label}.deviation", safe)
        normal = net.node("Div", f"{label}.normal", centred, deviation)
        return net.node("Add", label, net.node("Mul", f"{label}.scaled", normal, scale), bias)

    def heads(label, x, order):
        split = net.node("Reshape", f"{label}.split", x,
                         constant(f"{label}.shape", 0, LENGTH, HEADS, WIDTH // HEADS, dtype=np.int64))
        return net.node("Transpose", f"{label}.heads", split, perm=order)

    def attention(label, x, mask):
        q = heads(f"{label}.query", linear(f"{label}.query", x, WIDTH), [0, 2, 1, 3])
        k = heads(f"{label}.key", linear(f"{label}.key", x, WIDTH), [0, 2, 3, 1])
        v = heads(f"{label}.value", linear(f"{label}.value", x, WIDTH), [0, 2, 1, 3])
        scores = net.node("MatMul", f"{label}.scores", q, k)
        scores = net.node("Div", f"{label}.scaled", scores, constant(f"{label}.root", np.sqrt(WIDTH // HEADS)))
        weights = net.node("Softmax", f"{label}.softmax", net.node("Add", f"{label}.masked", scores, mask), axis=-1)
        mixed = net.node("Transpose", f"{label}.joined", net.node("MatMul", f"{label}.mixed", weights, v),
                         perm=[0, 2, 1, 3])
        flat = net.node("Reshape", f"{label}.flat", mixed, constant(f"{label}.shape", 0, LENGTH, WIDTH, dtype=np.int64))
        return linear(f"{label}.output", flat, WIDTH)

    def gelu(label, x):
        error = net.node("Erf", f"{label}.erf", net.node("Div", f"{label}.div", x, constant(f"{label}.root", np.sqrt(2))))
        shifted = net.node("Add", f"{label}.add", error, constant(f"{label}.one", 1.0))
        return net.node("Mul", label, net.node("Mul", f"{label}.mul", x, shifted), constant(f"{label}.half", 0.5))

    def layer(label, x, mask):
        mixed = attention(f"{label}.attention", x, mask)
        x = layer_norm(f"{label}.norm1", net.node("Add", f"{label}.residual1", mixed, x))
        inner = gelu(f"{label}.gelu", linear(f"{label}.up", x, 4 * WIDTH))
        return layer_norm(f"{label}.norm2", net.node("Add", f"{label}.residual2", linear(f"{label}.down", inner, WIDTH), x))

    words = net.weight("embedding.words", rng.normal(0, 1, (VOCABULARY, WIDTH)).astype(np.float32))
    places = net.weight("embedding.places", rng.normal(0, 0.3, (LENGTH, WIDTH)).astype(np.float32))
    x = net.node("Add", "embedding.sum", net.node("Gather", "embedding.gather", words, "ids"), places)
    x = layer_norm("embedding.norm", x)
    kept = net.node("Cast", "mask.float", "mask", to=TensorProto.FLOAT)
    hidden = net.node("Sub", "mask.hidden", constant("mask.one", 1.0), kept)
    mask = net.node("Mul", "mask.penalty", hidden, constant("mask.large", -10000.0))
    mask = net.node("Unsqueeze", "mask.wide", mask, constant("mask.axes", 1, 2, dtype=np.int64))
    for index in range(2):
        x = layer(f"layer{index}", x, mask)
    first = net.node("Gather", "pooler.first", x, constant("pooler.index", 0, dtype=np.int64), axis=1)
    w = rng.normal(0, np.sqrt(1 / WIDTH), (WIDTH, WIDTH)).astype(np.float32)
    b = rng.normal(0, 0.05, WIDTH).astype(np.float32)
    dense = net.node("Gemm", "pooler.dense", first, net.weight("pooler.weight", w), net.weight("pooler.bias", b), transB=1)
    logits = net.classifier(net.node("Tanh", "pooler", dense), labels, arrays, SENTENCE_CLASSES)
    return net.model(logits), (arrays, labels), sentences(rng, HOLDOUT)


MODELS = {
    "resnet-224": lambda name: resnet(name, 224),
    "resnet-64": lambda name: resnet(name, 64),
    "encoder": lambda name: encoder(name, decomposed=False),
    "encoder-decomposed": lambda name: encoder(name, decomposed=True),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(MODELS)}; all if none is given")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name in arguments.names or MODELS:
        model, (arrays, labels), (unseen, unseen_labels) = MODELS[name](name)
        onnx.save(model, arguments.folder / f"{name}.onnx")
        np.savez(arguments.folder / f"{name}-calibration.npz", **arrays, label=labels)
        np.savez(arguments.folder / f"{name}-holdout.npz", **unseen, label=unseen_labels)
        run = session(model)
        logits = np.concatenate([run.run(None, batch)[0] for batch in batches(unseen, PROBES)])
        print(f"{name}: {len(model.graph.node)} nodes, {model.ByteSize() / 1e6:.1f} MB, "
              f"top-1 on unseen data {np.mean(logits.argmax(1) == unseen_labels):.3f}")


if __name__ == "__main__":
    main()
