#include "pipeline/compose/colour_transfer.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <optional>
#include <tuple>
#include <utility>

namespace reenact {
namespace {

constexpr size_t kMinPairs = 16;
constexpr double kDarkest = 3, kBrightest = 252;
constexpr double kMinGain = 0.6, kMaxGain = 1.6;
// Square levels: spreads below this one's root say little about the gain.
constexpr double kPriorVariance = 36;
// A pair is left out where it misses by more than so many times the median miss, but never for
// fewer levels than these, round after round: the first guess knows no gain yet, so it must not
// judge, or one large even background would outvote a face.
constexpr double kMaxMiss = 3;
constexpr double kNearMiss[] = {32, 16, 10, 6, 6};

double Median(std::vector<double>& values) {
  const auto middle = values.begin() + static_cast<ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// One channel of a pair.
struct Levels {
  double generated = 0, original = 0, weight = 1;
};

// Gain and offset of one channel; nullopt: too few levels to tell.
std::optional<std::pair<double, double>> EstimateChannel(const std::vector<Levels>& levels) {
  if (levels.size() < kMinPairs) return std::nullopt;
  std::vector<double> misses(levels.size()), sorted;
  // The first guess is the median difference: what most pairs agree on.
  for (const Levels& pair : levels) sorted.push_back(pair.original - pair.generated);
  double gain = 1, offset = Median(sorted);
  for (const double near_miss : kNearMiss) {
    for (size_t i = 0; i < levels.size(); ++i) {
      misses[i] = std::abs(gain * levels[i].generated + offset - levels[i].original);
    }
    sorted = misses;
    const double limit = std::max(kMaxMiss * Median(sorted), near_miss);
    double weights = 0, mean_g = 0, mean_o = 0, var_g = 0, var_o = 0;
    for (size_t i = 0; i < levels.size(); ++i) {
      if (misses[i] > limit) continue;
      weights += levels[i].weight;
      mean_g += levels[i].weight * levels[i].generated;
      mean_o += levels[i].weight * levels[i].original;
    }
    if (!(weights > 0)) return std::nullopt;
    mean_g /= weights, mean_o /= weights;
    for (size_t i = 0; i < levels.size(); ++i) {
      if (misses[i] > limit) continue;
      const double g = levels[i].generated - mean_g, o = levels[i].original - mean_o;
      var_g += levels[i].weight * g * g / weights;
      var_o += levels[i].weight * o * o / weights;
    }
    gain = std::clamp(std::sqrt((var_o + kPriorVariance) / (var_g + kPriorVariance)), kMinGain,
                      kMaxGain);
    offset = mean_o - gain * mean_g;
  }
  return std::pair(gain, offset);
}

}  // namespace

ColourTransfer EstimateTransfer(absl::Span<const ColourPair> pairs) {
  ColourTransfer transfer;
  std::vector<Levels> levels;
  for (int c = 0; c < 3; ++c) {
    levels.clear();
    for (const ColourPair& pair : pairs) {
      // What was cut off at either end tells neither gain nor offset.
      if (pair.generated[c] < kDarkest || pair.generated[c] > kBrightest) continue;
      levels.push_back({pair.generated[c], pair.original[c], pair.weight});
    }
    const auto channel = EstimateChannel(levels);
    if (channel.has_value()) std::tie(transfer.gain[c], transfer.offset[c]) = *channel;
  }
  return transfer;
}

ColourTransfer ScaleTransfer(const ColourTransfer& transfer, double strength) {
  return MixTransfers(transfer, ColourTransfer{}, strength);
}

ColourTransfer MixTransfers(const ColourTransfer& from, const ColourTransfer& to, double keep) {
  ColourTransfer mixed;
  for (int c = 0; c < 3; ++c) {
    mixed.gain[c] = to.gain[c] + keep * (from.gain[c] - to.gain[c]);
    mixed.offset[c] = to.offset[c] + keep * (from.offset[c] - to.offset[c]);
  }
  return mixed;
}

}  // namespace reenact
