#!/usr/bin/env python3
"""Writes the models of the GPU measurements to a folder, with inputs and what onnxruntime computes
for them on the CPU: ResNet-50 and a BERT of MiniLM's size, random weights from a fixed seed.

    make_models.py FOLDER [resnet50] [encoder]

NAME.onnx (opset 17, every batch dynamic), NAME.data.npz, NAME.recorded.npz; resnet50.calibration.npz
are more images of the same kind. What is there already is kept. Needs torch, torchvision,
transformers, onnx, onnxruntime and numpy; downloads nothing.
"""

import sys
import time
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
import torchvision
import transformers

OPSET = 17
SAMPLES, CALIBRATION_SAMPLES = 8, 64
TOKENS, VOCABULARY = 64, 8192


def images(count, seed):
    """Smooth colour fields with some noise, normalised as photographs would be."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(count, 3, 14, 14, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size=(224, 224), mode="bicubic", align_corners=False)
    return smooth + 0.1 * torch.randn(count, 3, 224, 224, generator=generator)


def resnet50():
    model = torchvision.models.resnet50(weights=None)
    # As training would leave it, a block adds little to what passes by it, and normalisation knows
    # the activations. Otherwise random weights make float16 look far worse than it is.
    for module in model.modules():
        if isinstance(module, torchvision.models.resnet.Bottleneck):
            torch.nn.init.constant_(module.bn3.weight, 0.2)
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        model.train()(images(32, seed=1))
    return model.eval(), {"image": images(SAMPLES, seed=2)}, ["logits"], {"image": {0: "batch"}, "logits": {0: "batch"}}


class Encoder(torch.nn.Module):
    """BERT with 32-bit inputs, the widest integers that TensorRT 8.6 has."""

    def __init__(self):
        super().__init__()
        self.bert = transformers.BertModel(
            transformers.BertConfig(
                vocab_size=VOCABULARY,
                hidden_size=384,
                num_hidden_layers=6,
                num_attention_heads=12,
                intermediate_size=1536,
                attn_implementation="eager",
            ),
            add_pooling_layer=False,
        )

    def forward(self, tokens, mask):
        # The additive mask, so that no version of the library has to build it while it is traced.
        bias = (1.0 - mask[:, None, None, :].float()) * -10000.0
        hidden = self.bert.embeddings(input_ids=tokens.long())
        return self.bert.encoder(hidden, attention_mask=bias).last_hidden_state


def encoder():
    generator = torch.Generator().manual_seed(3)
    tokens = torch.randint(1, VOCABULARY, (SAMPLES, TOKENS), generator=generator, dtype=torch.int32)
    lengths = torch.randint(TOKENS // 4, TOKENS + 1, (SAMPLES, 1), generator=generator)
    mask = (torch.arange(TOKENS)[None] < lengths).to(torch.int32)
    axes = {0: "batch", 1: "tokens"}
    names = ("tokens", "mask", "hidden")
    return Encoder().eval(), {"tokens": tokens, "mask": mask}, ["hidden"], {name: axes for name in names}


def save(path, arrays):
    # Under another name first: a script that is stopped leaves nothing that looks whole.
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        np.savez(file, **arrays)
    partial.rename(path)


def make(folder, name, build):
    done = folder / f"{name}.recorded.npz"
    if done.exists():
        print(f"{name}: there already")
        return
    start = time.monotonic()
    torch.manual_seed(0)
    model, inputs, outputs, axes = build()
    path = folder / f"{name}.onnx"
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            tuple(inputs.values()),
            str(path),
            input_names=list(inputs),
            output_names=outputs,
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
        expected = model(*inputs.values()).numpy()
    onnx.checker.check_model(str(path), full_check=True)

    feeds = {key: value.numpy() for key, value in inputs.items()}
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    results = dict(zip(outputs, session.run(outputs, feeds)))
    off = abs(results[outputs[0]] - expected).max() / abs(expected).max()
    if not off < 1e-4:
        sys.exit(f"{name}: onnxruntime and torch differ by {off:.2g} of the largest value")
    # One sample alone: what was traced must not have kept the batch it was traced with.
    alone = session.run(outputs, {key: value[:1] for key, value in feeds.items()})[0]
    if not np.allclose(alone, results[outputs[0]][:1], rtol=1e-3, atol=1e-3):
        sys.exit(f"{name}: a batch of one gives another result")
    save(folder / f"{name}.data.npz", feeds)
    if name == "resnet50":
        save(folder / f"{name}.calibration.npz", {"image": images(CALIBRATION_SAMPLES, seed=4).numpy()})
    save(done, results)
    size = path.stat().st_size / 2**20
    print(f"{name}: {size:.0f} MiB, off from torch by {off:.2g}, {time.monotonic() - start:.0f} s")


def main():
    builds = {"resnet50": resnet50, "encoder": encoder}
    if len(sys.argv) < 2 or not set(sys.argv[2:]) <= builds.keys():
        sys.exit(__doc__)
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    print(f"torch {torch.__version__}, transformers {transformers.__version__}, onnxruntime {onnxruntime.__version__}")
    for name in sys.argv[2:] or builds:
        make(folder, name, builds[name])


if __name__ == "__main__":
    main()
