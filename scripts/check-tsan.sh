#!/usr/bin/env bash
# Runs the tests of everything with threads of its own under the thread sanitizer (clang, without libtorch).
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/build.sh tsan threaded_tests
ctest --preset tsan -j "$(nproc)" -R '^(server|client|output)_' "$@"
