#!/bin/bash
# Compares `optimize` with onnxsim and onnxslim: tests/peers/optimizer/run.sh [RUNS] [MODEL.onnx..]
#
# By default 5 runs of the light models of the onnx package. Prints a Markdown table.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../../..
"$here/../venv.sh" optimizers
cargo build --quiet --release --manifest-path "$root/Cargo.toml" --example optimizer
base=${PEERS_DIR:-$root/target/peers}
target=${CARGO_TARGET_DIR:-$root/target}
exec "$base/optimizers/bin/python" "$here/compare.py" "$target/release/examples/optimizer" "$@"
