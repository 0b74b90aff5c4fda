#!/bin/bash
# The GPU measurements, step by step:
#
#   TENSORRT_LIBS=FOLDER TOOLS=FOLDER tests/evidence/gpu/run.sh [--again] STEP..
#
#   doctor        what is installed here
#   digits        FP32, TF32, FP16, INT8 by entropy, minmax and Q/DQ: build, validate, accuracy
#   timing-cache  a first and a second build of ResNet-50 and the encoder in FP16
#   models        validates those, or makes and builds them
#   precision     ResNet-18 and a transformer in FP16 and INT8 graphs: accuracy, and not slower
#   leaks         200 times load, run and unload
#   serve         hot reloads under load with every answer checked, and what serving costs
#   engines       makes and builds what the steps below measure, all but soak
#   speed-thin    `trt-pipeline bench` against the C++ yardstick at 1, 2 and 4 streams, graphs off and
#                 on: a CNN that is mostly launches
#   speed-resnet50, speed-encoder   the same of a ResNet-50 and a transformer, batch 1
#   calls         what a run and a served batch call of the CUDA driver, and what they wait for
#   served        ResNet-50 behind the server, against the engine in process and the transports
#   scaling       throughput of the ResNet-50 in process on 1, 2, 4, .. GPUs, where there are several
#   reloads       device memory over 200 loads and 200 hot reloads, with graphs
#   graph-memory  device memory of a server with no, few and many graphs, against what it counts
#   soak          10^6 requests with graphs and 20 hot reloads, each answer checked, and a GPU that
#                 breaks: among them, or where there is one only, in 40000 more
#   convert-NET   PyTorch to ONNX to TensorRT: TorchScript and a state dict compared, built in FP16 and
#                 validated; a torch.export program compared, its build told. NET: resnet18, resnet50,
#                 mobilenet_v3, vit_b_16, encoder
#   save          packs what of the cache is small, for `restore` on another machine
#   restore       unpacks it
#
# A step ends within 8 minutes and may be started again: what it built is in the cache, and a step
# whose evidence says `passed` is not repeated without --again. Evidence goes to OUT, one STEP.md,
# STEP.json and STEP.log a step; models, caches and raw numbers to WORK.
#
#   TENSORRT_LIBS  folder with libnvinfer.so.8 and libnvonnxparser.so.8
#   TOOLS          folder that tests/evidence/gpu/build.sh made (for speed-*, calls and served)
#   TRT_PIPELINE   the program (target/release/trt-pipeline)
#   PYTHON         a Python with torch, torchvision, onnx and onnxscript (python3), for convert-*
#   OUT, WORK      target/gpu/evidence, target/gpu
#   COMMIT         what was built, where this is not a git checkout
#   CYCLES, ROUNDS 200 of leaks and reloads, 7 of each comparison in speed-*
#   REQUESTS       200000 with 5 hot reloads among them in serve
#   SOAK_REQUESTS, SOAK_RATE, FAULT_AFTER   1000000; 8000 a second; the batches after which the GPU
#                  breaks in soak
#   SERVED         more options of served_speed.py, such as `--instances 2 --max-batch 32`
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
self=$here/$(basename "$0")

steps=(doctor digits timing-cache models precision leaks serve
  engines speed-thin speed-resnet50 speed-encoder calls served scaling reloads graph-memory soak
  convert-resnet18 convert-resnet50 convert-mobilenet_v3 convert-vit_b_16 convert-encoder save restore)
limit=470
cycles=${CYCLES:-200}
rounds=${ROUNDS:-7}
requests=${REQUESTS:-200000}

export TRT_PIPELINE=${TRT_PIPELINE:-$root/target/release/trt-pipeline}
export WORK=${WORK:-$root/target/gpu} OUT=${OUT:-$root/target/gpu/evidence}
models=(--set "models=$WORK/models" "$here/models.yaml")
speed=$root/build/gpu-speed
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

step_engines() {
  run python3 "$here/make_speed_models.py" "$WORK/speed-models"
  pipeline "$WORK/cache" "$raw/events.jsonl" --set "models=$WORK/speed-models" "$here/speed.yaml"
}

# against_yardstick STAGE OUTPUT LABEL SHAPE.. [--OPTION..]
against_yardstick() {
  local engine=$speed/$1 output=$2 label=$3 theirs=() ours=() graphs
  : "${TOOLS:?is the folder that tests/evidence/gpu/build.sh made}"
  shift 3
  while [ $# -gt 0 ] && [[ $1 != --* ]]; do
    theirs+=(--shape "$1") ours+=(--shapes "$1")
    shift
  done
  # Both compute the same. What differs is told; the numbers below stand without it.
  run "$TRT_PIPELINE" bench "$engine" "${ours[@]}" --graphs off --runs 1 --output-npz "$raw/ours.npz" >/dev/null
  for graphs in off on; do
    run "$TOOLS/yardstick" "$engine/engine.plan" "${theirs[@]}" --graphs "$graphs" --warmup 1 --iterations 1 \
      --samples /dev/null --output "$output=$raw/theirs.raw" >/dev/null
    python3 "$root/tests/benches/tensorrt/same.py" "$raw/theirs.raw" "$raw/ours.npz" "$output" 2>&1 |
      sed "s/^/the yardstick's, graphs $graphs, and ours: /" >>"$raw/same.txt" || true
  done
  rm -f "$raw/theirs.raw" "$raw/ours.npz"
  run python3 "$root/tests/benches/tensorrt/compare.py" --label "$label" --rounds "$rounds" --at-most-seconds 400 \
    --out "$raw/compared" "$@" \
    --yardstick "$TOOLS/yardstick $engine/engine.plan ${theirs[*]} --streams {streams} --graphs {graphs} --warmup {warmup} --milliseconds {milliseconds} --samples {samples}" \
    --ours "$TRT_PIPELINE bench $engine ${ours[*]} --streams {streams} --graphs {graphs} --warmup {warmup} --duration {milliseconds}ms --dump-latencies {samples} --format json"
}

step_speed-thin() {
  against_yardstick thin logits "24 thin convolutions, batch 1, FP16" image=1x3x32x32 --graphs-at-least 1.3
}

step_speed-resnet50() {
  against_yardstick resnet50 logits "ResNet-50, batch 1, FP16" image=1x3x224x224
}

step_speed-encoder() {
  against_yardstick encoder hidden "6-layer encoder, 128 tokens, batch 1, FP16" tokens=1x128 mask=1x128
}

step_calls() {
  : "${TOOLS:?is the folder that tests/evidence/gpu/build.sh made}"
  run python3 "$here/calls/per_run.py" "$TRT_PIPELINE" "$speed/thin" --calls "$TOOLS/calls.so" \
    --shape image=1x3x32x32 --yardstick "$TOOLS/yardstick" --served "$speed/encoder" >"$raw/calls.jsonl"
}

step_served() {
  : "${TOOLS:?is the folder that tests/evidence/gpu/build.sh made}"
  local options
  read -ra options <<<"${SERVED:-}"
  lscpu -e >"$raw/cores.txt" || true
  run python3 "$here/served_speed.py" "$TRT_PIPELINE" "$speed/resnet50" "$speed/identity" \
    --replay "$TOOLS/replay" "${options[@]}" >"$raw/served.jsonl"
}

step_scaling() {
  run python3 "$here/scaling.py" "$TRT_PIPELINE" "$speed/resnet50" >"$raw/scaling.jsonl"
}

step_reloads() {
  run "$TRT_PIPELINE" bench "$speed/thin" --reload "$cycles" --graphs on --format json >"$raw/cycles.jsonl"
  run python3 "$here/hot_reloads.py" "$TRT_PIPELINE" --reloads "$cycles" >"$raw/hot.jsonl"
}

step_graph-memory() {
  for engine in encoder resnet50; do
    local sizes=8
    [ "$engine" = encoder ] || sizes=32
    run python3 "$here/graph_memory.py" "$TRT_PIPELINE" "$speed/$engine" --sizes "$sizes" >"$raw/$engine.jsonl"
  done
}

# With one GPU all is over when it breaks: it does so behind the requests and reloads. Of several the
# second breaks among them.
# million RAW ARGUMENT..: requests that are checked, as tests/soak/million.py says.
million() {
  local to=$1 serve="cuda_graphs: on"
  shift
  [ "$devices" = 1 ] || serve+="; devices: all; placement: round_robin"
  run python3 "$root/tests/soak/million.py" "$TRT_PIPELINE" --backend tensorrt --devices "$devices" --serve "$serve" "$@" \
    --json "$raw/$to.json" | tee -a "$raw/soak.txt"
}

# So many a second that 20 reloads fit in. Where there is one GPU only, nothing is left to reload when
# it breaks: that is a run of its own.
step_soak() {
  local devices all=(--requests "${SOAK_REQUESTS:-1000000}" --rate "${SOAK_RATE:-8000}" --reloads 20)
  devices=$(nvidia-smi --list-gpus | wc -l)
  if [ "$devices" = 1 ]; then
    million soak "${all[@]}"
    million fault --requests 40000 --reloads 0 --fault-device 0 --fault-after "${FAULT_AFTER:-5000}" --fault-kind kernel
  else
    million soak "${all[@]}" --fault-device 1 --fault-after "${FAULT_AFTER:-10000}" --fault-kind kernel
  fi
}

# The program of torch.export is built last and by itself: TensorRT 8.6 need not know its operators.
converted() {
  local net=$1 spec=$here/convert.yaml set=(--set "models=$WORK/convert" --set "python=${PYTHON:-python3}")
  if [ "$net" = encoder ]; then spec=$here/convert_encoder.yaml; else set+=(--set "net=$net"); fi
  # PyTorch itself is 0.041 away from FP32 in FP16 there, with these weights.
  if [ "$net" = resnet50 ]; then set+=(--set fp16_error=0.08); fi
  run "${PYTHON:-python3}" "$here/make_convert_models.py" "$WORK/convert" "$net"
  pipeline "$WORK/cache" "$raw/events.jsonl" "${set[@]}" "$spec" script_checked weights_checked program
  pipeline "$WORK/cache" "$raw/program.jsonl" "${set[@]}" "$spec" program_checked ||
    echo "TensorRT does not take what the dynamo exporter wrote; $raw/program.jsonl says why" >&2
}

step_convert-resnet18() { converted resnet18; }
step_convert-resnet50() { converted resnet50; }
step_convert-mobilenet_v3() { converted mobilenet_v3; }
step_convert-vit_b_16() { converted vit_b_16; }
step_convert-encoder() { converted encoder; }

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
