// From a driver's landmarks to those the network is told: the trembling taken out
// (motion_smoothing.h) and the motion put on the source's face (motion_transfer.h).
//
// A clip that is there as a whole is smoothed in both directions of time, and its face at rest is
// looked for in all of it; frames that come one by one are smoothed forwards only, and the face at
// rest is refined as they come. A scene cut starts the smoothing anew.
//
// Landmarks are in units of a crop: the driver's own on the way in, the source's on the way out.
//
// Thread-compatible.
#pragma once

#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "pipeline/face/landmarks.h"
#include "pipeline/face/motion_neutral.h"
#include "pipeline/face/motion_options.h"
#include "pipeline/face/motion_smoothing.h"
#include "pipeline/face/motion_transfer.h"

namespace reenact {

class DriverMotion {
 public:
  // `source`: the source's face; without one only MotionMode::kAbsolute is possible.
  // kInvalidArgument: an option is out of range.
  static absl::StatusOr<DriverMotion> Create(const std::optional<Landmarks>& source,
                                             const MotionOptions& motion,
                                             const SmoothingOptions& smoothing);

  struct Frame {
    Landmarks landmarks;
    double seconds = 0;  // increasing
    bool cut = false;    // begins a scene
  };
  // Every frame of a clip at once.
  std::vector<Landmarks> Clip(absl::Span<const Frame> frames) const;

  // The next frame of a clip that is not there as a whole.
  Landmarks Next(const Frame& frame);

 private:
  DriverMotion(const MotionTransfer& transfer, const SmoothingOptions& smoothing)
      : transfer_(transfer), smoothing_(smoothing), smoother_(smoothing) {}

  MotionTransfer transfer_;
  SmoothingOptions smoothing_;
  LandmarkSmoother smoother_;
  NeutralTracker neutral_;
};

}  // namespace reenact
