#!/usr/bin/env bash
# Installs everything the project builds and runs with. Safe to run again: what is there is kept.
#
#   scripts/setup.sh          all of it
#   scripts/setup.sh --print  the Debian packages and wheels, one a line; installs nothing
#
# Debian packages come through apt; wheels come from PyPI by name and version, are checked against the
# SHA-256 below and unpacked under .deps/ (never pip-installed). This is the only place that installs.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(
  build-essential cmake ninja-build pkg-config git ccache
  clang-14 clang-format-14 clang-tidy-14 libclang-rt-14-dev lld-14
  libgrpc++-dev protobuf-compiler protobuf-compiler-grpc libprotobuf-dev libabsl-dev
  libopencv-core-dev libopencv-imgproc-dev libopencv-imgcodecs-dev
  libavformat-dev libavcodec-dev libavutil-dev libswscale-dev libswresample-dev
  prometheus-cpp-dev libcli11-dev nlohmann-json3-dev libspdlog-dev libicu-dev zlib1g-dev
  libgtest-dev libgmock-dev libbenchmark-dev
  ffmpeg python3 python3-pip python3-venv python3-yaml unzip shellcheck
)

# name, version, SHA-256 of the wheel for CPython 3.11 (or any), x86-64 Linux.
wheels=(
  "torch 2.11.0 7aa2f9bbc6d4595ba72138026b2074be1233186150e9292865e04b7a63b8c67a"
  "nvidia-cuda-runtime 13.5.37 df2b79a8852f10d1fef8c848489c49eebb5754051bf870202a862831412b179d"
  "nvidia-cuda-cupti 13.5.25 9dcca41c12a734192b14e7128ae116bc9ce1b9da686e2ebf48ae7a4415f76650"
  "mediapipe 0.10.21 05dc4a9e593655a79558d05d6227d31018c2537a4bd3362b51e230cf22aecfe3"
)

if [ "${1:-}" = "--print" ]; then
  printf '%s\n' "${packages[@]}" "${wheels[@]}"
  exit 0
elif [ $# -gt 0 ]; then
  echo "usage: scripts/setup.sh [--print]" >&2
  exit 2
fi

say() { printf 'setup: %s\n' "$*"; }

root=()
if [ "$(id -u)" -ne 0 ]; then
  root=(sudo)
fi

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  say "installing ${#missing[@]} Debian packages"
  "${root[@]}" apt-get update -qq
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

# fetch NAME VERSION SHA256: the wheel's path in `wheel`.
fetch() {
  local folder=.deps/wheels
  mkdir -p "$folder"
  wheel=$(find "$folder" -name "${1//-/_}-$2-*.whl" -print -quit)
  if [ -z "$wheel" ]; then
    say "downloading $1 $2"
    /usr/bin/python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
      --python-version 3.11 --implementation cp --abi cp311 --abi none --abi abi3 \
      --platform manylinux_2_28_x86_64 --platform manylinux_2_25_x86_64 --platform manylinux_2_17_x86_64 \
      --platform manylinux2014_x86_64 --dest "$folder" "$1==$2"
    wheel=$(find "$folder" -name "${1//-/_}-$2-*.whl" -print -quit)
  fi
  if ! echo "$3  $wheel" | sha256sum --check --status; then
    echo "setup: $wheel does not have the expected SHA-256 $3; remove it and run again" >&2
    exit 1
  fi
}

# unpacked NAME STAMP: whether .deps/NAME was completed by this very recipe.
unpacked() { [ "$(cat ".deps/$1/.complete" 2>/dev/null)" = "$2" ]; }

torch_stamp=$(printf '%s\n' "${wheels[@]:0:3}")
if ! unpacked libtorch "$torch_stamp"; then
  rm -rf .deps/libtorch .deps/unpack
  mkdir -p .deps/libtorch/lib .deps/unpack
  fetch torch 2.11.0 "$(awk '{print $3}' <<<"${wheels[0]}")"
  say "unpacking libtorch"
  unzip -q "$wheel" 'torch/include/*' torch/lib/libtorch_cpu.so torch/lib/libc10.so torch/lib/libtorch.so \
    'torch/lib/libgomp*' 'torch/lib/libshm*' -d .deps/unpack
  mv .deps/unpack/torch/include .deps/libtorch/include
  mv .deps/unpack/torch/lib/* .deps/libtorch/lib/
  # The wheel carries headers of an old protobuf that would shadow the system's.
  rm -rf .deps/libtorch/include/google
  for index in 1 2; do
    # shellcheck disable=SC2086
    fetch ${wheels[$index]}
    unzip -q -o "$wheel" '*/lib/libcu*.so.*' -d .deps/unpack
  done
  find .deps/unpack -name 'libcudart.so.*' -exec mv {} .deps/libtorch/lib/ \;
  find .deps/unpack -name 'libcupti.so.*' -exec mv {} .deps/libtorch/lib/ \;
  rm -rf .deps/unpack .deps/wheels/torch-* .deps/wheels/nvidia_*
  echo "$torch_stamp" >.deps/libtorch/.complete
fi

if ! unpacked mediapipe "${wheels[3]}"; then
  rm -rf .deps/mediapipe .deps/unpack
  mkdir -p .deps/mediapipe .deps/unpack
  # shellcheck disable=SC2086
  fetch ${wheels[3]}
  unzip -q -j "$wheel" mediapipe/modules/face_detection/face_detection_short_range.tflite \
    mediapipe/modules/face_landmark/face_landmark_with_attention.tflite -d .deps/mediapipe
  (cd .deps/mediapipe && sha256sum --check --quiet) <<'SUMS'
bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8  face_detection_short_range.tflite
e06a804e0144f9929eda782122916b35d60c697c3c9344013ca2bbe76a6ce2b4  face_landmark_with_attention.tflite
SUMS
  rm -rf .deps/unpack .deps/wheels/mediapipe-*
  echo "${wheels[3]}" >.deps/mediapipe/.complete
fi
# The Python client of tests/e2e: what a caller without C++ would install.
python_packages=(grpcio==1.62.3 grpcio-tools==1.62.3 grpcio-health-checking==1.62.3 grpcio-reflection==1.62.3)
if ! unpacked python "${python_packages[*]}"; then
  rm -rf .deps/python
  say "making the Python environment of the tests"
  /usr/bin/python3 -m venv .deps/python
  .deps/python/bin/pip install --quiet --disable-pip-version-check --only-binary=:all: "${python_packages[@]}" setuptools==69.5.1
  echo "${python_packages[*]}" >.deps/python/.complete
fi
say "everything is in place"
