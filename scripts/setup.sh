#!/usr/bin/env bash
# Installs everything the project builds and runs with. Safe to run again: what is there is kept.
#
#   scripts/setup.sh          all of it, for CPUs
#   scripts/setup.sh --cuda   that, and what the preset cuda is built and run with: 2.3 GB to download, 2.7 GB on disk
#   scripts/setup.sh --print  the Debian packages and wheels, one a line; installs nothing
#
# Debian packages come through apt; wheels come from PyPI by name and version, are checked against the
# SHA-256 below and unpacked under .deps/ (never pip-installed). This is the only place that installs.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(
  build-essential cmake ninja-build pkg-config git ccache
  clang-14 clang-format-14 clang-tidy-14 libclang-rt-14-dev lld-14
  libgrpc++-dev libssl-dev protobuf-compiler protobuf-compiler-grpc libprotobuf-dev libabsl-dev
  libopencv-core-dev libopencv-imgproc-dev libjpeg62-turbo-dev
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

# The versions the torch wheel's METADATA asks for, itself or through cuda-toolkit 13.0.2. Left out is what only Python
# (triton, cuda-bindings) or linear algebra that no network here uses (cusolver) needs; crt is headers.
cuda_wheels=(
  "nvidia-cuda-runtime 13.0.96 7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548"
  "nvidia-cuda-crt 13.0.88 2c8043c7c9e02492716426e9919fc78d2c5b3b2a7a768a88e952676b08aa55a4"
  "nvidia-cuda-cupti 13.0.85 4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8"
  "nvidia-cuda-nvrtc 13.0.88 ad9b6d2ead2435f11cbb6868809d2adeeee302e9bb94bcf0539c7a40d80e8575"
  "nvidia-cublas 13.1.0.3 ee8722c1f0145ab246bccb9e452153b5e0515fd094c3678df50b2a0888b8b171"
  "nvidia-cufft 12.0.0.61 6c44f692dce8fd5ffd3e3df134b6cdb9c2f72d99cf40b62c32dde45eea9ddad3"
  "nvidia-cufile 1.15.1.6 08a3ecefae5a01c7f5117351c64f17c7c62efa5fffdbe24fc7d298da19cd0b44"
  "nvidia-curand 10.4.0.35 1aee33a5da6e1db083fe2b90082def8915f30f3248d5896bcec36a579d941bfc"
  "nvidia-cusparse 12.6.3.3 2b3c89c88d01ee0e477cb7f82ef60a11a4bcd57b6b87c33f789350b59759360b"
  "nvidia-nvjitlink 13.0.88 13a74f429e23b921c1109976abefacc69835f2f433ebd323d3946e11d804e47b"
  "nvidia-cudnn-cu13 9.19.0.56 d20e1734305e9d68889a96e3f35094d733ff1f83932ebe462753973e53a572bf"
  "nvidia-cusparselt-cu13 0.8.0 25e30a8a7323935d4ad0340b95a0b69926eee755767e8e0b1cf8dd85b197d3fd"
  "nvidia-nccl-cu13 2.28.9 e4553a30f34195f3fa1da02a6da3d6337d28f2003943aa0a3d247bbc25fefc42"
  "nvidia-nvshmem-cu13 3.4.5 290f0a2ee94c9f3687a02502f3b9299a9f9fe826e6d0287ee18482e78d495b80"
)

with_cuda=false
case "$*" in
  "") ;;
  --cuda) with_cuda=true ;;
  --print)
    printf '%s\n' "${packages[@]}" "${wheels[@]}" "${cuda_wheels[@]}"
    exit 0
    ;;
  *)
    echo "usage: scripts/setup.sh [--cuda | --print]" >&2
    exit 2
    ;;
esac

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
      --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 --platform manylinux_2_25_x86_64 \
      --platform manylinux_2_18_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
      --dest "$folder" "$1==$2"
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
  rm -rf .deps/unpack
  echo "$torch_stamp" >.deps/libtorch/.complete
fi

# .deps/libtorch-cuda: as .deps/libtorch, with the libraries for GPUs in the same folder (libtorch looks for them beside
# itself) and CUDA's headers.
cuda_stamp=$(printf '%s\n' "${wheels[0]}" "${cuda_wheels[@]}" nccl.h)
if "$with_cuda" && ! unpacked libtorch-cuda "$cuda_stamp"; then
  rm -rf .deps/libtorch-cuda .deps/unpack
  mkdir -p .deps/libtorch-cuda/lib .deps/libtorch-cuda/cuda .deps/unpack
  ln -s ../libtorch/include .deps/libtorch-cuda/include
  # shellcheck disable=SC2086
  fetch ${wheels[0]}
  say "unpacking libtorch's CUDA libraries"
  unzip -q "$wheel" torch/lib/libtorch_cuda.so torch/lib/libc10_cuda.so torch/lib/libtorch_nvshmem.so \
    torch/lib/libcaffe2_nvrtc.so -d .deps/unpack
  cp -l .deps/libtorch/lib/*.so* .deps/libtorch-cuda/lib/
  rm .deps/libtorch-cuda/lib/libcudart.so.* .deps/libtorch-cuda/lib/libcupti.so.*
  for cuda_wheel in "${cuda_wheels[@]}"; do
    # shellcheck disable=SC2086
    fetch $cuda_wheel
    # Not the profiler's own libraries, nor second copies, nor what talks between machines.
    unzip -q -o "$wheel" 'nvidia/*/lib/*.so*' 'nvidia/cu13/include/*' 'nvidia/nccl/include/nccl.h' \
      -d .deps/unpack -x '*/libnvperf_*' '*/libcheckpoint.so' '*/libpcsamplingutil.so' '*.alt.so*' '*/libnvblas.so*' \
      '*/libcufftw.so*' '*/nvshmem_*' \
      2>/dev/null || [ $? -eq 11 ]  # 11: the wheel has headers only, or none
  done
  find .deps/unpack -name '*.so*' -exec mv -t .deps/libtorch-cuda/lib/ {} +
  mv .deps/unpack/nvidia/cu13/include .deps/libtorch-cuda/cuda/include
  mv .deps/unpack/nvidia/nccl/include/nccl.h .deps/libtorch-cuda/cuda/include/
  rm -rf .deps/unpack
  echo "$cuda_stamp" >.deps/libtorch-cuda/.complete
fi
rm -rf .deps/wheels/torch-* .deps/wheels/nvidia_*

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
