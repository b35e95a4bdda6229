#include "pipeline/models/clip_preprocess.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

namespace reenact {
namespace {

// Pillow's resampling of 8-bit pictures: a cubic filter of a = -0.5, stretched when shrinking, with
// weights rounded to 22 bits of fraction and each pass (first along rows, then along columns)
// rounded and clamped to 8 bits.
constexpr double kCubicA = -0.5;
constexpr double kCubicSupport = 2.0;
constexpr int kFractionBits = 22;

double Cubic(double x) {
  x = std::abs(x);
  if (x < 1) return ((kCubicA + 2) * x - (kCubicA + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * kCubicA;
  return 0;
}

// One output position's inputs: [begin, begin + weights.size()).
struct Taps {
  int64_t begin;
  std::vector<int32_t> weights;
};

// The taps of outputs first .. first + count - 1 when `in` values become `out`.
std::vector<Taps> MakeTaps(int64_t in, int64_t out, int64_t first, int64_t count) {
  const double scale = static_cast<double>(in) / static_cast<double>(out);
  const double stretch = std::max(scale, 1.0);
  const double support = kCubicSupport * stretch;
  std::vector<Taps> all;
  for (int64_t i = first; i < first + count; ++i) {
    const double center = (static_cast<double>(i) + 0.5) * scale;
    const auto begin = std::max(static_cast<int64_t>(center - support + 0.5), int64_t{0});
    const auto end = std::min(static_cast<int64_t>(center + support + 0.5), in);
    std::vector<double> weights;
    double sum = 0;
    for (int64_t k = begin; k < end; ++k) {
      weights.push_back(Cubic((static_cast<double>(k) - center + 0.5) * (1.0 / stretch)));
      sum += weights.back();
    }
    Taps taps{.begin = begin, .weights = {}};
    for (double weight : weights) {
      if (sum != 0) weight /= sum;
      const double fixed = weight * (1 << kFractionBits);
      taps.weights.push_back(static_cast<int32_t>(fixed < 0 ? fixed - 0.5 : fixed + 0.5));
    }
    all.push_back(std::move(taps));
  }
  return all;
}

// Sum of weights and values `stride` bytes apart.
uint8_t Apply(const Taps& taps, const uint8_t* values, int64_t stride) {
  int64_t sum = int64_t{1} << (kFractionBits - 1);
  for (size_t k = 0; k < taps.weights.size(); ++k) {
    sum += int64_t{taps.weights[k]} * values[static_cast<int64_t>(k) * stride];
  }
  return static_cast<uint8_t>(std::clamp<int64_t>(sum >> kFractionBits, 0, 255));
}

}  // namespace

torch::Tensor ClipResize(const Image& image, int64_t size) {
  const int64_t width = image.width, height = image.height;
  const int64_t shorter = std::min(width, height);
  // The side is truncated, not rounded, and in floating point as the reference does it.
  const auto resized = [&](int64_t side) {
    return side == shorter ? size
                           : static_cast<int64_t>(static_cast<double>(size * side) /
                                                  static_cast<double>(shorter));
  };
  const int64_t resized_width = resized(width), resized_height = resized(height);
  const std::vector<Taps> columns =
      MakeTaps(width, resized_width, (resized_width - size) / 2, size);
  const std::vector<Taps> rows =
      MakeTaps(height, resized_height, (resized_height - size) / 2, size);

  // Only the input rows that the square sees.
  const int64_t first_row = rows.front().begin;
  const int64_t num_rows =
      rows.back().begin + static_cast<int64_t>(rows.back().weights.size()) - first_row;
  std::vector<uint8_t> narrow(static_cast<size_t>(num_rows * size * 3));
  for (int64_t y = 0; y < num_rows; ++y) {
    const uint8_t* row = image.row(static_cast<int>(first_row + y));
    for (int64_t x = 0; x < size; ++x) {
      for (int64_t channel = 0; channel < 3; ++channel) {
        narrow[(y * size + x) * 3 + channel] =
            Apply(columns[x], row + columns[x].begin * 3 + channel, 3);
      }
    }
  }
  const torch::Tensor result = torch::empty({3, size, size}, torch::kUInt8);
  uint8_t* out = result.data_ptr<uint8_t>();
  for (int64_t channel = 0; channel < 3; ++channel) {
    for (int64_t y = 0; y < size; ++y) {
      const uint8_t* top = narrow.data() + (rows[y].begin - first_row) * size * 3 + channel;
      for (int64_t x = 0; x < size; ++x) *out++ = Apply(rows[y], top + x * 3, size * 3);
    }
  }
  return result;
}

torch::Tensor ClipPreprocess(const Image& image, int64_t size) {
  const auto per_channel = [](std::array<float, 3> v) {
    return torch::tensor({v[0], v[1], v[2]}).view({3, 1, 1});
  };
  const auto mean = per_channel({0.48145466f, 0.4578275f, 0.40821073f});
  const auto deviation = per_channel({0.26862954f, 0.26130258f, 0.27577711f});
  return (ClipResize(image, size).to(torch::kFloat32) / 255.0 - mean) / deviation;
}

}  // namespace reenact
