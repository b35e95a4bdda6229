#include "pipeline/reenactor/driver_motion.h"

#include <cstddef>

namespace reenact {

absl::StatusOr<DriverMotion> DriverMotion::Create(const std::optional<Landmarks>& source,
                                                  const MotionOptions& motion,
                                                  const SmoothingOptions& smoothing) {
  if (auto status = CheckSmoothingOptions(smoothing); !status.ok()) return status;
  auto transfer = MotionTransfer::Create(source, motion);
  if (!transfer.ok()) return transfer.status();
  return DriverMotion(*transfer, smoothing);
}

std::vector<Landmarks> DriverMotion::Clip(absl::Span<const Frame> frames) const {
  std::vector<Landmarks> moved;
  for (size_t first = 0; first < frames.size();) {
    std::vector<Landmarks> scene;
    std::vector<double> seconds;
    do {
      scene.push_back(frames[first].landmarks);
      seconds.push_back(frames[first].seconds);
      ++first;
    } while (first < frames.size() && !frames[first].cut);
    for (const Landmarks& frame : SmoothClip(scene, seconds, smoothing_)) moved.push_back(frame);
  }
  const auto neutral = FindNeutralFace(moved);
  // Without a head in any frame there is no motion to transfer.
  if (!neutral.ok()) return moved;
  for (Landmarks& frame : moved) frame = transfer_.Transfer(frame, *neutral);
  return moved;
}

Landmarks DriverMotion::Next(const Frame& frame) {
  if (frame.cut) smoother_.Reset();
  const Landmarks smooth = smoother_.Smooth(frame.landmarks, frame.seconds);
  neutral_.Observe(smooth, frame.seconds);
  return neutral_.has_neutral() ? transfer_.Transfer(smooth, neutral_.neutral()) : smooth;
}

}  // namespace reenact
