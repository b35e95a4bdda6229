#!/usr/bin/env bash
# The demo portrait as it is, and edited by texts: demo/edit.png (driving frames above, then a row for each video).
#
#   scripts/edits.sh ['FROM => TO'...]      default: what the demo model can tell apart, the skin
set -euo pipefail
cd "$(dirname "$0")/.."

edits=("$@")
if [ ${#edits[@]} -eq 0 ]; then
  edits=("brown skin => very fair skin" "fair skin => dark brown skin")
fi
scripts/build.sh release reenactd reenact reenact-strip
bin=build/release/bin
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

make() { # NAME OPTION...: one video by a private server
  "$bin/reenact" run --quiet --bundle demo --source demo/portrait.png --driving demo/driving.mp4 -o "$folder/$1.mp4" "${@:2}"
}
make 0
videos=("$folder/0.mp4")
for edit in "${edits[@]}"; do
  make "${#videos[@]}" --edit "$edit" --strength 1
  videos+=("$folder/${#videos[@]}.mp4")
done
"$bin/reenact-strip" --source demo/portrait.png --driving demo/driving.mp4 --generated "${videos[@]}" -o demo/edit.png --columns 8
echo "edits: demo/edit.png is ready"
