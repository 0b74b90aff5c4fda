#!/usr/bin/env python3
"""Whether raw bytes are those of an array: same.py RAW-FILE NPZ-FILE NAME. Standard library only."""

import struct
import sys
import zipfile


def content(npz, name):
    """The bytes of an array."""
    with zipfile.ZipFile(npz) as archive:
        array = archive.read(f"{name}.npy")
    if array[6] == 1:
        return array[10 + struct.unpack("<H", array[8:10])[0] :]
    return array[12 + struct.unpack("<I", array[8:12])[0] :]


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    raw, npz, name = sys.argv[1:]
    with open(raw, "rb") as file:
        ours, theirs = content(npz, name), file.read()
    different = sum(a != b for a, b in zip(ours, theirs))
    if len(ours) != len(theirs) or different:
        sys.exit(f"{name}: {different} of {len(ours)} bytes differ from the {len(theirs)} of {raw}")
    print(f"{name}: the same {len(ours)} bytes")


main()
