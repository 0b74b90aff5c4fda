#!/bin/bash
# The yardsticks of precision: tests/peers/precision/run.sh compare|memory|light|rtx|large|against_modelopt [options]
#
#   compare           INT8 calibration beside onnxruntime's quantize_static: time, memory, accuracy
#   memory            peak memory over 100 and over 10 000 samples
#   light             the onnx package's light models through `optimize`: equal outputs, node counts
#   rtx               FP16 and INT8 engines of the light models, built by TensorRT-RTX
#   large             a model of more than 2 GiB through `calibrate` and `precision: fp16`
#   against_modelopt  where nvidia-modelopt puts Q/DQ, and where `calibrate` does
#
# Needs a release build (cargo build --release) and, for times, an idle machine. Installs what the
# other side needs in target/peers (or $PEERS_DIR); models and data go to target/precision.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
what=${1:?compare, memory, light, rtx, large or against_modelopt}
shift
needed=(precision)
[ "$what" != against_modelopt ] || needed+=(modelopt)
"$here/../venv.sh" "${needed[@]}"
exec "${PEERS_DIR:-$here/../../../target/peers}/precision/bin/python" "$here/$what.py" "$@"
