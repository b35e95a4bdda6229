#!/usr/bin/env bash
# Runs clang-tidy (.clang-tidy) over every source file of the product that builds without libtorch, and, with --all, over
# the others too (minutes a file group: each includes libtorch).
set -euo pipefail
cd "$(dirname "$0")/.."

preset=tsan
if [ "${1:-}" = "--all" ]; then
  preset=dev
fi
# Generated protobuf headers must exist before anything can be parsed.
scripts/build.sh "$preset" reenact_proto reenact_motion_proto
mapfile -t sources < <(python3 - "build/$preset/compile_commands.json" <<'PY'
import json, os, sys
root = os.getcwd() + "/"
files = sorted({entry["file"] for entry in json.load(open(sys.argv[1]))})
print("\n".join(f for f in files if f.startswith(root) and not f.startswith((root + "build/", root + "tests/"))))
PY
)
printf '%s\n' "${sources[@]}" |
  xargs -P "$(nproc)" -n 4 clang-tidy-14 --quiet -p "build/$preset" --warnings-as-errors='*' 2> >(grep -v 'warnings generated' >&2 || true)
