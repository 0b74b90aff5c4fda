"""Prints which Python this is and which packages of an export it has, as one JSON object.

Reads metadata only: nothing is imported. A package that is not there is null.
"""

import importlib.metadata
import json
import platform
import sys

# TensorFlow goes by several names, one of which is installed.
PACKAGES = {
    "torch": ["torch"],
    "torchvision": ["torchvision"],
    "transformers": ["transformers"],
    "tensorflow": ["tensorflow", "tensorflow-cpu", "tensorflow-intel", "tensorflow-macos"],
    "tf2onnx": ["tf2onnx"],
    "keras": ["keras"],
    "onnx": ["onnx"],
    "onnxscript": ["onnxscript"],
    "safetensors": ["safetensors"],
    "numpy": ["numpy"],
}


def version(names):
    """The version of the first of the names that is installed."""
    for name in names:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def main():
    found = {key: version(names) for key, names in PACKAGES.items()}
    json.dump({"python": platform.python_version(), **found}, sys.stdout)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
