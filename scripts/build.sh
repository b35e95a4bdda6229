#!/usr/bin/env bash
# Configures and builds one preset (CMakePresets.json).
#
#   scripts/build.sh [PRESET] [TARGET...]     default: release, everything
set -euo pipefail
cd "$(dirname "$0")/.."

preset=${1:-release}
shift || true
log=build/$preset.configure.log
mkdir -p build
if ! cmake --preset "$preset" >"$log" 2>&1; then
  cat "$log" >&2
  exit 1
fi
cmake --build --preset "$preset" ${1:+--target "$@"}
