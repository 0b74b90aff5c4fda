#!/bin/bash
# Makes virtual environments for other servers and for clients: tests/peers/venv.sh NAME..
#
# NAME.txt beside this file says what goes in, NAME-alone.txt what goes in without its requirements.
# They are kept in target/peers (or in $PEERS_DIR) and made anew when those files change.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
base=${PEERS_DIR:-$here/../../target/peers}
for name in "$@"; do
  wanted=$here/$name.txt alone=$here/$name-alone.txt there=$base/$name
  [ -e "$alone" ] || alone=/dev/null
  if cmp -s <(cat "$wanted" "$alone") "$there/made-from.txt"; then continue; fi
  echo "making $name in $there" >&2
  rm -rf "$there"
  python3 -m venv "$there"
  "$there/bin/pip" install --quiet --disable-pip-version-check --requirement "$wanted"
  "$there/bin/pip" install --quiet --disable-pip-version-check --no-deps --requirement "$alone"
  cat "$wanted" "$alone" >"$there/made-from.txt"
done
