#!/usr/bin/env bash
# Runs the tests under the address and undefined-behaviour sanitizers (clang).
#
#   scripts/check-asan.sh [--torch] [CTEST OPTION...]
#
# --torch builds what needs libtorch too, which itself is not instrumented: twice the time.
set -euo pipefail
cd "$(dirname "$0")/.."

torch=OFF
if [ "${1:-}" = "--torch" ]; then
  torch=ON
  shift
fi
cmake --preset asan -DREENACT_WITH_TORCH="$torch" >/dev/null
cmake --build --preset asan
ctest --preset asan -j "$(nproc)" -LE e2e "$@"
