// Takes the trembling of a landmark network out of a face without making it lag.
//
// Head and face are filtered apart: position, size and rotation of the head (head_pose.h) each with
// a One Euro filter, and the face in the head's frame point by point, eyes and lips opening their
// filters sooner than the rest. So a trembling head does not blur a blink, and a fast head does not
// let the face tremble.
//
// Landmarks are such whose axes share one unit (head_pose.h), any unit.
#pragma once

#include <array>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "pipeline/face/head_pose.h"
#include "pipeline/face/landmarks.h"
#include "pipeline/face/one_euro.h"

namespace reenact {

struct SmoothingOptions {
  // 0: off, frames pass unchanged. 1: the filters below. Between: less, above: more of the
  // trembling goes (cutoffs at rest are divided by it). 0..4.
  double strength = 1;

  // The trembling of a still face becomes a fifth of what it was; a change that takes three frames
  // at 30 frames a second comes 2 to 16 ms late (measured by the tests).
  OneEuroOptions rotation{.min_cutoff = 0.6, .beta = 40, .derivative_cutoff = 2};  // radians
  OneEuroOptions place{.min_cutoff = 0.6, .beta = 4, .derivative_cutoff = 2};      // cm of the head
  OneEuroOptions size{.min_cutoff = 0.6, .beta = 80, .derivative_cutoff = 2};      // e-folds
  OneEuroOptions skin{.min_cutoff = 0.6, .beta = 4, .derivative_cutoff = 2};       // cm
  OneEuroOptions features{.min_cutoff = 1.2, .beta = 8, .derivative_cutoff = 2};   // lids, irises,
                                                                                   // lips; cm
};

// kInvalidArgument naming the field, its value and its range. Only `strength` comes from callers;
// the filters' own numbers are not checked.
absl::Status CheckSmoothingOptions(const SmoothingOptions& options);

// For frames as they come. Thread-compatible.
class LandmarkSmoother {
 public:
  explicit LandmarkSmoother(const SmoothingOptions& options = {}) : options_(options) {}

  // The next frame, at `seconds`. The filter starts anew, and the frame passes as it is, after
  // Reset(), a gap of more than 0.3 s, a time not later than the one before, a jump of the head by
  // more than its own radius or 45 degrees (a cut), or a frame without a head (FitHeadPose()),
  // which passes too.
  Landmarks Smooth(const Landmarks& frame, double seconds);

  // To be called at a cut or after frames without a face.
  void Reset();

 private:
  friend std::vector<Landmarks> SmoothClip(absl::Span<const Landmarks> clip,
                                           absl::Span<const double> seconds,
                                           const SmoothingOptions& options);

  // No value: the frame passes as it is.
  std::optional<Landmarks> Next(const Landmarks& frame, double seconds);

  SmoothingOptions options_;
  bool started_ = false;
  double last_seconds_ = 0;
  HeadPose last_;  // as measured
  Quaternion rotation_;
  Vector3 turning_;  // low-passed, radians a second
  OneEuro<3> place_;
  OneEuro<1> size_;
  std::array<OneEuro<3>, kNumLandmarks> points_;
};

// A whole clip, forwards and backwards, and the mean of both: what one direction lags the other
// leads, so steps stay where they are and trembling shrinks further. `seconds` has one entry per
// frame and increases. Starts anew as LandmarkSmoother does; scenes are to be given one by one.
std::vector<Landmarks> SmoothClip(absl::Span<const Landmarks> clip,
                                  absl::Span<const double> seconds,
                                  const SmoothingOptions& options = {});

}  // namespace reenact
