#include "pipeline/reenactor/driver_motion.h"

#include <utility>

namespace reenact {

absl::StatusOr<DriverMotion> DriverMotion::Create(const std::optional<Landmarks>& source,
                                                  const MotionOptions& motion,
                                                  const SmoothingOptions& smoothing) {
  if (auto status = CheckSmoothingOptions(smoothing); !status.ok()) return status;
  auto transfer = MotionTransfer::Create(source, motion);
  if (!transfer.ok()) return transfer.status();
  return DriverMotion(*std::move(transfer), smoothing);
}

std::vector<Landmarks> DriverMotion::Clip(absl::Span<const Landmarks> frames,
                                          absl::Span<const double> seconds) const {
  std::vector<Landmarks> moved = SmoothClip(frames, seconds, smoothing_);
  const auto neutral = FindNeutralFace(moved);
  // Without a head in any frame there is no motion to transfer.
  if (!neutral.ok()) return moved;
  for (Landmarks& frame : moved) frame = transfer_.Transfer(frame, *neutral);
  return moved;
}

Landmarks DriverMotion::Next(const Landmarks& frame, double seconds) {
  const Landmarks smooth = smoother_.Smooth(frame, seconds);
  neutral_.Observe(smooth, seconds);
  return neutral_.has_neutral() ? transfer_.Transfer(smooth, neutral_.neutral()) : smooth;
}

}  // namespace reenact
