// Means and correlations of what was measured on many frames. Thread-compatible.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

namespace reenact {

// No value where nothing was measured: an empty mean is not 0.
class Mean {
 public:
  void Add(double value) { sum_ += value, ++count_; }
  void Add(const std::optional<double>& value) {
    if (value.has_value()) Add(*value);
  }
  std::optional<double> value() const {
    if (count_ == 0) return std::nullopt;
    return sum_ / static_cast<double>(count_);
  }
  int64_t count() const { return count_; }

 private:
  double sum_ = 0;
  int64_t count_ = 0;
};

// Pearson's r of pairs that come in groups (the frames of a clip).
class Correlation {
 public:
  // Further pairs belong to another group.
  void NextGroup();
  void Add(double a, double b);

  // Over all pairs as if there were one group. No value: fewer than three pairs, or one side does
  // not vary.
  std::optional<double> Pooled() const;
  // Of the deviations from each group's means: whether a motion is followed, wherever it starts.
  // Groups of one pair count for nothing.
  std::optional<double> WithinGroups() const;
  int64_t count() const { return static_cast<int64_t>(pairs_.size()); }

 private:
  struct Pair {
    double a = 0, b = 0;
    int64_t group = 0;
  };
  std::vector<Pair> pairs_;
  int64_t group_ = 0;
};

// The value below which a share `q` (0..1) of `values` lies, linearly between neighbours. No value
// if there are none.
std::optional<double> Quantile(std::vector<double> values, double q);

}  // namespace reenact
