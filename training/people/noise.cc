#include "training/people/noise.h"

#include <cmath>
#include <cstddef>

#include "training/people/random.h"

namespace reenact {
namespace {

constexpr int kSide = 256;

void Standardize(std::vector<float>& values) {
  double sum = 0, squares = 0;
  for (float value : values) sum += value, squares += static_cast<double>(value) * value;
  const double mean = sum / static_cast<double>(values.size());
  const double variance = squares / static_cast<double>(values.size()) - mean * mean;
  const double scale = 1 / std::sqrt(variance + 1e-12);
  for (float& value : values) value = static_cast<float>((value - mean) * scale);
}

// [1 2 1] / 4 along a ring of `count` values `stride` apart.
void SmoothRing(float* values, int count, int stride) {
  const auto at = [&](int i) -> float& {
    return values[static_cast<ptrdiff_t>((i + count) % count) * stride];
  };
  const float first = at(0);
  float before = at(count - 1);
  for (int i = 0; i < count; ++i) {
    const float here = at(i), after = i + 1 < count ? at(i + 1) : first;
    at(i) = (before + 2 * here + after) / 4;
    before = here;
  }
}

std::vector<float> MakeTable() {
  std::vector<float> table(kSide * kSide);
  Random random(5);
  for (float& value : table) value = random.Normal();
  for (int pass = 0; pass < 2; ++pass) {
    for (int i = 0; i < kSide; ++i) {
      SmoothRing(&table[static_cast<size_t>(i) * kSide], kSide, 1);
      SmoothRing(&table[static_cast<size_t>(i)], kSide, kSide);
    }
  }
  Standardize(table);
  return table;
}

}  // namespace

float Noise(float u, float v) {
  static const std::vector<float> table = MakeTable();
  const float fu = std::floor(u), fv = std::floor(v);
  const float du = u - fu, dv = v - fv;
  const int iu = static_cast<int>(fu) & (kSide - 1), iv = static_cast<int>(fv) & (kSide - 1);
  const int ju = (iu + 1) & (kSide - 1), jv = (iv + 1) & (kSide - 1);
  const auto at = [&](int row, int column) {
    return table[static_cast<size_t>(row * kSide + column)];
  };
  return (at(iv, iu) * (1 - du) + at(iv, ju) * du) * (1 - dv) +
         (at(jv, iu) * (1 - du) + at(jv, ju) * du) * dv;
}

std::vector<float> RingNoise(uint64_t seed, int count) {
  std::vector<float> values(static_cast<size_t>(count));
  Random random(seed);
  for (float& value : values) value = random.Normal();
  for (int pass = 0; pass < 12; ++pass) SmoothRing(values.data(), count, 1);
  Standardize(values);
  return values;
}

}  // namespace reenact
