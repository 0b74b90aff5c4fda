#!/bin/bash
# Real clients against our server: tests/clients/run.sh [--triton] [test_*.py..]
#
# Needs a built trt-pipeline (the newest in target/, or $TRT_PIPELINE) and curl.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
needed=(client kserve)
[[ " $* " != *" --triton "* ]] || needed+=(triton)
"$here/../peers/venv.sh" "${needed[@]}"
exec "${PEERS_DIR:-$here/../../target/peers}/client/bin/python" "$here/run.py" "$@"
