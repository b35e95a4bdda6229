// Gaussian noise as a pure function of what it is for, so that results depend neither on how frames
// are laid out in rows nor on the order of work: Philox4x32-10 (Salmon et al. 2011), Box-Muller.
// Thread-safe.
#pragma once

#include <array>
#include <cstdint>

#include "torch/torch.h"

namespace reenact {

// The 10-round block cipher: four random words for a 128-bit counter and a 64-bit key.
std::array<uint32_t, 4> Philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

// N(0, 1), float32, CPU, of shape `shape` (at most 2^34 elements). `step` 0 is the initial noise,
// k >= 1 that of the k-th step; below 2^32.
torch::Tensor FrameNoise(uint64_t seed, uint64_t frame, uint64_t step, torch::IntArrayRef shape);

}  // namespace reenact
