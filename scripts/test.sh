#!/usr/bin/env bash
# Installs what is missing, builds the release preset and runs every test.
#
#   scripts/test.sh [CTEST OPTION...]     for example: scripts/test.sh -L golden
#
# Reference numbers and real media are looked for in REENACT_GOLDEN_DIR and REENACT_DATA_DIR (defaults
# ../shared/golden, ../shared/data). Tests that need absent media are skipped, and fail where CI=true.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh
scripts/build.sh release
ctest --preset release -j "$(nproc)" "$@"
