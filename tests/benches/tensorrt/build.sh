#!/bin/bash
# Builds the yardstick with g++ (no nvcc):
#
#   build.sh HEADER-FOLDERS LIBNVINFER LIBCUDART OUT
#
# HEADER-FOLDERS, separated by colons, hold NvInfer.h, cuda_runtime_api.h and what these include.
# OUT becomes a folder with `yardstick` and, unless LIBCUDART is a static archive (.a), a copy of
# that. The program looks for libraries in its own folder, then where the loader does.
set -euo pipefail
[ $# = 4 ] || { sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2; }
here=$(dirname "$0") tensorrt=$2 cudart=$3 out=$4

includes=()
IFS=: read -ra folders <<<"$1"
for folder in "${folders[@]}"; do includes+=(-isystem "$folder"); done
mkdir -p "$out"
case $cudart in
  *.a) link=("$cudart" -ldl -lpthread -lrt) ;;
  *) cp -L "$cudart" "$out/" && link=("$out/$(basename "$cudart")") ;;
esac
# TensorRT's library may name others that are not here (cuBLAS, the driver): they are its own affair.
"${CXX:-g++}" -std=c++17 -O2 -Wall -Wextra "${includes[@]}" "$here/yardstick.cpp" \
  "$tensorrt" "${link[@]}" -Wl,--allow-shlib-undefined -Wl,-rpath,'$ORIGIN' -o "$out/yardstick"
echo "$out/yardstick"
