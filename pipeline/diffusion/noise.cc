#include "pipeline/diffusion/noise.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace reenact {
namespace {

// Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
constexpr uint32_t kMultiplier0 = 0xD2511F53, kMultiplier1 = 0xCD9E8D57;
constexpr uint32_t kWeyl0 = 0x9E3779B9, kWeyl1 = 0xBB67AE85;  // golden ratio; sqrt(3) - 1
constexpr int kRounds = 10;

// (0, 1), never either end.
double Uniform(uint32_t word) { return (word + 0.5) * 0x1p-32; }

}  // namespace

std::array<uint32_t, 4> Philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  for (int round = 0; round < kRounds; ++round) {
    const uint64_t product0 = uint64_t{kMultiplier0} * counter[0];
    const uint64_t product1 = uint64_t{kMultiplier1} * counter[2];
    counter = {static_cast<uint32_t>(product1 >> 32) ^ counter[1] ^ key[0],
               static_cast<uint32_t>(product1),
               static_cast<uint32_t>(product0 >> 32) ^ counter[3] ^ key[1],
               static_cast<uint32_t>(product0)};
    key[0] += kWeyl0;
    key[1] += kWeyl1;
  }
  return counter;
}

torch::Tensor FrameNoise(uint64_t seed, uint64_t frame, uint64_t step, torch::IntArrayRef shape) {
  const torch::Tensor noise = torch::empty(shape, torch::kFloat32);
  float* values = noise.data_ptr<float>();
  const int64_t count = noise.numel();
  const std::array<uint32_t, 2> key = {static_cast<uint32_t>(seed),
                                       static_cast<uint32_t>(seed >> 32)};
  for (int64_t begin = 0; begin < count; begin += 4) {
    const auto words =
        Philox4x32({static_cast<uint32_t>(begin / 4), static_cast<uint32_t>(step),
                    static_cast<uint32_t>(frame), static_cast<uint32_t>(frame >> 32)},
                   key);
    double normal[4];
    for (int pair = 0; pair < 4; pair += 2) {  // Box and Muller
      const double radius = std::sqrt(-2.0 * std::log(Uniform(words[pair])));
      const double angle = 2.0 * std::numbers::pi * Uniform(words[pair + 1]);
      normal[pair] = radius * std::cos(angle);
      normal[pair + 1] = radius * std::sin(angle);
    }
    for (int64_t i = begin; i < std::min(begin + 4, count); ++i) {
      values[i] = static_cast<float>(normal[i - begin]);
    }
  }
  return noise;
}

}  // namespace reenact
