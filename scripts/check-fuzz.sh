#!/usr/bin/env bash
# Builds the fuzz targets (tests/fuzz) with libFuzzer and the address and undefined-behaviour sanitizers, and runs each.
#
#   scripts/check-fuzz.sh [--torch] [--seed N] [SECONDS] [TARGET...]     default: 60 seconds each; a target is media, image, ...
#
# --torch adds the targets that need libtorch, which itself is not instrumented. Each run starts from the target's seeds
# and what earlier runs kept in build/fuzz/corpus; with --seed from the target's seeds alone, and it makes the same
# inputs every time, as many as the machine is fast. As many targets run at a time as there are processors. A finding is
# left in build/fuzz/findings and fails the check; run it again with build/fuzz/tests/fuzz_TARGET FILE.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
  echo "usage: scripts/check-fuzz.sh [--torch] [--seed N] [SECONDS] [TARGET...]" >&2
  exit 2
}

torch=OFF
seed=
while [[ "${1:-}" == --* ]]; do
  case $1 in
    --torch) torch=ON ;;
    --seed)
      seed=${2:-}
      [[ $seed =~ ^[1-9][0-9]*$ ]] || usage
      shift
      ;;
    *) usage ;;
  esac
  shift
done
seconds=${1:-60}
shift || true
[[ $seconds =~ ^[1-9][0-9]*$ ]] || usage

build=build/fuzz
mkdir -p "$build/findings"
cmake --preset asan -B "$build" -DREENACT_SANITIZE=address,undefined,fuzzer-no-link -DREENACT_WITH_TORCH="$torch" >/dev/null
targets=("${@/#/fuzz_}")
cmake --build "$build" --target "${targets[@]:-fuzz_targets}"
if [ $# -eq 0 ]; then
  mapfile -t targets < <(find "$build/tests" -maxdepth 1 -name 'fuzz_*' -type f -executable -printf '%f\n' | sort)
fi

# run_target TARGET: fails if there is a finding.
run_target() {
  local target=$1 corpus=$build/corpus/$1 log=$build/$1.log
  local options=("-max_total_time=$seconds" -max_len=65536 -timeout=30 -rss_limit_mb=2048 -malloc_limit_mb=512
    -print_funcs=0 -print_final_stats=1 "-artifact_prefix=$build/findings/$target-")
  if [ -n "$seed" ]; then
    corpus+=-$seed
    rm -rf "$corpus"
    options+=("-seed=$seed")
  fi
  "$build/tests/$target" "--write-seeds=$corpus"
  if ! "$build/tests/$target" "${options[@]}" "$corpus" >"$log" 2>&1; then
    grep -vE '^(#|"|INFO: (Run|Load))' "$log" | tail -n 60
    echo "check-fuzz: $target has a finding in $build/findings" >&2
    return 1
  fi
  printf '%s: %s seconds, %s runs, %s inputs kept, %s MB at most\n' "$target" "$seconds" \
    "$(awk '/number_of_executed_units/ {print $2}' "$log")" "$(find "$corpus" -type f | wc -l)" \
    "$(awk '/peak_rss_mb/ {print $2}' "$log")"
}

# FFmpeg's and OpenCV's containers are not instrumented.
export ASAN_OPTIONS=detect_leaks=1:detect_container_overflow=0:allocator_may_return_null=1
export build seconds seed
export -f run_target
printf '%s\n' "${targets[@]}" | xargs -P "$(nproc)" -I {} bash -c 'set -euo pipefail; run_target {}'
