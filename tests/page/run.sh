#!/bin/bash
# The page for people in a real browser: tests/page/run.sh
#
# Needs a built trt-pipeline (the newest in target/, or $TRT_PIPELINE), npm, and Chromium (or
# $CHROMIUM). Screenshots are put into $PAGE_SCREENSHOTS, a folder, if that is given.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
if [ -z "${TRT_PIPELINE:-}" ]; then
  TRT_PIPELINE=$(ls -t "$here"/../../target/{release,debug}/trt-pipeline 2>/dev/null | head -n 1) || true
fi
[ -n "$TRT_PIPELINE" ] || { echo "target/ has no trt-pipeline: run cargo build --release" >&2; exit 1; }
export TRT_PIPELINE CHROMIUM=${CHROMIUM:-chromium}
npm --prefix "$here" ci --no-audit --no-fund
exec node --test "$here/page.test.mjs"
