#include "pipeline/face/scene_cut.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace reenact {
namespace {

using Signature = SceneCutDetector::Signature;
constexpr int kSide = SceneCutDetector::kSide;
constexpr double kCells = kSide * kSide;

// Samples along a cell's side at most: enough for a mean.
constexpr int kSamples = 6;
// Frames looked back: more than a flash lasts.
constexpr size_t kMemory = 4;
// Levels. A frame with less contrast shows nothing.
constexpr float kNothing = 3;
constexpr int kLevels = 16;
// Camera motion from frame to frame in cells, and a patch's own.
constexpr int kMaxShift = 6;
constexpr int kMaxOwnShift = 2;
constexpr float kShiftCost = 0.002f;
constexpr int kPatch = 8;
// Square levels added to a patch's variances, so that noise does not count as texture, and levels
// added to colours, so that grey's tint does not.
constexpr float kTexture = 9;
constexpr float kGrey = 4;
constexpr float kColourShare = 0.35f;

// Measured on pairs of neighbouring frames. Cuts, between 40 synthetic people, 6 recorded ones and
// two framings of one person (630 pairs): NotLight at least 0.32, NotMotion at least 0.31, in 99 of
// 100. Motion in recorded clips of which every third frame is kept: NotMotion up to 0.13; pans by
// up to a seventh of the picture a frame up to 0.3; NotLight up to 0.97. Flashes of up to 4 times
// the light: NotLight up to 0.33 in nine of ten.
constexpr float kLightAlone = 0.33f;
constexpr float kMotionAlone = 0.28f;
constexpr float kCutScore = 0.5f;
// A frame that is no more different than this needs no other look.
constexpr float kAlike = 0.2f;
// In a scene that changes much, a cut changes more: mean plus so many mean distances from it, both
// over about the last ten frames.
constexpr float kUnusual = 4;
constexpr float kForget = 0.1f;

float Deviation(const std::array<float, kSide * kSide>& values) {
  double sum = 0, squares = 0;
  for (const float v : values) sum += v, squares += double{v} * v;
  const double mean = sum / kCells;
  return static_cast<float>(std::sqrt(std::max(squares / kCells - mean * mean, 0.0)));
}

Signature MakeSignature(const Image& image) {
  Signature signature;
  for (int cy = 0; cy < kSide; ++cy) {
    const int top = static_cast<int>(int64_t{image.height} * cy / kSide);
    const int rows = std::max(static_cast<int>(int64_t{image.height} * (cy + 1) / kSide) - top, 1);
    const int steps_y = std::min(rows, kSamples);
    for (int cx = 0; cx < kSide; ++cx) {
      const int left = static_cast<int>(int64_t{image.width} * cx / kSide);
      const int columns =
          std::max(static_cast<int>(int64_t{image.width} * (cx + 1) / kSide) - left, 1);
      const int steps_x = std::min(columns, kSamples);
      int sum[3] = {};
      for (int i = 0; i < steps_y; ++i) {
        const int y = std::min(top + (2 * i + 1) * rows / (2 * steps_y), image.height - 1);
        const uint8_t* row = image.row(y);
        for (int k = 0; k < steps_x; ++k) {
          const int x = std::min(left + (2 * k + 1) * columns / (2 * steps_x), image.width - 1);
          for (int c = 0; c < 3; ++c) sum[c] += row[3 * x + c];
        }
      }
      const float scale = 1.0f / static_cast<float>(steps_x * steps_y);
      const float r = static_cast<float>(sum[0]) * scale, g = static_cast<float>(sum[1]) * scale,
                  b = static_cast<float>(sum[2]) * scale;
      const int i = cy * kSide + cx;
      signature.luma[i] = 0.299f * r + 0.587f * g + 0.114f * b;
      signature.blue[i] = b - signature.luma[i];
      signature.red[i] = r - signature.luma[i];
    }
  }
  signature.contrast = Deviation(signature.luma);
  return signature;
}

// Sums over the cells that two grids have in common.
struct Sums {
  float n = 0, a = 0, b = 0, aa = 0, bb = 0, ab = 0;
};

// Of the cells [x0, x1) x [y0, y1) of `a` and those at (dx, dy) from them of `b`, all inside.
Sums SumOver(const float* a, const float* b, int x0, int x1, int y0, int y1, int dx, int dy) {
  Sums sums;
  for (int y = y0; y < y1; ++y) {
    const float* p = a + y * kSide;
    const float* q = b + (y + dy) * kSide + dx;
    for (int x = x0; x < x1; ++x) {
      sums.a += p[x], sums.b += q[x];
      sums.aa += p[x] * p[x], sums.bb += q[x] * q[x], sums.ab += p[x] * q[x];
    }
  }
  sums.n = static_cast<float>((x1 - x0) * (y1 - y0));
  return sums;
}

// Correlation whatever the brightness and contrast, -1 to 1.
float Correlation(const Sums& s) {
  const float aa = s.aa / s.n - s.a * s.a / (s.n * s.n) + kTexture;
  const float bb = s.bb / s.n - s.b * s.b / (s.n * s.n) + kTexture;
  const float ab = s.ab / s.n - s.a * s.b / (s.n * s.n) + kTexture;
  return ab / std::sqrt(aa * bb);
}

// How much of the frame is not explained by light alone: what is left, in terms of contrast, of its
// luma if every level of the frame before becomes one level of this one. 0 to 1.
float NotLight(const Signature& before, const Signature& now) {
  std::array<float, kLevels> sum = {}, count = {};
  const auto [low, high] = std::minmax_element(before.luma.begin(), before.luma.end());
  const float scale = kLevels / std::max(*high - *low, 1.0f);
  const auto level = [&, least = *low](size_t i) {
    return std::min(static_cast<size_t>((before.luma[i] - least) * scale), size_t{kLevels - 1});
  };
  for (size_t i = 0; i < now.luma.size(); ++i) {
    sum[level(i)] += now.luma[i];
    ++count[level(i)];
  }
  for (int k = 0; k < kLevels; ++k) sum[k] /= std::max(count[k], 1.0f);
  double squares = 0;
  for (size_t i = 0; i < now.luma.size(); ++i) {
    const double miss = now.luma[i] - sum[level(i)];
    squares += miss * miss;
  }
  return static_cast<float>(std::sqrt(squares / kCells)) /
         std::max({now.contrast, before.contrast, kNothing});
}

struct Shift {
  int dx = 0, dy = 0;
};

// Where most of the frame was in the one before.
Shift CameraShift(const Signature& before, const Signature& now) {
  Shift best;
  float most = -2;
  for (int dy = -kMaxShift; dy <= kMaxShift; ++dy) {
    for (int dx = -kMaxShift; dx <= kMaxShift; ++dx) {
      const Sums sums =
          SumOver(now.luma.data(), before.luma.data(), std::max(-dx, 0), kSide - std::max(dx, 0),
                  std::max(-dy, 0), kSide - std::max(dy, 0), dx, dy);
      // Of equals the smallest.
      const float value = Correlation(sums) - kShiftCost * static_cast<float>(dx * dx + dy * dy);
      if (value > most) most = value, best = {dx, dy};
    }
  }
  return best;
}

// How much of the frame is not explained by motion: the share of its texture that is not found in
// the frame before, and how much of its colour differs from the place where it was found.
float NotMotion(const Signature& before, const Signature& now) {
  const Shift camera = CameraShift(before, now);
  const float* a = now.luma.data();
  const float* b = before.luma.data();
  float missing = 0, texture = 0, recoloured = 0, colour = 0;
  for (int y0 = 0; y0 < kSide; y0 += kPatch) {
    for (int x0 = 0; x0 < kSide; x0 += kPatch) {
      Shift at;
      float found = -2;
      for (int dy = camera.dy - kMaxOwnShift; dy <= camera.dy + kMaxOwnShift; ++dy) {
        if (y0 + dy < 0 || y0 + dy + kPatch > kSide) continue;
        for (int dx = camera.dx - kMaxOwnShift; dx <= camera.dx + kMaxOwnShift; ++dx) {
          if (x0 + dx < 0 || x0 + dx + kPatch > kSide) continue;
          const float value = Correlation(SumOver(a, b, x0, x0 + kPatch, y0, y0 + kPatch, dx, dy));
          if (value > found) found = value, at = {dx, dy};
        }
      }
      if (found < -1) continue;  // it came in from outside
      const Sums own = SumOver(a, a, x0, x0 + kPatch, y0, y0 + kPatch, 0, 0);
      const float weight =
          std::sqrt(std::max(own.aa / own.n - own.a * own.a / (own.n * own.n), 0.0f));
      missing += weight * (1 - std::max(found, 0.0f));
      texture += weight;
      for (int y = y0; y < y0 + kPatch; ++y) {
        for (int x = x0; x < x0 + kPatch; ++x) {
          const int i = y * kSide + x, j = (y + at.dy) * kSide + x + at.dx;
          recoloured +=
              std::abs(now.blue[i] - before.blue[j]) + std::abs(now.red[i] - before.red[j]);
          colour += kGrey + std::max(std::abs(now.blue[i]) + std::abs(now.red[i]),
                                     std::abs(before.blue[j]) + std::abs(before.red[j]));
        }
      }
    }
  }
  return missing / std::max(texture, 1e-3f) + kColourShare * recoloured / std::max(colour, 1e-3f);
}

// 0: the same picture but for motion and light; kCutScore: as different as neither should make it.
float Difference(const Signature& before, const Signature& now) {
  const float light = NotLight(before, now) / kLightAlone * kCutScore;
  if (light < kAlike) return light;
  // What came in is found nowhere before, what went out nowhere now; a cut is both.
  const float motion = std::min(NotMotion(before, now), NotMotion(now, before));
  return std::min(light, motion / kMotionAlone * kCutScore);
}

}  // namespace

bool SceneCutDetector::Next(const Image& image) {
  score_ = 0;
  if (image.width <= 0 || image.height <= 0 ||
      image.rgb.size() != static_cast<size_t>(image.width) * image.height * 3) {
    return false;
  }
  const Signature now = MakeSignature(image);
  if (now.contrast < kNothing) return false;
  bool cut = false;
  if (!before_.empty()) {
    score_ = 1;
    for (auto before = before_.rbegin(); before != before_.rend() && score_ >= kAlike; ++before) {
      score_ = std::min(score_, Difference(*before, now));
    }
    cut = score_ > std::max(kCutScore, mean_ + kUnusual * spread_);
  }
  if (cut) {
    before_.clear();
    mean_ = spread_ = 0;
  } else {
    mean_ += kForget * (score_ - mean_);
    spread_ += kForget * (std::abs(score_ - mean_) - spread_);
  }
  before_.push_back(now);
  if (before_.size() > kMemory) before_.pop_front();
  return cut;
}

void SceneCutDetector::Reset() {
  before_.clear();
  mean_ = spread_ = score_ = 0;
}

}  // namespace reenact
