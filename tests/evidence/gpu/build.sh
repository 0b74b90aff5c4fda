#!/bin/bash
# Builds what run.sh needs besides the product, with gcc and g++ (no nvcc):
#
#   build.sh HEADER-FOLDERS LIBNVINFER LIBCUDART OUT
#
# OUT becomes a folder with the yardstick, calls.so and replay. tests/benches/tensorrt/README.md says
# what the first three are and where they come from.
set -euo pipefail
[ $# = 4 ] || { sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
"$here/../../benches/tensorrt/build.sh" "$@"
"${CC:-cc}" -O2 -Wall -Wextra -shared -fPIC -pthread "$here/calls/calls.c" -o "$4/calls.so"
"${CC:-cc}" -O2 -Wall -Wextra -static -pthread "$here/../../benches/serving/replay.c" -o "$4/replay" -lm
ls -l "$4"
