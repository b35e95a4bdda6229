#!/usr/bin/env bash
# Builds the fuzz targets (tests/fuzz) with libFuzzer and the address and undefined-behaviour sanitizers, and runs each.
#
#   scripts/check-fuzz.sh [--torch] [SECONDS] [TARGET...]     default: 60 seconds each; a target is media, image, ...
#
# --torch adds the targets that need libtorch, which itself is not instrumented. Each run starts from the target's seeds
# and what earlier runs kept in build/fuzz/corpus. A finding is left in build/fuzz/findings and ends the check; run it
# again with build/fuzz/tests/fuzz_TARGET FILE.
set -euo pipefail
cd "$(dirname "$0")/.."

torch=OFF
if [ "${1:-}" = "--torch" ]; then
  torch=ON
  shift
fi
seconds=${1:-60}
shift || true
case $seconds in
  *[!0-9]* | 0) echo "usage: scripts/check-fuzz.sh [--torch] [SECONDS] [TARGET...]" >&2; exit 2 ;;
esac

build=build/fuzz
mkdir -p "$build/findings"
cmake --preset asan -B "$build" -DREENACT_SANITIZE=address,undefined,fuzzer-no-link -DREENACT_WITH_TORCH="$torch" >/dev/null
targets=("${@/#/fuzz_}")
cmake --build "$build" --target "${targets[@]:-fuzz_targets}"
if [ $# -eq 0 ]; then
  mapfile -t targets < <(find "$build/tests" -maxdepth 1 -name 'fuzz_*' -type f -executable -printf '%f\n' | sort)
fi

# FFmpeg's and OpenCV's containers are not instrumented.
export ASAN_OPTIONS=detect_leaks=1:detect_container_overflow=0:allocator_may_return_null=1
for target in "${targets[@]}"; do
  corpus=$build/corpus/$target
  "$build/tests/$target" "--write-seeds=$corpus"
  log=$build/$target.log
  if ! "$build/tests/$target" -max_total_time="$seconds" -max_len=65536 -timeout=30 -rss_limit_mb=2048 \
    -malloc_limit_mb=512 -print_funcs=0 -print_final_stats=1 -artifact_prefix="$build/findings/$target-" "$corpus" \
    >"$log" 2>&1; then
    grep -vE '^(#|"|INFO: (Run|Load))' "$log" | tail -n 60
    echo "check-fuzz: $target has a finding in $build/findings" >&2
    exit 1
  fi
  printf '%s: %s seconds, %s runs, %s inputs kept, %s MB at most\n' "$target" "$seconds" \
    "$(awk '/number_of_executed_units/ {print $2}' "$log")" "$(find "$corpus" -type f | wc -l)" \
    "$(awk '/peak_rss_mb/ {print $2}' "$log")"
done
