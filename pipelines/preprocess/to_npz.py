"""Turns lines of `64 grey values, label` into the arrays `image` and `label` of an .npz.

    python3 to_npz.py digits.csv digits.npz

Standard library only: an .npz is a zip of .npy files, an .npy a short header and raw numbers.
"""

import struct
import sys
import zipfile


def npy(dtype, shape, raw):
    header = repr({"descr": dtype, "fortran_order": False, "shape": shape})
    header += " " * (-(len(header) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + raw


def main(source, target):
    pixels, labels = [], []
    with open(source, encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if line.startswith("#") or not line.strip():
                continue
            *grey, label = map(int, line.split(","))
            if len(grey) != 64 or not all(0 <= value <= 16 for value in grey):
                sys.exit(f"{source}:{number}: expected 64 values from 0 to 16, then the digit")
            pixels.extend(value / 16 for value in grey)
            labels.append(label)
    count = len(labels)
    arrays = {
        "image": npy("<f4", (count, 1, 8, 8), struct.pack(f"<{len(pixels)}f", *pixels)),
        "label": npy("<i8", (count,), struct.pack(f"<{count}q", *labels)),
    }
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            # ZipInfo carries a fixed date, so equal input makes equal bytes.
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), array, zipfile.ZIP_DEFLATED)
    print(f"{count} images")


if __name__ == "__main__":
    main(*sys.argv[1:])
