#!/usr/bin/env python3
"""How two quantized forms of one model differ in placement: diff_placement.py A.onnx B.onnx

Both must come from the same model, with the names of its nodes and tensors kept. Ends with 1 where
they differ.
"""

import sys
from collections import defaultdict

import onnx
from placement import placement


def differences(a, b):
    """Lines by kind of difference; `a`, `b` are placements."""
    found = defaultdict(list)
    for key in sorted({*a["inputs"], *b["inputs"]}):
        ours, theirs = a["inputs"].get(key, "not quantized"), b["inputs"].get(key, "not quantized")
        if ours != theirs:
            kind = key.split(" ", 1)[0] + key[key.rindex("["):]
            found[kind].append(f"{key}: {ours} | {theirs}")
    for key in ("opset", "outputs", "zero_points"):
        if a[key] != b[key]:
            found[key].append(f"{a[key]} | {b[key]}")
    return found


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    a, b = (placement(onnx.load(path)) for path in sys.argv[1:])
    found = differences(a, b)
    for kind, lines in found.items():
        print(f"{kind} ({len(lines)})", *(f"  {line}" for line in lines), sep="\n")
    same = sum(b["inputs"].get(key) == what for key, what in a["inputs"].items())
    print(f"{same} inputs are quantized alike, {len(a['inputs'])} and {len(b['inputs'])} in all")
    sys.exit(any(kind not in ("opset", "zero_points") for kind in found))


if __name__ == "__main__":
    main()
