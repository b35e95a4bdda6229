#!/usr/bin/env bash
# One whole job, from nothing: installs what is missing, builds, starts reenactd with the demo bundle, makes the demo
# portrait move like the demo driving clip, and stops the server.
#
#   scripts/demo.sh [reenact run OPTION...]     for example: scripts/demo.sh --plan contiguous --steps 4
#
# Leaves out/demo.mp4 and out/demo.png (source, driving frames above, generated frames below).
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh
scripts/build.sh release reenactd reenact reenact-strip
bin=build/release/bin

mkdir -p out
folder=$(mktemp -d)
server=
finish() {
  if [ -n "$server" ]; then
    kill "$server" 2>/dev/null || true
    wait "$server" || true
  fi
  rm -rf "$folder"
}
trap finish EXIT

socket=unix:$folder/reenact.sock
"$bin/reenactd" --bundle demo --listen "$socket" --metrics-listen off >out/reenactd.log 2>&1 &
server=$!
for _ in $(seq 120); do
  "$bin/reenact" health --server "$socket" --quiet 2>/dev/null && break
  if ! kill -0 "$server" 2>/dev/null; then
    echo "demo: reenactd ended; the end of out/reenactd.log:" >&2
    tail -n 5 out/reenactd.log >&2
    exit 1
  fi
  sleep 0.5
done

"$bin/reenact" run --server "$socket" --source demo/portrait.png --driving demo/driving.mp4 -o out/demo.mp4 "$@"
"$bin/reenact-strip" --source demo/portrait.png --driving demo/driving.mp4 --generated out/demo.mp4 -o out/demo.png --columns 9
echo "demo: out/demo.mp4 and out/demo.png are ready"
