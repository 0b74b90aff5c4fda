#!/bin/bash
# Holds our answers against Triton's: tests/conformance/run.sh [--recorded | --record] [--case PATTERN]
#
# Needs a built trt-pipeline (the newest in target/, or $TRT_PIPELINE). Triton, 600 MB of wheels, is
# installed in target/peers when its answers are not taken from recorded.json.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
needed=(client)
[[ " $* " == *" --recorded "* ]] || needed+=(triton)
"$here/../peers/venv.sh" "${needed[@]}"
exec "${PEERS_DIR:-$here/../../target/peers}/client/bin/python" "$here/run.py" "$@"
