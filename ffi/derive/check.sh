#!/bin/bash
# Holds the table, and the stand-ins that the tests make of it, against the headers of TensorRT 11.4 and TensorRT-RTX 1.3
# to 1.7, and tests the program that does it.
# Needs g++, cargo and Python 3.11 with venv; what else it needs it puts under target/.
set -euo pipefail
cd "$(dirname "$0")/../.."

python=target/derive/bin/python
[ -x "$python" ] || python3 -m venv target/derive
"$python" -m pip install --quiet --disable-pip-version-check --require-hashes -r ffi/derive/requirements.txt

find_headers='
import json, pathlib, sys
[crate] = [p for p in json.load(sys.stdin)["packages"] if p["name"] == "trtx-sys"]
print(pathlib.Path(crate["manifest_path"]).parent / "TensorRT-Headers")'
DERIVE_HEADERS=$(cargo metadata --quiet --locked --format-version 1 --filter-platform x86_64-unknown-linux-gnu \
  --manifest-path ffi/derive/header-crate/Cargo.toml | "$python" -c "$find_headers")
export DERIVE_HEADERS

"$python" ffi/derive --headers "$DERIVE_HEADERS"/TRT-*
"$python" -m unittest discover --start-directory ffi/derive
"$python" ffi/generate.py --check
tests/standin/tensorrt/headers.sh "$DERIVE_HEADERS"/TRT-*
