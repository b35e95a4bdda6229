#include "pipeline/compose/face_matte.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>
#include <utility>

#include "pipeline/face/canonical_mesh.h"

namespace reenact {
namespace {

struct Point {
  double x = 0, y = 0;
};

// Top of the forehead and chin: the line between them is the head's own vertical.
constexpr int kForehead = 10;
constexpr int kChin = 152;

// Half extents of the head in units of half the face's, measured on portraits: hair above the
// forehead, ears and hair beside the cheeks, and the neck as far down as a crop shows it.
constexpr double kFaceGrowth = 1.06;
constexpr double kHairHeight = 1.6;
constexpr double kHeadWidth = 1.35;
constexpr double kNeckDepth = 1.5;
constexpr double kNeckWidth = 0.9;
constexpr int kOutlinePoints = 32;

constexpr float kDeepInside = 4;

bool Finite(const Landmarks& face) {
  return std::all_of(face.begin(), face.end(),
                     [](const Point3& p) { return std::isfinite(p.x) && std::isfinite(p.y); });
}

// Points whose hull is the area of one face.
void AddOutline(const Landmarks& face, MatteArea area, std::vector<Point>& points) {
  const double dx = double{face[kForehead].x} - face[kChin].x;
  const double dy = double{face[kForehead].y} - face[kChin].y;
  const double length = std::hypot(dx, dy);
  const Point up = length > 1e-9 ? Point{dx / length, dy / length} : Point{0, -1};
  const Point right = {-up.y, up.x};
  double low_up = 1e30, high_up = -1e30, low_right = 1e30, high_right = -1e30;
  for (const Point3& p : face) {
    const double along_up = p.x * up.x + p.y * up.y;
    const double along_right = p.x * right.x + p.y * right.y;
    low_up = std::min(low_up, along_up), high_up = std::max(high_up, along_up);
    low_right = std::min(low_right, along_right), high_right = std::max(high_right, along_right);
  }
  const double middle_up = (low_up + high_up) / 2, half_up = (high_up - low_up) / 2;
  const double middle_right = (low_right + high_right) / 2,
               half_right = (high_right - low_right) / 2;
  const auto add = [&](double a, double b) {  // in half extents: to the right, up
    const double along_right = middle_right + a * half_right, along_up = middle_up + b * half_up;
    points.push_back(
        {along_right * right.x + along_up * up.x, along_right * right.y + along_up * up.y});
  };
  for (const Point3& p : face) {
    const double a = (p.x * right.x + p.y * right.y - middle_right) / std::max(half_right, 1e-9);
    const double b = (p.x * up.x + p.y * up.y - middle_up) / std::max(half_up, 1e-9);
    add(a * kFaceGrowth, b * kFaceGrowth);
  }
  if (area != MatteArea::kHead) return;
  for (int i = 0; i < kOutlinePoints; ++i) {
    const double angle = 2 * std::numbers::pi * i / kOutlinePoints;
    const double height = std::sin(angle) > 0 ? kHairHeight : kFaceGrowth;
    add(kHeadWidth * std::cos(angle), height * std::sin(angle));
  }
  add(-kNeckWidth, -kNeckDepth);
  add(kNeckWidth, -kNeckDepth);
}

// Counter-clockwise in a frame whose y points up, so clockwise as seen; no three on a line.
std::vector<Point> ConvexHull(std::vector<Point> points) {
  std::sort(points.begin(), points.end(),
            [](const Point& a, const Point& b) { return a.x < b.x || (a.x == b.x && a.y < b.y); });
  const auto turn = [](const Point& a, const Point& b, const Point& c) {
    return (b.x - a.x) * (c.y - a.y) - (b.y - a.y) * (c.x - a.x);
  };
  std::vector<Point> hull;
  for (int pass = 0; pass < 2; ++pass) {
    const size_t start = hull.size();
    for (const Point& p : points) {
      while (hull.size() >= start + 2 && turn(hull[hull.size() - 2], hull.back(), p) <= 1e-12) {
        hull.pop_back();
      }
      hull.push_back(p);
    }
    hull.pop_back();
    std::reverse(points.begin(), points.end());
  }
  return hull;
}

// Lowers every sample to what the half plane a * x + b * y + c leaves: positive inside it.
void CutByHalfPlane(double a, double b, double c, const MatteWindow& window, int side,
                    std::vector<float>& samples) {
  const double step_x = (window.right - window.left) / side;
  const double step_y = (window.bottom - window.top) / side;
  const auto per_column = static_cast<float>(a * step_x);
  for (int row = 0; row < side; ++row) {
    const double y = window.top + (row + 0.5) * step_y;
    const auto start = static_cast<float>(a * (window.left + 0.5 * step_x) + b * y + c);
    float* sample = &samples[static_cast<size_t>(row) * side];
    for (int column = 0; column < side; ++column) {
      const float distance = start + per_column * static_cast<float>(column);
      sample[column] = sample[column] < distance ? sample[column] : distance;
    }
  }
}

}  // namespace

std::vector<float> MatteDistance(absl::Span<const Landmarks> faces, MatteArea area, double border,
                                 const MatteWindow& window, int side) {
  std::vector<float> samples(static_cast<size_t>(side) * side, kDeepInside);
  std::vector<Point> points;
  if (area != MatteArea::kCrop) {
    for (const Landmarks& face : faces) {
      if (Finite(face)) AddOutline(face, area, points);
    }
  }
  if (points.size() < 3) return samples;
  const std::vector<Point> hull = ConvexHull(std::move(points));
  for (size_t i = 0; i < hull.size(); ++i) {
    const Point& from = hull[i];
    const Point& to = hull[(i + 1) % hull.size()];
    const double length = std::hypot(to.x - from.x, to.y - from.y);
    if (!(length > 0)) continue;
    const double a = -(to.y - from.y) / length / border, b = (to.x - from.x) / length / border;
    CutByHalfPlane(a, b, 1 - a * from.x - b * from.y, window, side, samples);
  }
  return samples;
}

void FadeAtSides(const FadingSides& fading, double border, const MatteWindow& window, int side,
                 std::vector<float>& samples) {
  if (fading.left) CutByHalfPlane(1 / border, 0, 0, window, side, samples);
  if (fading.top) CutByHalfPlane(0, 1 / border, 0, window, side, samples);
  if (fading.right) CutByHalfPlane(-1 / border, 0, 1 / border, window, side, samples);
  if (fading.bottom) CutByHalfPlane(0, -1 / border, 1 / border, window, side, samples);
}

void FadeAtTurnedSides(double inner, double turn, const FadingSides& fading, double border,
                       const MatteWindow& window, int side, std::vector<float>& samples) {
  const double c = std::cos(turn), s = std::sin(turn);
  // Of each side: whether it fades, and its direction outward.
  const std::array<std::pair<bool, Point>, 4> sides = {{{fading.left, {-c, -s}},
                                                        {fading.top, {s, -c}},
                                                        {fading.right, {c, s}},
                                                        {fading.bottom, {-s, c}}}};
  for (const auto& [fades, out] : sides) {
    if (!fades) continue;
    const double at_middle = inner / 2 + (out.x + out.y) / 2;
    CutByHalfPlane(-out.x / border, -out.y / border, at_middle / border, window, side, samples);
  }
}

std::vector<uint8_t> FaceMatte(absl::Span<const Landmarks> faces, MatteArea area, double border,
                               int side) {
  std::vector<float> distance = MatteDistance(faces, area, border, {}, side);
  FadeAtSides({}, border, {}, side, distance);
  std::vector<uint8_t> matte(distance.size());
  for (size_t i = 0; i < matte.size(); ++i) {
    matte[i] = static_cast<uint8_t>(std::lround(255 * SmoothStep(distance[i])));
  }
  return matte;
}

}  // namespace reenact
