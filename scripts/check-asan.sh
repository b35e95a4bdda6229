#!/usr/bin/env bash
# Runs the unit and golden tests under the address and undefined-behaviour sanitizers (clang).
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/build.sh asan
ctest --preset asan -j "$(nproc)" -LE e2e "$@"
