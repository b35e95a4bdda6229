// Smooth noise for hair, beards and freckles.
#pragma once

#include <cstdint>
#include <vector>

namespace reenact {

// Mean 0, variance about 1 at whole numbers, features about two units wide, repeating every 256.
// Thread-safe.
float Noise(float u, float v);

// `count` numbers around a ring, neighbours alike, mean 0 and variance 1.
std::vector<float> RingNoise(uint64_t seed, int count);

}  // namespace reenact
