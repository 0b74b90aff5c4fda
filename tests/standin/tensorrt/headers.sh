#!/bin/bash
# Holds the stand-ins against NVIDIA's headers: for each folder of headers a stand-in of that version
# is driven by a C++ program compiled from them and by `smoke`, which must say the same.
#
#   headers.sh FOLDER..     folders with NvInfer.h and NvOnnxParser.h
#
# PARSER_HEADERS is a folder to take NvOnnxParser.h from where a folder has none. Needs g++.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../../..
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export STANDIN_TENSORRT_GPU=8.9

# A macro of a folder's NvInferVersion.h, expanded.
macro() {
  printf '#include <NvInferVersion.h>\n%s\n' "$2" | g++ -E -P -x c++ -I"$1" - | tail -1 | tr -d ' '
}

failed=0
for headers; do
  flavor=standard
  grep -q TRT_MAJOR_RTX "$headers/NvInferVersion.h" && flavor=rtx
  version=$(macro "$headers" 'NV_TENSORRT_MAJOR.NV_TENSORRT_MINOR.NV_TENSORRT_PATCH').1
  folder=$work/$flavor-$version
  "$here/build.sh" "$folder" $flavor "$version"
  runtime=$(find "$folder" -type l -name 'lib*' ! -name '*parser*')
  parser=$(find "$folder" -type l -name '*parser*')
  g++ -std=c++17 -w -I"$headers" ${PARSER_HEADERS:+-idirafter "$PARSER_HEADERS"} -I"$root/ffi/derive/stand-in" \
    -o "$folder/headers" "$here/headers.cpp" "$runtime" "$parser" -Wl,-rpath,"$folder"
  cases=0
  for run in "digits_fp32" "digits_fp32 int8" "digits_fp32 strip" "digits_fp32 stop" "digits_fp32 shape" \
    "shape_tensor" "dynamic_output" "two_inputs_dynamic" "broken_graph" "unbuildable"; do
    read -r model mode <<<"$run"
    for program in smoke headers; do
      "$folder/$program" "$runtime" "$parser" "$root/tests/fixtures/tensorrt/$model.onnx" "${mode:-}" \
        >"$folder/$program.out" 2>&1 || echo "exit $?" >>"$folder/$program.out"
    done
    [ $cases != 0 ] || grep -q 'enqueued: yes' "$folder/headers.out" ||
      { echo "$flavor $version does not run: $run" >&2; failed=1; }
    cases=$((cases + 1))
    diff "$folder/smoke.out" "$folder/headers.out" || { echo "$flavor $version differs: $run" >&2; failed=1; }
  done
  echo "$flavor $version: $cases runs compared"
  rm -rf "$folder"
done
exit $failed
