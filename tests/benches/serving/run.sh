#!/bin/bash
# The measurements of serving: tests/benches/serving/run.sh compare|batching [options]
#
# Needs an idle machine with two cores, a release build (cargo build --release), and wrk and h2load
# (Debian: wrk, nghttp2-client). Installs the other servers in target/peers.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
what=${1:?compare or batching}
shift
needed=(client)
[ "$what" != compare ] || needed+=(triton mlserver)
"$here/../../peers/venv.sh" "${needed[@]}"
exec "${PEERS_DIR:-$here/../../../target/peers}/client/bin/python" "$here/$what.py" "$@"
