#!/bin/sh
# Builds a stand-in for TensorRT, its runtime library and its ONNX parser, and the program `smoke`.
#
#   build.sh FOLDER standard 10.13.0.1
#   build.sh FOLDER rtx 1.7.0.1
#
# The generation follows from the version, as in ffi/tensorrt-abi.toml; a major version that is not
# there has the newest one's tables. CC and STANDIN_CFLAGS are heeded.
set -eu
folder=$1 flavor=$2 version=$3
here=$(cd "$(dirname "$0")" && pwd)
major=${version%%.*} rest=${version#*.}
minor=${rest%%.*} rest=${rest#*.}
patch=${rest%%.*}
number=$((major * 10000 + minor * 100 + patch))

case $flavor in
standard) runtime=libnvinfer parser=libnvonnxparser ;;
rtx) runtime=libtensorrt_rtx parser=libtensorrt_onnxparser_rtx ;;
*) echo "flavor is standard or rtx, not $flavor" >&2; exit 2 ;;
esac
case $flavor-$major in
standard-8) generation=V8_6 ;;
standard-10) generation=V10 ;;
standard-*) generation=V11 ;;
rtx-*) [ $number -lt 10500 ] && generation=RTX1_4 || generation=RTX1 ;;
esac

# library NAME SOURCE..: NAME.so.MAJOR.MINOR.PATCH, and the name it is loaded by.
library() {
  name=$1
  shift
  # shellcheck disable=SC2086
  ${CC:-cc} -std=gnu11 -Wall -Wextra -Werror -g ${STANDIN_CFLAGS:-} -shared -fPIC -fvisibility=hidden -pthread \
    -D$generation -DTRT_VERSION=$number -DTRT_BUILD="$(echo "$version" | tr . _)" -DLIBRARY="\"$name.so.$major\"" \
    -Wl,-soname,"$name.so.$major" -Wl,-z,defs -o "$folder/$name.so.$major.$minor.$patch" "$@" -ldl
  ln -sf "$name.so.$major.$minor.$patch" "$folder/$name.so.$major"
}

mkdir -p "$folder"
cd "$here"
shared="abi.c objects.c report.c shapes.c tables.c"
# shellcheck disable=SC2086
library $runtime $shared build.c builder.c calibrate.c config.c context.c engine.c exports.c memory.c network.c plan.c \
  profile.c run.c runtime.c timing.c
# shellcheck disable=SC2086
library $parser $shared import.c onnx.c parser.c
# shellcheck disable=SC2086
${CC:-cc} -std=gnu11 -Wall -Wextra -Werror -g ${STANDIN_CFLAGS:-} -D$generation -DTRT_VERSION=$number -o "$folder/smoke" smoke.c report.c \
  shapes.c -ldl -pthread
