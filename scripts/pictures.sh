#!/usr/bin/env bash
# Makes the README's pictures from a bundle: everybody in them is drawn by training/people and was never trained on.
#
#   scripts/pictures.sh [NAME...]     default: all
#
#   demo        the demo portrait, driven by the demo clip
#   same        a person's portrait, driven by a clip of the same person
#   cross       three people, driven by a fourth
#   text        three people from descriptions alone, driven by one clip
#   edit        a portrait changed by texts: hair, clothes, background, glasses
#   full_frame  a person in a whole picture, moved by a real driver, who is not shown; needs a clip of one
#
# BUNDLE   the model bundle; default: demo
# OUT      where OUT/NAME.png goes; default: demo. The videos are left in out/pictures.
# DRIVING  the real driver's clip; default: LivePortrait/driving/d18.mp4 in REENACT_DATA_DIR (../shared/data).
#          Without one, full_frame is left out.
# BIN      the programs, if they are not to be built
set -euo pipefail

names=("$@")
[ ${#names[@]} -gt 0 ] || names=(demo same cross text edit full_frame)
for name in "${names[@]}"; do
  case $name in
    demo | same | cross | text | edit | full_frame) ;;
    *)
      sed -n '2,/^set/{/^#/s/^#\( \|$\)//p}' "$0" >&2
      exit 2
      ;;
  esac
done
root=$(cd "$(dirname "$0")/.." && pwd)
bundle=$(realpath "${BUNDLE:-$root/demo}")
out=$(realpath -m "${OUT:-$root/demo}")
driving=${DRIVING:-${REENACT_DATA_DIR:-$root/../shared/data}/LivePortrait/driving/d18.mp4}
driving=$(realpath -m "$driving")
bin=$(realpath -m "${BIN:-$root/build/release/bin}")
cd "$root"
if [ -z "${BIN:-}" ]; then
  scripts/setup.sh
  scripts/build.sh release reenactd reenact reenact-strip reenact-train
fi
videos=out/pictures
mkdir -p "$videos" "$out"

strength=1       # of edits
text_guidance=2  # of descriptions alone
max_bytes=400000
# Where the demonstration's motion is furthest: head to both sides, mouth open, smile, nod, blink.
moments=0.143,0.286,0.428,0.571,0.714,0.857
too_large=0

draw() { # OPTION...: a portrait or a driving clip
  "$bin/reenact-train" demo "$@" >>"$videos/people.txt"
}

make() { # NAME OPTION...: a video by a private server, $videos/NAME.mp4
  "$bin/reenact" run --quiet --bundle "$bundle" -o "$videos/$1.mp4" "${@:2}"
}

picture() { # NAME STRIP-OPTION...: $out/NAME.png, as small as PNG gets without loss
  "$bin/reenact-strip" -o "$videos/$1.png" "${@:2}"
  ffmpeg -v error -y -i "$videos/$1.png" -compression_level 9 -pred mixed -update 1 "$out/$1.png"
  rm "$videos/$1.png"
  local bytes
  bytes=$(stat -c %s "$out/$1.png")
  echo "pictures: $out/$1.png, $((bytes / 1000)) kB"
  if [ "$bytes" -gt "$max_bytes" ]; then
    echo "pictures: $out/$1.png is larger than $((max_bytes / 1000)) kB" >&2
    too_large=1
  fi
}

make_demo() {
  make demo --source demo/portrait.png --driving demo/driving.mp4
  picture demo --source demo/portrait.png --driving demo/driving.mp4 --generated "$videos/demo.mp4" \
    --at "0,$moments" --size 144
}

# The paper's protocol for one's own clip: landmarks as they are.
make_same() {
  draw --portrait "$videos/same.portrait.png" --source-seed 10000111 \
    --driving "$videos/same.driving.mp4" --driver-seed 10000111
  make same --source "$videos/same.portrait.png" --driving "$videos/same.driving.mp4" --motion absolute
  picture same --source "$videos/same.portrait.png" --driving "$videos/same.driving.mp4" \
    --generated "$videos/same.mp4" --columns 8 --size 144
}

make_cross() {
  draw --driving "$videos/cross.driving.mp4" --driver-seed 10000121
  local sources=() generated=()
  for seed in 10000104 10000107 10000114; do
    local portrait=$videos/cross.$seed.png
    draw --portrait "$portrait" --source-seed "$seed"
    make "cross.$seed" --source "$portrait" --driving "$videos/cross.driving.mp4"
    sources+=("$portrait")
    generated+=("$videos/cross.$seed.mp4")
  done
  picture cross --source "${sources[@]}" --driving "$videos/cross.driving.mp4" --generated "${generated[@]}" \
    --at "$moments" --size 128
}

# In the words of training/people/caption.cc: no other words mean anything to the demo model.
make_text() {
  local captions=(
    "a young woman with fair skin, long red hair, green eyes, a green shirt, white background"
    "an old man with light skin, short white hair, blue eyes, a beard, round glasses, a blue shirt, beige background"
    "a young man with very dark skin, short black hair, dark brown eyes, a yellow shirt, blue background"
  )
  local generated=()
  for caption in "${captions[@]}"; do
    local name=text.${#generated[@]}
    make "$name" --text "$caption" --guidance "$text_guidance" --driving demo/driving.mp4
    generated+=("$videos/$name.mp4")
  done
  picture text --driving demo/driving.mp4 --generated "${generated[@]}" --label "${captions[@]}" \
    --at "$moments" --size 112
}

make_edit() {
  local edits=(
    "long blond hair => long black hair"
    "an orange shirt => a blue shirt"
    "purple background => teal background"
    "no glasses => round glasses"
  )
  local portrait=$videos/edit.portrait.png
  draw --portrait "$portrait" --source-seed 10000165
  make edit --source "$portrait" --driving demo/driving.mp4
  local generated=("$videos/edit.mp4") labels=("as it is")
  for edit in "${edits[@]}"; do
    local name=edit.${#generated[@]}
    make "$name" --source "$portrait" --driving demo/driving.mp4 --edit "$edit" --strength "$strength"
    generated+=("$videos/$name.mp4")
    labels+=("$edit")
  done
  picture edit --source "$portrait" --generated "${generated[@]}" --label "${labels[@]}" --at 0,0.143,0.428,0.571 --size 128
}

make_full_frame() {
  if [ ! -f "$driving" ]; then
    echo "pictures: full_frame is left out: there is no $driving (DRIVING names another clip)" >&2
    return
  fi
  local portrait=$videos/full_frame.portrait.png
  draw --portrait "$portrait" --source-seed 10000026 --size 640 --portrait-scale 0.62 --portrait-shift-y 0.06
  make full_frame --source "$portrait" --driving "$driving" --paste-back
  picture full_frame --source "$portrait" --whole-source --generated "$videos/full_frame.mp4" --columns 6 --size 240
}

: >"$videos/people.txt"
for name in "${names[@]}"; do
  case $name in
    demo) make_demo ;;
    same) make_same ;;
    cross) make_cross ;;
    text) make_text ;;
    edit) make_edit ;;
    full_frame) make_full_frame ;;
  esac
done
if [ "$too_large" -gt 0 ]; then exit 1; fi
