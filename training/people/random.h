// Random numbers that are the same with every compiler and standard library, which std's
// distributions are not.
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>

namespace reenact {

// SplitMix64 (Steele, Lea, Flood 2014). `stream` separates independent uses of one seed.
// Thread-compatible.
class Random {
 public:
  explicit Random(uint64_t seed, uint64_t stream = 0)
      : state_(Scramble(seed + kGolden) ^ Scramble(~stream)) {}

  uint64_t Next() { return Scramble(state_ += kGolden); }

  // [0, 1)
  float Uniform() { return static_cast<float>(Next() >> 40) * 0x1p-24f; }
  float Uniform(float low, float high) { return low + (high - low) * Uniform(); }
  // 0 .. count-1
  int Index(int count) {
    return static_cast<int>((Next() >> 32) * static_cast<uint64_t>(count) >> 32);
  }
  bool Chance(float probability) { return Uniform() < probability; }

  // Mean 0, variance 1, within +-6: twelve uniforms less six, which needs no logarithm.
  float Normal() {
    float sum = -6;
    for (int i = 0; i < 12; ++i) sum += Uniform();
    return sum;
  }
  float ClippedNormal(float deviation, float limit) {
    return std::clamp(Normal() * deviation, -limit, limit);
  }

  // An index, drawn in proportion to `weights`.
  int Pick(std::initializer_list<float> weights) {
    float total = 0;
    for (float weight : weights) total += weight;
    float left = Uniform() * total;
    int index = 0, last = 0;
    for (float weight : weights) {
      if (weight > 0) {
        last = index;
        if (left < weight) return index;
        left -= weight;
      }
      ++index;
    }
    return last;
  }

 private:
  static constexpr uint64_t kGolden = 0x9e3779b97f4a7c15;

  static uint64_t Scramble(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }

  uint64_t state_;
};

}  // namespace reenact
