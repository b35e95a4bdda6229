#include "eval/statistics.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <map>

namespace reenact {
namespace {

// Below this share of the mean square a variance is rounding.
constexpr double kNoVariance = 1e-18;

struct Sums {
  double count = 0, a = 0, b = 0;
};

// Pearson's r of the deviations from each group's means.
template <typename Pairs, typename GroupOf>
std::optional<double> Deviations(const Pairs& pairs, GroupOf group_of) {
  std::map<int64_t, Sums> groups;
  for (const auto& pair : pairs) {
    Sums& sums = groups[group_of(pair)];
    ++sums.count, sums.a += pair.a, sums.b += pair.b;
  }
  double aa = 0, bb = 0, ab = 0, square_a = 0, square_b = 0;
  int64_t used = 0;
  for (const auto& pair : pairs) {
    const Sums& sums = groups.at(group_of(pair));
    if (sums.count < 2) continue;
    const double a = pair.a - sums.a / sums.count, b = pair.b - sums.b / sums.count;
    aa += a * a, bb += b * b, ab += a * b;
    square_a += pair.a * pair.a, square_b += pair.b * pair.b;
    ++used;
  }
  if (used < 3 || aa <= kNoVariance * square_a || bb <= kNoVariance * square_b) {
    return std::nullopt;
  }
  return ab / std::sqrt(aa * bb);
}

}  // namespace

void Correlation::NextGroup() { ++group_; }

void Correlation::Add(double a, double b) { pairs_.push_back({a, b, group_}); }

std::optional<double> Correlation::Pooled() const {
  return Deviations(pairs_, [](const Pair&) { return int64_t{0}; });
}

std::optional<double> Correlation::WithinGroups() const {
  return Deviations(pairs_, [](const Pair& pair) { return pair.group; });
}

std::optional<double> Quantile(std::vector<double> values, double q) {
  if (values.empty()) return std::nullopt;
  std::sort(values.begin(), values.end());
  const double at = std::clamp(q, 0.0, 1.0) * static_cast<double>(values.size() - 1);
  const auto below = static_cast<size_t>(at);
  const size_t above = std::min(below + 1, values.size() - 1);
  const double share = at - static_cast<double>(below);
  return values[below] * (1 - share) + values[above] * share;
}

}  // namespace reenact
