#!/usr/bin/env python3
"""Writes what users have of the networks of convert_nets.py, to a folder.

    make_convert_models.py FOLDER NET..

NET.pt (TorchScript, traced), NET.pt2 (torch.export), NET.pth (a state dict), NET.data.npz (inputs to
validate on). What is there already is kept. Needs torch, torchvision and numpy; downloads nothing.
"""

import sys
import warnings
from pathlib import Path

import numpy as np
import torch

import convert_nets

SAMPLES, TOKENS, WORDS = 8, 64, 8192


def inputs(name):
    """Eight samples by the input's name."""
    generator = torch.Generator().manual_seed(7)
    if name == "encoder":
        tokens = torch.randint(0, WORDS, (SAMPLES, TOKENS), generator=generator, dtype=torch.int32)
        lengths = torch.randint(TOKENS // 4, TOKENS + 1, (SAMPLES, 1), generator=generator)
        return {"tokens": tokens, "mask": (torch.arange(TOKENS)[None] < lengths).to(torch.int32)}
    return {"image": torch.rand(SAMPLES, 3, 224, 224, generator=generator)}


def settled(net, name):
    """Batch norms that know their activations, as training leaves them."""
    norms = [each for each in net.modules() if isinstance(each, torch.nn.BatchNorm2d)]
    for each in norms:
        each.momentum = None
    if norms:
        with torch.no_grad():
            net.train()(*inputs(name).values())
    return net.eval()


def write(folder, name):
    if (folder / f"{name}.data.npz").exists():
        return
    torch.manual_seed(11)
    torch.backends.mha.set_fastpath_enabled(False)  # its fused operators have no ONNX form
    net, data = settled(getattr(convert_nets, name)(), name), inputs(name)
    torch.save(net.state_dict(), folder / f"{name}.pth")
    few = tuple(each[:2].clone() for each in data.values())
    torch.jit.trace(net, few, check_trace=False).save(str(folder / f"{name}.pt"))
    batch, length = torch.export.Dim("batch", min=1, max=64), torch.export.Dim("length", min=2, max=128)
    axes = {0: batch, 1: length} if name == "encoder" else {0: batch}
    program = torch.export.export(net, few, dynamic_shapes=tuple(axes for _ in few))
    torch.export.save(program, folder / f"{name}.pt2")
    np.savez(folder / f"{name}.data.npz", **{key: each.numpy() for key, each in data.items()})
    print(f"wrote {name}")


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")
    for name in sys.argv[2:]:
        write(folder, name)


if __name__ == "__main__":
    main()
