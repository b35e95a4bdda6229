#!/usr/bin/env bash
# A driving video of your own moves a synthetic person in a full frame; the driver is not shown.
#
#   demo/full_frame.sh DRIVING [OUT.png]     default: out/full_frame.png; the video is left beside it
set -euo pipefail
if [ $# -lt 1 ] || [ $# -gt 2 ]; then
  echo "usage: demo/full_frame.sh DRIVING [OUT.png]" >&2
  exit 2
fi
driving=$(realpath "$1")
out=$(realpath -m "${2:-$(dirname "$0")/../out/full_frame.png}")
cd "$(dirname "$0")/.."

scripts/setup.sh
scripts/build.sh release reenactd reenact reenact-strip reenact-train
bin=build/release/bin
mkdir -p "$(dirname "$out")"
source=${out%.png}.source.png
trap 'rm -f "$source"' EXIT
"$bin/reenact-train" demo --portrait "$source" --source-seed 10000026 --size 640 --portrait-scale 0.62 --portrait-shift-y 0.06
"$bin/reenact" run --source "$source" --driving "$driving" --paste-back -o "${out%.png}.mp4"
"$bin/reenact-strip" --source "$source" --whole-source --generated "${out%.png}.mp4" --columns 6 --size 256 -o "$out"
echo "full_frame: $out and ${out%.png}.mp4 are ready"
