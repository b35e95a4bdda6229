#include "pipeline/face/motion_regions.h"

#include <algorithm>
#include <cmath>

#include "pipeline/face/canonical_mesh.h"

namespace reenact {
namespace {

using Pair = MotionRegions::Pair;

constexpr double kMouthLine = -4.28;  // height of the closed mouth of the canonical face, cm

// What a lip's opening is made of: the upper lip's share, what the chin does of the lower lip's
// way, and how far a lip goes back while it goes down.
constexpr double kUpperLipShare = 0.12, kChinShare = 0.5, kChinBack = 0.45, kLipBack = 0.25;

// What a full smile does to the mouth's left corner, cm; on real clips corners go out by 0.9 to 1.4
// of what they go up.
constexpr Vector3 kSmile{-0.9, 0.72, -0.7};
constexpr double kFullSmile = 1.3;
// Corners at rest differ from person to person: less than the first is no smile, more than the
// second is one. cm.
constexpr double kRestLift = 0.1, kSmileLift = 0.35;

// Eyes narrower than this (greatest gap over width) are taken for closing ones.
constexpr double kNarrowEye = 0.16;

// 0 at `from` and before, 1 at `to` and after; `from` may be the greater.
double Step(double from, double to, double x) {
  const double t = std::clamp((x - from) / (to - from), 0.0, 1.0);
  return t * t * (3 - 2 * t);
}

double Bell(double x, double y, double z) { return std::exp(-(x * x + y * y + z * z) / 2); }

MotionRegions Make() {
  MotionRegions regions{};
  for (size_t i = 0; i < MotionRegions::kIrises; ++i) {
    const Vector3& p = CanonicalShape()[i];
    const double x = std::abs(p.x);
    regions.mouth[i] = Step(1.0, -1.2, p.y);
    regions.jaw[i] = Step(-1.8, -3.6, p.y) * Step(8.0, 4.5, x);
    regions.brows[i] = Step(3.3, 4.2, p.y) * Step(6.6, 5.4, p.y) * Step(7.0, 5.5, x);
    for (const double side : {-1.0, 1.0}) {
      // Rings around the eye: about twice as wide as high.
      const double away = std::hypot(p.x - side * 3.15, (p.y - 2.65) * 2);
      regions.lids[side < 0 ? 0 : 1][i] = Step(2.2, 1.4, away);
    }
  }
  return regions;
}

double EyeWidth(const HeadShape& shape, const MotionRegions::Eye& eye) {
  return Length(shape[eye.outer_corner] - shape[eye.inner_corner]);
}

double MouthWidth(const HeadShape& shape) {
  return Length(shape[MotionRegions::kLeftMouthCorner] - shape[MotionRegions::kRightMouthCorner]);
}

template <size_t n>
double WidestGap(const HeadShape& shape, const std::array<Pair, n>& pairs) {
  double widest = 0;
  for (const Pair& pair : pairs) widest = std::max(widest, Gap(shape, pair));
  return widest;
}

// Where closing the mouth takes what.
struct MouthClosing {
  // The lip pairs beside each point and the share of the second; or none, beyond the corners.
  struct Beside {
    size_t first = 0, second = 0;
    double first_share = 0, second_share = 0;
  };
  std::array<Beside, kNumLandmarks> beside;
  MotionRegions::Field upper{}, lower{};  // how much a point goes with that lip
  MotionRegions::Field down{}, back{};    // how far it goes with the chin

  MouthClosing() {
    const HeadShape& face = CanonicalShape();
    const auto& lips = MotionRegions::kLips;
    std::array<double, lips.size()> x;
    for (size_t j = 0; j < lips.size(); ++j) {
      x[j] = (face[lips[j].upper].x + face[lips[j].lower].x) / 2;
    }
    const double corner = 2.4;
    for (size_t i = 0; i < MotionRegions::kIrises; ++i) {
      const Vector3& p = face[i];
      if (p.x > -corner && p.x < corner) {
        size_t next = 0;
        while (next < x.size() && x[next] < p.x) ++next;
        Beside& b = beside[i];
        if (next == 0) {
          b = {0, 0, (p.x + corner) / (x[0] + corner), 0};
        } else if (next == x.size()) {
          b = {next - 1, next - 1, (corner - p.x) / (corner - x[next - 1]), 0};
        } else {
          const double t = (p.x - x[next - 1]) / (x[next] - x[next - 1]);
          b = {next - 1, next, 1 - t, t};
        }
      }
      upper[i] = p.y > kMouthLine ? Step(-2.5, -3.3, p.y) : 0;
      lower[i] = p.y > kMouthLine ? 0 : Step(-6.6, -5.4, p.y);
      const double sideways = Step(7.4, 3.5, std::abs(p.x));
      // Between nose and mouth nothing goes with the chin but the corners.
      const double t = std::min(std::abs(p.x) / corner, 1.0);
      const double with_chin = sideways * (p.y > kMouthLine ? t * t : 1);
      down[i] = kChinShare * with_chin * Step(-2.5, -7.5, p.y);
      back[i] = kChinBack * with_chin * Step(-2.5, -8.5, p.y);
    }
    for (size_t j = 0; j < lips.size(); ++j) {
      beside[lips[j].upper] = beside[lips[j].lower] = {j, j, 1, 0};
      upper[lips[j].upper] = lower[lips[j].lower] = 1;
      upper[lips[j].lower] = lower[lips[j].upper] = 0;
      for (const size_t i : {lips[j].upper, lips[j].lower}) down[i] = back[i] = 0;
    }
  }
};

void CloseMouth(HeadShape& shape) {
  static const MouthClosing closing;
  std::array<double, MotionRegions::kLips.size()> gaps;
  double widest = 0;
  for (size_t j = 0; j < gaps.size(); ++j) {
    gaps[j] = Gap(shape, MotionRegions::kLips[j]);
    widest = std::max(widest, gaps[j]);
  }
  for (size_t i = 0; i < MotionRegions::kIrises; ++i) {
    const auto& beside = closing.beside[i];
    const double gap =
        gaps[beside.first] * beside.first_share + gaps[beside.second] * beside.second_share;
    const double with_lower = closing.lower[i];
    shape[i].y += with_lower * (1 - kUpperLipShare) * gap -
                  closing.upper[i] * kUpperLipShare * gap +
                  (1 - with_lower) * closing.down[i] * widest;
    shape[i].z += with_lower * kLipBack * gap + (1 - with_lower) * closing.back[i] * widest;
  }
}

// Fields of a full smile on the canonical face.
const std::array<Vector3, kNumLandmarks>& SmileField() {
  static const auto field = [] {
    std::array<Vector3, kNumLandmarks> smile{};
    for (size_t i = 0; i < MotionRegions::kIrises; ++i) {
      const Vector3& p = CanonicalShape()[i];
      for (const double side : {-1.0, 1.0}) {
        const double corner = Bell((p.x - side * 2.4) / 1.35, (p.y + 4.3) / 1.25, (p.z - 4.2) / 3);
        const double cheek = Bell((p.x - side * 4.3) / 1.3, (p.y + 1) / 1.2, (p.z - 4) / 3);
        smile[i] += Vector3{-side * kSmile.x, kSmile.y, kSmile.z} * corner +
                    Vector3{side * 0.08, 0.42, 0.25} * cheek;
      }
    }
    return smile;
  }();
  return field;
}

void RelaxSmile(HeadShape& shape) {
  const double lift = CornerLift(shape) - CornerLift(CanonicalShape());
  const double smile =
      std::clamp(lift / kSmile.y, 0.0, kFullSmile) * Step(kRestLift, kSmileLift, lift);
  if (smile == 0) return;
  for (size_t i = 0; i < shape.size(); ++i) shape[i] += SmileField()[i] * -smile;
}

void OpenEye(HeadShape& shape, const MotionRegions::Eye& eye) {
  const double missing = kNarrowEye * EyeWidth(shape, eye) - WidestGap(shape, eye.lids);
  if (!(missing > 0)) return;
  const double widest = WidestGap(CanonicalShape(), eye.lids);
  for (const Pair& pair : eye.lids) {
    const double open = missing * Gap(CanonicalShape(), pair) / widest;
    shape[pair.upper].y += 0.85 * open;
    shape[pair.lower].y -= 0.15 * open;
  }
}

}  // namespace

const MotionRegions& MotionRegions::Get() {
  static const MotionRegions regions = Make();
  return regions;
}

double Gap(const HeadShape& shape, const Pair& pair) {
  return shape[pair.upper].y - shape[pair.lower].y;
}

double MouthOpening(const HeadShape& shape) {
  const double width = MouthWidth(shape);
  return width > 0 ? WidestGap(shape, MotionRegions::kLips) / width : 0;
}

double EyeOpening(const HeadShape& shape, size_t eye) {
  const MotionRegions::Eye& e = MotionRegions::kEyes[eye];
  double sum = 0;
  for (const Pair& pair : e.lids) sum += Gap(shape, pair);
  const double width = EyeWidth(shape, e);
  return width > 0 ? sum / static_cast<double>(e.lids.size()) / width : 0;
}

double CornerLift(const HeadShape& shape) {
  const Pair& middle = MotionRegions::kLips[MotionRegions::kMiddleOfLips];
  return (shape[MotionRegions::kLeftMouthCorner].y + shape[MotionRegions::kRightMouthCorner].y -
          shape[middle.upper].y - shape[middle.lower].y) /
         2;
}

HeadShape AtRest(const HeadShape& shape) {
  HeadShape rest = shape;
  CloseMouth(rest);
  RelaxSmile(rest);
  for (const MotionRegions::Eye& eye : MotionRegions::kEyes) OpenEye(rest, eye);
  return rest;
}

}  // namespace reenact
