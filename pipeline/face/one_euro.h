// The One Euro filter (Casiez, Roussel, Vogel: 1 Euro Filter, CHI 2012): a low-pass filter that
// opens with speed, so that what rests does not tremble and what moves does not lag.
#pragma once

#include <array>
#include <cmath>
#include <cstddef>

namespace reenact {

struct OneEuroOptions {
  double min_cutoff = 1;         // Hz, at rest; above 0
  double beta = 0;               // Hz per unit of speed; 0 or more
  double derivative_cutoff = 1;  // Hz, of the speed itself; above 0
};

// The share of a new sample in a low-pass filter's output; `seconds` since the sample before.
inline double LowPassWeight(double cutoff, double seconds) {
  const double r = 6.283185307179586 * cutoff * seconds;
  return r / (r + 1);
}

// Filters the coordinates of one point together: its speed opens the filter for all of them, so
// what moves along a line stays on it. Thread-compatible.
template <size_t n>
class OneEuro {
 public:
  using Value = std::array<double, n>;

  // The next sample, `seconds` (above 0) after the one before. `unit` is the length speed is
  // measured in.
  const Value& Filter(const Value& sample, double seconds, const OneEuroOptions& options,
                      double unit = 1) {
    if (!started_) {
      started_ = true;
      value_ = last_ = sample;
      speed_ = {};
      return value_;
    }
    const double speed_weight = LowPassWeight(options.derivative_cutoff, seconds);
    double square = 0;
    for (size_t i = 0; i < n; ++i) {
      speed_[i] += ((sample[i] - last_[i]) / (seconds * unit) - speed_[i]) * speed_weight;
      square += speed_[i] * speed_[i];
    }
    last_ = sample;
    const double weight =
        LowPassWeight(options.min_cutoff + options.beta * std::sqrt(square), seconds);
    for (size_t i = 0; i < n; ++i) value_[i] += (sample[i] - value_[i]) * weight;
    return value_;
  }

  // Forgets everything: the next sample passes as it is.
  void Reset() { started_ = false; }

 private:
  bool started_ = false;
  Value value_{}, last_{}, speed_{};
};

}  // namespace reenact
