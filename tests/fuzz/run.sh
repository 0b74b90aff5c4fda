#!/bin/bash
# Fuzzes every target for a number of seconds: tests/fuzz/run.sh 600 [target..]
#
# Needs the stable toolchain and a C++ compiler (for libFuzzer), nothing else. The corpus grows in
# target/fuzz/<target>/corpus; an input that fails stays in target/fuzz/<target>/failures and is
# given back to the target with: target/debug/fuzz_<target> FILE
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
seconds=${1:?how many seconds for each target}
shift
[ $# -gt 0 ] || set -- spec onnx http grpc

# The crate's own lock file and target folder: dependencies that are built already stay built.
cp "$root/Cargo.lock" "$here/Cargo.lock"
CARGO_TARGET_DIR=$root/target RUSTC_WRAPPER=$here/instrument.sh \
  cargo build --quiet --manifest-path "$here/Cargo.toml"

for target in "$@"; do
  corpus=$root/target/fuzz/$target/corpus failures=$root/target/fuzz/$target/failures
  mkdir -p "$corpus" "$failures"
  case $target in
  spec) seeds='*.yaml' ;;
  onnx) seeds='*.onnx' ;;
  http) seeds='*.request' ;;
  grpc) seeds='*.message' ;;
  *) seeds=none ;;
  esac
  find "$root/pipelines" "$root/src/cli/starter" "$root/tests/fixtures" -name "$seeds" -size -64k |
    while read -r seed; do cp "$seed" "$corpus/seed-$(cksum <"$seed" | tr ' ' -)"; done
  echo "fuzzing $target for $seconds s"
  log=$root/target/fuzz/$target/log
  if ! "$root/target/debug/fuzz_$target" "$corpus" -max_total_time="$seconds" -timeout=10 \
    -rss_limit_mb=2048 -artifact_prefix="$failures/" -print_final_stats=1 >"$log" 2>&1; then
    tail -n 40 "$log"
    echo "fuzzing $target failed: see $failures" >&2
    exit 1
  fi
  grep -E 'DONE|number_of_executed_units|peak_rss_mb' "$log" | tail -n 3
done
