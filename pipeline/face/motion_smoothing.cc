#include "pipeline/face/motion_smoothing.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>

#include "absl/strings/str_cat.h"
#include "pipeline/face/motion_regions.h"

namespace reenact {
namespace {

constexpr double kMaxStrength = 4;
constexpr double kMaxGapSeconds = 0.3;
constexpr double kMaxJump = 8;     // cm of the head
constexpr double kMaxTurn = 0.79;  // radians
constexpr double kMaxGrowth = 1.5;

// The rotation as a vector along its axis, as long as its angle.
Vector3 AxisAngle(const Quaternion& q) {
  const double sine = Length({q.x, q.y, q.z});
  if (!(sine > 0)) return {};
  return Vector3{q.x, q.y, q.z} * (AngleOf(q) / sine * (q.w < 0 ? -1 : 1));
}

OneEuroOptions Blend(const OneEuroOptions& a, const OneEuroOptions& b, double weight_of_b) {
  const auto mix = [weight_of_b](double x, double y) { return x + (y - x) * weight_of_b; };
  return {mix(a.min_cutoff, b.min_cutoff), mix(a.beta, b.beta),
          mix(a.derivative_cutoff, b.derivative_cutoff)};
}

// Whether the head cannot have got from one pose to the other within a frame.
bool IsJump(const HeadPose& from, const HeadPose& to) {
  const double growth = to.scale / from.scale;
  return Length(to.translation - from.translation) > kMaxJump * from.scale ||
         AngleOf(from.rotation.Inverse() * to.rotation) > kMaxTurn || growth > kMaxGrowth ||
         growth < 1 / kMaxGrowth;
}

}  // namespace

absl::Status CheckSmoothingOptions(const SmoothingOptions& options) {
  if (options.strength >= 0 && options.strength <= kMaxStrength) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("smoothing must be 0..", kMaxStrength, ", is ", options.strength));
}

void LandmarkSmoother::Reset() {
  started_ = false;
  place_.Reset();
  size_.Reset();
  for (OneEuro<3>& point : points_) point.Reset();
}

std::optional<Landmarks> LandmarkSmoother::Next(const Landmarks& frame, double seconds) {
  if (options_.strength == 0) return std::nullopt;
  const auto pose = FitHeadPose(frame);
  if (!pose.has_value()) {
    Reset();
    return std::nullopt;
  }
  const double passed = seconds - last_seconds_;
  if (started_ && !(passed > 0 && passed <= kMaxGapSeconds && !IsJump(last_, *pose))) Reset();
  last_seconds_ = seconds;
  const HeadShape shape = ToHead(frame, *pose);
  const auto filter = [this](OneEuroOptions options) {
    options.min_cutoff /= options_.strength;
    return options;
  };

  if (!started_) {
    rotation_ = pose->rotation;
    turning_ = {};
  } else {
    const OneEuroOptions options = filter(options_.rotation);
    const Vector3 speed = AxisAngle(last_.rotation.Inverse() * pose->rotation) * (1 / passed);
    turning_ += (speed - turning_) * LowPassWeight(options.derivative_cutoff, passed);
    rotation_ =
        Between(rotation_, pose->rotation,
                LowPassWeight(options.min_cutoff + options.beta * Length(turning_), passed));
  }
  const Vector3& t = pose->translation;
  const auto place = place_.Filter({t.x, t.y, t.z}, passed, filter(options_.place), pose->scale);
  const auto size = size_.Filter({std::log(pose->scale)}, passed, filter(options_.size));
  HeadShape smooth;
  const MotionRegions& regions = MotionRegions::Get();
  for (size_t i = 0; i < shape.size(); ++i) {
    const double feature = i >= MotionRegions::kIrises
                               ? 1
                               : std::max({regions.lids[0][i], regions.lids[1][i], regions.jaw[i]});
    const Vector3& v = shape[i];
    const auto point = points_[i].Filter({v.x, v.y, v.z}, passed,
                                         filter(Blend(options_.skin, options_.features, feature)));
    smooth[i] = {point[0], point[1], point[2]};
  }
  const bool started = std::exchange(started_, true);
  last_ = *pose;
  if (!started) return std::nullopt;
  return ToPicture(smooth, {rotation_, {place[0], place[1], place[2]}, std::exp(size[0])});
}

Landmarks LandmarkSmoother::Smooth(const Landmarks& frame, double seconds) {
  return Next(frame, seconds).value_or(frame);
}

std::vector<Landmarks> SmoothClip(absl::Span<const Landmarks> clip,
                                  absl::Span<const double> seconds,
                                  const SmoothingOptions& options) {
  std::vector<Landmarks> smooth(clip.begin(), clip.end());
  std::vector<bool> forwards(clip.size(), false);  // whether smooth[i] is more than a copy
  LandmarkSmoother forward(options), backward(options);
  for (size_t i = 0; i < clip.size(); ++i) {
    if (auto frame = forward.Next(clip[i], seconds[i]); frame.has_value()) {
      smooth[i] = *frame;
      forwards[i] = true;
    }
  }
  for (size_t i = clip.size(); i-- > 0;) {
    const auto frame = backward.Next(clip[i], -seconds[i]);
    if (!frame.has_value()) continue;
    for (size_t k = 0; k < smooth[i].size(); ++k) {
      Point3& p = smooth[i][k];
      const Point3& q = (*frame)[k];
      p = forwards[i] ? Point3{(p.x + q.x) / 2, (p.y + q.y) / 2, (p.z + q.z) / 2} : q;
    }
  }
  return smooth;
}

}  // namespace reenact
