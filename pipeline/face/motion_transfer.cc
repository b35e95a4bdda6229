#include "pipeline/face/motion_transfer.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

#include "absl/status/status.h"
#include "pipeline/face/motion_regions.h"

namespace reenact {
namespace {

using Regions = MotionRegions;

// Proportions of two faces differ by less; more is a mistake of the landmarks.
constexpr double kMinProportion = 0.6, kMaxProportion = 1.6;
constexpr double kMinLidProportion = 0.4, kMaxLidProportion = 2.5;

// The middle of an iris goes no further aside than this from the middle of the eye, of its width.
constexpr double kMaxGaze = 0.3;

// Beside the eye's corners gaps are small: there the proportion of the whole eye counts too. cm.
constexpr double kSmallGap = 0.12;

double Proportion(double source, double driver, double min, double max) {
  return driver > 0 ? std::clamp(source / driver, min, max) : 1;
}
double Proportion(double source, double driver) {
  return Proportion(source, driver, kMinProportion, kMaxProportion);
}

Vector3 MiddleOf(const HeadShape& shape, const Regions::Eye& eye) {
  return (shape[eye.outer_corner] + shape[eye.inner_corner]) * 0.5;
}

double MeanGap(const HeadShape& shape, const Regions::Eye& eye) {
  double sum = 0;
  for (const Regions::Pair& pair : eye.lids) sum += Gap(shape, pair);
  return sum / static_cast<double>(eye.lids.size());
}

// Lengths that displacements are scaled by.
struct Proportions {
  double mouth_width, lower_height, eye_distance;
  std::array<double, 2> eye_width, eye_gap;

  // Of a face at rest.
  explicit Proportions(const HeadShape& rest)
      : mouth_width(Length(rest[Regions::kLeftMouthCorner] - rest[Regions::kRightMouthCorner])),
        lower_height(Length(rest[Regions::kUnderNose] - rest[Regions::kChin])),
        eye_distance(
            Length(MiddleOf(rest, Regions::kEyes[0]) - MiddleOf(rest, Regions::kEyes[1]))) {
    for (size_t k = 0; k < 2; ++k) {
      const Regions::Eye& eye = Regions::kEyes[k];
      eye_width[k] = Length(rest[eye.outer_corner] - rest[eye.inner_corner]);
      eye_gap[k] = MeanGap(rest, eye);
    }
  }
};

// Moves both sides of a pair so that its gap becomes `gap`.
void SetGap(HeadShape& shape, const Regions::Pair& pair, double gap) {
  const double half = (gap - Gap(shape, pair)) / 2;
  shape[pair.upper].y += half;
  shape[pair.lower].y -= half;
}

}  // namespace

absl::StatusOr<MotionTransfer> MotionTransfer::Create(const std::optional<Landmarks>& source,
                                                      const MotionOptions& options) {
  if (auto status = CheckMotionOptions(options); !status.ok()) return status;
  MotionTransfer transfer(options);
  if (!source.has_value()) {
    if (options.mode == MotionMode::kRelative) {
      return absl::InvalidArgumentError(
          "motion.mode is relative, which needs a source image; must be absolute for a text alone");
    }
    return transfer;
  }
  const auto pose = FitHeadPose(*source);
  if (!pose.has_value()) {
    return absl::InvalidArgumentError("the source's landmarks are not those of a face");
  }
  Face face{.pose = *pose, .shape = ToHead(*source, *pose), .base = {}};
  face.base = AtRest(face.shape);
  for (size_t i = 0; i < face.base.size(); ++i) {
    face.base[i] += (face.shape[i] - face.base[i]) * options.source_expression;
  }
  transfer.source_ = face;
  transfer.source_landmarks_ = *source;
  return transfer;
}

Landmarks MotionTransfer::Transfer(const Landmarks& frame, const NeutralFace& neutral) const {
  const bool absolute = options_.mode == MotionMode::kAbsolute;
  if (absolute && options_.strength == 1 && options_.pose == 1 && options_.mouth == 1 &&
      options_.eyes == 1 && options_.gaze == 1) {
    return frame;
  }
  const auto pose = FitHeadPose(frame);
  if (!pose.has_value()) return absolute ? frame : source_landmarks_;
  const HeadShape shape = ToHead(frame, *pose);
  if (!absolute) return Move(*source_, *pose, shape, neutral);
  return Move({.pose = {neutral.rotation, neutral.place, neutral.scale},
               .shape = neutral.shape,
               .base = AtRest(neutral.shape)},
              *pose, shape, neutral);
}

Landmarks MotionTransfer::Move(const Face& source, const HeadPose& pose, const HeadShape& shape,
                               const NeutralFace& neutral) const {
  const Regions& regions = Regions::Get();
  const HeadShape driver_rest = AtRest(neutral.shape);
  const Proportions mine(source.base), theirs(driver_rest);

  const double mouth_width = Proportion(mine.mouth_width, theirs.mouth_width);
  const double mouth_height =
      std::sqrt(mouth_width * Proportion(mine.lower_height, theirs.lower_height));
  const double eyes = Proportion(mine.eye_distance, theirs.eye_distance);
  std::array<double, 2> lids;
  for (size_t k = 0; k < 2; ++k) {
    lids[k] = Proportion(mine.eye_gap[k], theirs.eye_gap[k], kMinLidProportion, kMaxLidProportion);
  }

  // The source's face with all of the driver's expression.
  HeadShape full = source.base;
  for (size_t i = 0; i < Regions::kIrises; ++i) {
    const double mouth = regions.mouth[i];
    const double x = eyes + (mouth_width - eyes) * mouth, z = eyes + (mouth_height - eyes) * mouth;
    double y = z;
    for (size_t k = 0; k < 2; ++k) y += (lids[k] - y) * regions.lids[k][i];
    const Vector3 moved = shape[i] - driver_rest[i];
    full[i] += Vector3{moved.x * x, moved.y * y, moved.z * z};
  }
  for (size_t k = 0; k < 2; ++k) {
    const Regions::Eye& eye = Regions::kEyes[k];
    const double wide = std::min(1.0, lids[k]);
    for (const Regions::Pair& pair : eye.lids) {
      const double open = (std::max(Gap(source.base, pair), 0.0) + kSmallGap * lids[k]) /
                          (std::max(Gap(driver_rest, pair), 0.0) + kSmallGap);
      const double gap = std::max(Gap(shape, pair), 0.0);
      const double rest = std::max(Gap(driver_rest, pair), 0.0);
      SetGap(full, pair, std::min(gap, rest) * open + std::max(gap - rest, 0.0) * wide);
    }
  }

  // As much of it as is asked for.
  const double strength = options_.strength;
  HeadShape out = source.shape;
  for (size_t i = 0; i < Regions::kIrises; ++i) {
    const double share =
        strength * (options_.eyes + (options_.mouth - options_.eyes) * regions.mouth[i]);
    out[i] += (full[i] - source.shape[i]) * share;
  }
  if (strength > 0) {
    for (const Regions::Eye& eye : Regions::kEyes) {
      for (const Regions::Pair& pair : eye.lids) {
        if (Gap(out, pair) < 0) SetGap(out, pair, 0);
      }
    }
    for (const Regions::Pair& pair : Regions::kLips) {
      if (Gap(out, pair) < 0) SetGap(out, pair, 0);
    }
  }
  for (size_t k = 0; k < 2; ++k) {
    const Regions::Eye& eye = Regions::kEyes[k];
    const double width =
        Proportion(mine.eye_width[k], theirs.eye_width[k]) * strength * options_.gaze;
    const double my_width = Length(out[eye.outer_corner] - out[eye.inner_corner]);
    const double their_width = Length(shape[eye.outer_corner] - shape[eye.inner_corner]);
    const Vector3 was = MiddleOf(source.shape, eye), is = MiddleOf(out, eye),
                  driver_was = MiddleOf(neutral.shape, eye), driver_is = MiddleOf(shape, eye);
    for (size_t i = eye.iris; i < eye.iris + 5; ++i) {
      const Vector3 moved = (shape[i] - driver_is) - (neutral.shape[i] - driver_was);
      out[i] = is + (source.shape[i] - was) + moved * width;
    }
    // Both gazes together must not leave the eye.
    const auto aside = [&eye](const HeadShape& face, const Vector3& middle) {
      return face[eye.iris].x - middle.x;
    };
    double limit = std::max(kMaxGaze * my_width, std::abs(aside(source.shape, was)));
    if (their_width > 0) {
      limit = std::max(limit, std::abs(aside(shape, driver_is)) * my_width / their_width);
    }
    const double x = aside(out, is), beyond = x - std::clamp(x, -limit, limit);
    for (size_t i = eye.iris; i < eye.iris + 5; ++i) out[i].x -= beyond;
  }

  const double share = strength * options_.pose;
  const double unit = source.pose.scale / neutral.scale;
  return ToPicture(
      out,
      {.rotation = source.pose.rotation * Scaled(neutral.rotation.Inverse() * pose.rotation, share),
       .translation = source.pose.translation + (pose.translation - neutral.place) * (unit * share),
       .scale = source.pose.scale * std::pow(pose.scale / neutral.scale, share)});
}

}  // namespace reenact
