"""Trains a small CNN on scikit-learn's handwritten digits and writes what the pipeline starts from:
model/digits_cnn.onnx, data/holdout.npz (images it never saw) and data/calibration.npz.

    python3 -m venv venv && venv/bin/pip install -r requirements.txt && venv/bin/python train.py

One minute on two cores. The seed is fixed, so the same machine writes the same files.
"""

import os
from pathlib import Path

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import onnxruntime
import optax
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

HERE = Path(__file__).resolve().parent
SEED = 20
EPOCHS = 60
BATCH = 64
CHANNELS = (1, 16, 32, 48)
POOLED_AFTER = (1, 2)  # 8x8 -> 4x4 -> 2x2
FEATURES = CHANNELS[-1] * 2 * 2
DROPOUT = 0.25
BN_EPSILON = 1e-5
BN_MOMENTUM = 0.9
OPSET = 17


def load():
    """Images as float32 [n,1,8,8] in 0..1, split once and by class."""
    digits = load_digits()
    image = (digits.images / 16.0).astype(np.float32)[:, None]
    label = digits.target.astype(np.int64)
    return train_test_split(image, label, test_size=450, stratify=label, random_state=SEED)


def initial(key):
    params, stats = {}, {}
    for i, (fan_in, fan_out) in enumerate(zip(CHANNELS, CHANNELS[1:])):
        key, sub = jax.random.split(key)
        params[f"conv{i}"] = {
            "weight": jax.random.normal(sub, (fan_out, fan_in, 3, 3)) * np.sqrt(2 / (9 * fan_in)),
            "scale": jnp.ones(fan_out),
            "bias": jnp.zeros(fan_out),
        }
        stats[f"conv{i}"] = {"mean": jnp.zeros(fan_out), "var": jnp.ones(fan_out)}
    key, sub = jax.random.split(key)
    params["fc"] = {
        "weight": jax.random.normal(sub, (10, FEATURES)) * np.sqrt(1 / FEATURES),
        "bias": jnp.zeros(10),
    }
    return params, stats


def forward(params, stats, image, pixels, key=None):
    """Logits and the batch-norm statistics to keep; training (batch statistics, dropout) with a key."""
    x = (image - pixels["mean"]) / jnp.sqrt(pixels["var"] + BN_EPSILON)
    kept = {}
    for i in range(len(CHANNELS) - 1):
        layer, running = params[f"conv{i}"], stats[f"conv{i}"]
        x = jax.lax.conv_general_dilated(x, layer["weight"], (1, 1), "SAME")
        if key is None:
            mean, var = running["mean"], running["var"]
        else:
            mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3))
            kept[f"conv{i}"] = {
                "mean": BN_MOMENTUM * running["mean"] + (1 - BN_MOMENTUM) * mean,
                "var": BN_MOMENTUM * running["var"] + (1 - BN_MOMENTUM) * var,
            }
        per_channel = lambda v: v[None, :, None, None]
        x = (x - per_channel(mean)) / jnp.sqrt(per_channel(var) + BN_EPSILON)
        x = jax.nn.relu(x * per_channel(layer["scale"]) + per_channel(layer["bias"]))
        if i in POOLED_AFTER:
            x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
    x = x.reshape(x.shape[0], -1)
    if key is not None:
        x = jnp.where(jax.random.bernoulli(key, 1 - DROPOUT, x.shape), x / (1 - DROPOUT), 0)
    return x @ params["fc"]["weight"].T + params["fc"]["bias"], kept


def shifted(image, rng):
    """Each image moved by up to one pixel in each direction."""
    padded = np.pad(image, ((0, 0), (0, 0), (1, 1), (1, 1)))
    at = rng.integers(0, 3, (len(image), 2))
    return np.stack([p[:, y : y + 8, x : x + 8] for p, (y, x) in zip(padded, at)])


def train(image, label):
    pixels = {"mean": np.float32(image.mean()), "var": np.float32(image.var())}
    steps = EPOCHS * (len(image) // BATCH)
    optimizer = optax.adamw(optax.cosine_decay_schedule(3e-3, steps), weight_decay=1e-3)
    key = jax.random.PRNGKey(SEED)
    params, stats = initial(key)
    state = optimizer.init(params)

    def loss_of(params, stats, x, y, key):
        logits, kept = forward(params, stats, x, pixels, key)
        targets = optax.smooth_labels(jax.nn.one_hot(y, 10), 0.05)
        return optax.softmax_cross_entropy(logits, targets).mean(), kept

    @jax.jit
    def step(params, stats, state, x, y, key):
        (loss, kept), grads = jax.value_and_grad(loss_of, has_aux=True)(params, stats, x, y, key)
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), kept, state, loss

    rng = np.random.default_rng(SEED)
    for epoch in range(EPOCHS):
        order = rng.permutation(len(image))
        losses = []
        for start in range(0, len(order) - BATCH + 1, BATCH):
            pick = order[start : start + BATCH]
            key, sub = jax.random.split(key)
            x = shifted(image[pick], rng)
            params, stats, state, loss = step(params, stats, state, x, label[pick], sub)
            losses.append(float(loss))
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1:3}  loss {np.mean(losses):.4f}")
    return jax.tree.map(np.asarray, (params, stats)) + (pixels,)


def to_onnx(params, stats, pixels):
    """The graph as training frameworks write it: standardisation spelled out, batch norm apart
    from its convolution, a dropout that does nothing, a renamed output. `optimize` cleans it."""
    nodes, weights = [], []

    def weight(name, value):
        weights.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
        return name

    def node(op, inputs, output, **attributes):
        nodes.append(helper.make_node(op, inputs, [output], name=f"/{output}", **attributes))
        return output

    epsilon = weight("pixels.epsilon", BN_EPSILON)
    var = node("Add", [weight("pixels.var", pixels["var"]), epsilon], "pixels/var")
    std = node("Sqrt", [var], "pixels/std")
    x = node("Sub", ["image", weight("pixels.mean", pixels["mean"])], "pixels/centred")
    x = node("Div", [x, std], "pixels/scaled")
    for i in range(len(CHANNELS) - 1):
        name = f"conv{i}"
        x = node("Conv", [x, weight(f"{name}.weight", params[name]["weight"])], f"{name}/out",
                 kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[1, 1])
        norm = [weight(f"{name}.bn.{part}", value) for part, value in (
            ("weight", params[name]["scale"]), ("bias", params[name]["bias"]),
            ("running_mean", stats[name]["mean"]), ("running_var", stats[name]["var"]))]
        x = node("BatchNormalization", [x, *norm], f"{name}/bn", epsilon=BN_EPSILON, momentum=BN_MOMENTUM)
        x = node("Relu", [x], f"{name}/relu")
        if i in POOLED_AFTER:
            x = node("MaxPool", [x], f"{name}/pool", kernel_shape=[2, 2], strides=[2, 2])
    x = node("Flatten", [x], "flatten", axis=1)
    x = node("Dropout", [x, weight("dropout.ratio", DROPOUT)], "dropout")
    fc = [weight("fc.weight", params["fc"]["weight"]), weight("fc.bias", params["fc"]["bias"])]
    x = node("Gemm", [x, *fc], "fc", transB=1)
    node("Identity", [x], "logits")

    graph = helper.make_graph(
        nodes, "digits_cnn",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 10])],
        weights,
    )
    model = helper.make_model(graph, producer_name="train.py", ir_version=8,
                              opset_imports=[helper.make_opsetid("", OPSET)])
    onnx.checker.check_model(model, full_check=True)
    return model


def main():
    image, unseen_image, label, unseen_label = load()
    params, stats, pixels = train(image, label)

    path = HERE / "model" / "digits_cnn.onnx"
    path.parent.mkdir(exist_ok=True)
    onnx.save(to_onnx(params, stats, pixels), path)
    (HERE / "data").mkdir(exist_ok=True)
    np.savez_compressed(HERE / "data" / "holdout.npz", image=unseen_image, label=unseen_label)
    np.savez_compressed(HERE / "data" / "calibration.npz", image=image[:128])

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    logits = session.run(["logits"], {"image": unseen_image})[0]
    trained = np.asarray(forward(params, stats, unseen_image, pixels)[0])
    print(f"{path.stat().st_size} bytes; off from the trained network by {abs(logits - trained).max():.2g}")
    hits = int((logits.argmax(1) == unseen_label).sum())
    print(f"top-1 on {len(unseen_label)} unseen images: {hits} right, {hits / len(unseen_label):.4f}")


if __name__ == "__main__":
    main()
