#!/bin/bash
# The GPU measurements, step by step:
#
#   TENSORRT_LIBS=FOLDER YARDSTICK=FOLDER tests/evidence/gpu/run.sh [--again] STEP..
#
#   doctor        what is installed here
#   digits        FP32, TF32, FP16, INT8 by entropy, minmax and Q/DQ: build, validate, accuracy
#   timing-cache  a first and a second build of ResNet-50 and the encoder in FP16
#   models        validates those, or makes and builds them
#   precision     ResNet-18 and a transformer in FP16 and INT8 graphs: accuracy, and not slower
#   leaks         200 times load, run and unload
#   serve         hot reloads under load with every answer checked, and what serving costs
#   overhead      `trt-pipeline bench` against the C++ yardstick (needs models and digits)
#   save          packs what of the cache is small, for `restore` on another machine
#   restore       unpacks it
#
# A step ends within 8 minutes and may be started again: what it built is in the cache, and a step
# whose evidence says `passed` is not repeated without --again. Evidence goes to OUT, one STEP.md,
# STEP.json and STEP.log a step; models, caches and raw numbers to WORK.
#
#   TENSORRT_LIBS  folder with libnvinfer.so.8 and libnvonnxparser.so.8
#   YARDSTICK      folder that tests/benches/tensorrt/build.sh made (for overhead)
#   TRT_PIPELINE   the program (target/release/trt-pipeline)
#   OUT, WORK      target/gpu/evidence, target/gpu
#   COMMIT         what was built, where this is not a git checkout
#   CYCLES, ROUNDS 200 of leaks, 8 of each comparison in overhead
#   REQUESTS       200000 with 5 hot reloads among them in serve
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
self=$here/$(basename "$0")

steps=(doctor digits timing-cache models precision leaks serve overhead save restore)
limit=470
cycles=${CYCLES:-200}
rounds=${ROUNDS:-8}
requests=${REQUESTS:-200000}

export TRT_PIPELINE=${TRT_PIPELINE:-$root/target/release/trt-pipeline}
export WORK=${WORK:-$root/target/gpu} OUT=${OUT:-$root/target/gpu/evidence}
models=(--set "models=$WORK/models" "$here/models.yaml")
export COMMIT=${COMMIT:-$(git -C "$root" describe --always --dirty --abbrev=40 2>/dev/null || true)}

# Says what is run, for the log and the evidence, and runs it.
run() {
  local words
  printf -v words ' %q' "$@"
  echo "${words# }" | tee -a "$raw/commands" >&2
  "$@"
}

# pipeline CACHE EVENTS SPEC..: events go to a file; what failed is told by them, not here.
pipeline() {
  local cache=$1 events=$2
  shift 2
  run "$TRT_PIPELINE" run --format json --jobs 1 --cache-dir "$cache" "$@" >"$events"
}

step_doctor() {
  run "$TRT_PIPELINE" doctor | tee "$raw/doctor.txt"
  run "$TRT_PIPELINE" doctor --format json >"$raw/doctor.jsonl"
}

step_digits() {
  pipeline "$WORK/cache" "$raw/events.jsonl" "$here/digits.yaml"
}

make_models() {
  [ -f "$WORK/models/encoder.recorded.npz" ] || run python3 "$here/make_models.py" "$WORK/models"
}

# With the engines of timing-cache, where that ran.
step_models() {
  make_models
  pipeline "$WORK/timing" "$raw/events.jsonl" "${models[@]}"
}

step_precision() {
  local missed=0 engine
  [ -f "$WORK/models/encoder-holdout.npz" ] ||
    run python3 "$root/tests/peers/precision/models.py" "$WORK/models" resnet-224 encoder
  pipeline "$WORK/cache" "$raw/events.jsonl" --set "models=$WORK/models" "$here/precision.yaml" || missed=$?
  for engine in resnet_fp16 resnet_int8 resnet_int8_fp16 encoder_fp16 encoder_int8; do
    run "$TRT_PIPELINE" inspect --layers "$root/build/gpu-precision/${engine}_engine" >"$raw/$engine.layers.txt" || true
  done
  return "$missed"
}

step_timing-cache() {
  # A cache of its own: nothing has been timed for it yet.
  rm -rf "$WORK/timing"
  make_models
  pipeline "$WORK/timing" "$raw/first.jsonl" "${models[@]}" resnet50 encoder
  pipeline "$WORK/timing" "$raw/second.jsonl" --force=resnet50 --force=encoder "${models[@]}" resnet50 encoder
}

step_leaks() {
  run "$TRT_PIPELINE" run --jobs 1 --cache-dir "$WORK/cache" "$here/digits.yaml" fp16
  run "$TRT_PIPELINE" bench "$root/build/gpu-digits/fp16" --reload "$cycles" --format json >"$raw/cycles.jsonl"
}

step_serve() {
  run "$TRT_PIPELINE" run --jobs 1 --cache-dir "$WORK/cache" "$here/digits.yaml" fp16
  run python3 "$root/tests/soak/million.py" "$TRT_PIPELINE" --backend tensorrt --requests "$requests" --reloads 5 |
    tee "$raw/reloads.txt"
  run python3 "$here/served.py" "$TRT_PIPELINE" "$root/build/gpu-digits/fp16" >"$raw/levels.jsonl"
}

# against_yardstick NAME ENGINE SHAPE..
against_yardstick() {
  local name=$1 engine=$2 theirs=() ours=()
  for shape in "${@:3}"; do theirs+=(--shape "$shape") ours+=(--shapes "$shape"); done
  run python3 "$root/tests/benches/tensorrt/compare.py" --label "$name" --rounds "$rounds" --out "$raw/$name" \
    --yardstick "$YARDSTICK/yardstick $engine/engine.plan ${theirs[*]} --warmup {warmup} --iterations {iterations} --samples {samples}" \
    --ours "$TRT_PIPELINE bench $engine ${ours[*]} --warmup {warmup} --runs {iterations} --dump-latencies {samples}" || missed=1
}

step_overhead() {
  : "${YARDSTICK:?is the folder that tests/benches/tensorrt/build.sh made}"
  local missed=0 links=$root/build
  against_yardstick digits-fp16-1 "$links/gpu-digits/fp16" image=1x1x8x8
  against_yardstick digits-fp16-64 "$links/gpu-digits/fp16" image=64x1x8x8
  against_yardstick resnet50-fp16-1 "$links/gpu-models/resnet50" image=1x3x224x224
  against_yardstick resnet50-fp16-8 "$links/gpu-models/resnet50" image=8x3x224x224
  against_yardstick encoder-fp16-8 "$links/gpu-models/encoder" tokens=8x64 mask=8x64
  return "$missed"
}

step_save() {
  rm -f "$OUT"/cache.tar.gz.*
  (cd "$WORK" && find cache -type f -size -8M -print0 | tar cz --null -T -) | split -b 15M -d -a 1 - "$OUT/cache.tar.gz."
  ls -l "$OUT"/cache.tar.gz.*
}

step_restore() {
  cat "$OUT"/cache.tar.gz.* | tar xz -C "$WORK"
}

# One step in this process: what --inside is for.
inside() {
  raw=$WORK/raw/$1
  rm -rf "$raw"
  mkdir -p "$raw"
  : "${TENSORRT_LIBS:?is the folder with libnvinfer.so}"
  export TRT_PIPELINE_TENSORRT=$TENSORRT_LIBS LD_LIBRARY_PATH=$TENSORRT_LIBS${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
  "step_$1"
}

perform() {
  local step=$1 status=0 start=$SECONDS
  if [ -z "$again" ] && grep -qs '"passed": true' "$OUT/$step.json"; then
    echo "$step: passed earlier; --again repeats it"
    return
  fi
  echo "$step: started, at most $limit s"
  timeout --kill-after=15 "$limit" bash "$self" --inside "$step" >"$OUT/$step.log" 2>&1 || status=$?
  case $step in
    save | restore) [ "$status" = 0 ] || tail -n 20 "$OUT/$step.log" >&2 ;;
    *) python3 "$here/evidence.py" "$step" --raw "$WORK/raw/$step" --links "$root/build" --out "$OUT" \
      --status "$status" --seconds $((SECONDS - start)) || status=1 ;;
  esac
  echo "$step: $([ "$status" = 0 ] && echo passed || echo "FAILED ($status), see $OUT/$step.log") after $((SECONDS - start)) s"
  [ "$status" = 0 ] || failed=1
}

case ${1:-} in
  --inside)
    inside "$2"
    exit
    ;;
  --again) again=1 && shift ;;
esac
[ $# -gt 0 ] || { sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//p}' "$self"; exit 2; }
for step in "$@"; do
  [[ " ${steps[*]} " == *" $step "* ]] || { echo "run.sh: there is no step \`$step\`, only: ${steps[*]}" >&2; exit 2; }
done
[ -n "$COMMIT" ] || { echo "run.sh: this is no git checkout: set COMMIT to what was built" >&2; exit 2; }
again=${again:-} failed=0
mkdir -p "$OUT" "$WORK"
for step in "$@"; do perform "$step"; done
exit "$failed"
