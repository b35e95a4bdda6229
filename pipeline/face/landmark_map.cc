#include "pipeline/face/landmark_map.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "pipeline/face/canonical_mesh.h"
#include "pipeline/face/motion_regions.h"

namespace reenact {
namespace {

// Scale of the canonical position, in cm: about half the face's width and height.
constexpr float kCanonicalScaleX = 8.0f;
constexpr float kCanonicalScaleY = 9.0f;

// First and last cell whose centre lies in [low, high], cut to [0, cells).
std::pair<int, int> CellsBetween(float low, float high, int cells) {
  const float first = std::clamp(std::ceil(low - 0.5f), 0.0f, static_cast<float>(cells));
  const float last = std::clamp(std::floor(high - 0.5f), -1.0f, static_cast<float>(cells - 1));
  return {static_cast<int>(first), static_cast<int>(last)};
}

// Of the first value of cell (x, y).
size_t CellIndex(int x, int y, int tokens_side) {
  const int token = y / kLandmarkMapPatch * tokens_side + x / kLandmarkMapPatch;
  const int cell = y % kLandmarkMapPatch * kLandmarkMapPatch + x % kLandmarkMapPatch;
  return static_cast<size_t>(token) * kLandmarkMapWidth +
         static_cast<size_t>(cell * kLandmarkMapCellValues);
}

bool Finite(const Point3& p) {
  return std::isfinite(p.x) && std::isfinite(p.y) && std::isfinite(p.z);
}

constexpr int kSamplesAcross = 4;  // a cell's share is that of 4 x 4 points

// An opening's edge in cells, clockwise as seen where it is open.
using Outline = std::vector<Point3>;

// From corner `first` along the upper points to corner `second`, and back along the lower ones.
template <size_t N>
Outline OutlineOf(const Landmarks& landmarks, size_t first,
                  const std::array<MotionRegions::Pair, N>& pairs, size_t second, int cells) {
  std::vector<size_t> indices = {first};
  for (const auto& pair : pairs) indices.push_back(pair.upper);
  indices.push_back(second);
  for (auto pair = pairs.rbegin(); pair != pairs.rend(); ++pair) indices.push_back(pair->lower);
  Outline outline;
  for (const size_t index : indices) {
    const Point3& p = landmarks[index];
    outline.push_back({p.x * static_cast<float>(cells), p.y * static_cast<float>(cells), p.z});
  }
  return outline;
}

// Whether the outline runs around (x, y) clockwise as seen.
bool IsInside(const Outline& outline, double x, double y) {
  int winding = 0;
  for (size_t i = 0; i < outline.size(); ++i) {
    const Point3& a = outline[i];
    const Point3& b = outline[i + 1 < outline.size() ? i + 1 : 0];
    const double side = (double{b.x} - a.x) * (y - a.y) - (double{b.y} - a.y) * (x - a.x);
    if (a.y <= y && b.y > y && side > 0) ++winding;
    if (a.y > y && b.y <= y && side < 0) --winding;
  }
  return winding > 0;
}

// Adds to value `channel` of every cell the share of it where `inside(x, y)`, within the outline's
// bounds. Nothing where a point is not finite.
template <typename Inside>
void AddShares(const Outline& outline, int tokens_side, int channel, const Inside& inside,
               std::vector<float>& map) {
  if (!std::all_of(outline.begin(), outline.end(), Finite)) return;
  const int cells = kLandmarkMapPatch * tokens_side;
  const auto bounds = [&](float Point3::*axis) {
    const auto [low, high] =
        std::minmax_element(outline.begin(), outline.end(),
                            [axis](const Point3& a, const Point3& b) { return a.*axis < b.*axis; });
    return CellsBetween((*low).*axis - 0.5f, (*high).*axis + 0.5f, cells);
  };
  const auto [x0, x1] = bounds(&Point3::x);
  const auto [y0, y1] = bounds(&Point3::y);
  for (int y = y0; y <= y1; ++y) {
    for (int x = x0; x <= x1; ++x) {
      int count = 0;
      for (int i = 0; i < kSamplesAcross * kSamplesAcross; ++i) {
        count += inside(x + (i % kSamplesAcross + 0.5) / kSamplesAcross,
                        y + (i / kSamplesAcross + 0.5) / kSamplesAcross);
      }
      map[CellIndex(x, y, tokens_side) + static_cast<size_t>(channel)] +=
          static_cast<float>(count) / (kSamplesAcross * kSamplesAcross);
    }
  }
}

}  // namespace

std::vector<float> LandmarkMap(const Landmarks& landmarks, int tokens_side) {
  const int cells = kLandmarkMapPatch * tokens_side;
  std::vector<float> map(static_cast<size_t>(tokens_side) * tokens_side * kLandmarkMapWidth, 0.0f);
  std::vector<float> depth(static_cast<size_t>(cells) * cells,
                           std::numeric_limits<float>::infinity());
  for (const auto& triangle : kMeshTriangles) {
    std::array<Point3, 3> p;
    for (int k = 0; k < 3; ++k) {
      const Point3& l = landmarks[triangle[k]];
      p[k] = {l.x * static_cast<float>(cells), l.y * static_cast<float>(cells), l.z};
    }
    if (!Finite(p[0]) || !Finite(p[1]) || !Finite(p[2])) continue;
    const double area = (double{p[1].x} - p[0].x) * (double{p[2].y} - p[0].y) -
                        (double{p[2].x} - p[0].x) * (double{p[1].y} - p[0].y);
    if (area == 0) continue;
    const auto [x0, x1] =
        CellsBetween(std::min({p[0].x, p[1].x, p[2].x}), std::max({p[0].x, p[1].x, p[2].x}), cells);
    const auto [y0, y1] =
        CellsBetween(std::min({p[0].y, p[1].y, p[2].y}), std::max({p[0].y, p[1].y, p[2].y}), cells);
    for (int y = y0; y <= y1; ++y) {
      for (int x = x0; x <= x1; ++x) {
        const double px = x + 0.5;
        const double py = y + 0.5;
        // Barycentric coordinates, whichever way round the triangle is seen.
        const double b1 = ((px - p[0].x) * (double{p[2].y} - p[0].y) -
                           (double{p[2].x} - p[0].x) * (py - p[0].y)) /
                          area;
        const double b2 = ((double{p[1].x} - p[0].x) * (py - p[0].y) -
                           (px - p[0].x) * (double{p[1].y} - p[0].y)) /
                          area;
        const double b0 = 1 - b1 - b2;
        if (b0 < 0 || b1 < 0 || b2 < 0) continue;
        const float z = static_cast<float>(b0 * p[0].z + b1 * p[1].z + b2 * p[2].z);
        float& nearest = depth[static_cast<size_t>(y) * cells + x];
        if (z >= nearest) continue;
        nearest = z;
        float* out = &map[CellIndex(x, y, tokens_side)];
        const auto canonical = [&](int axis) {
          return static_cast<float>(b0 * kCanonicalVertices[triangle[0]][axis] +
                                    b1 * kCanonicalVertices[triangle[1]][axis] +
                                    b2 * kCanonicalVertices[triangle[2]][axis]);
        };
        out[0] = 1.0f;
        out[1] = canonical(0) / kCanonicalScaleX;
        out[2] = canonical(1) / kCanonicalScaleY;
      }
    }
  }
  return map;
}

std::vector<float> OpeningMap(const Landmarks& landmarks, int tokens_side) {
  const int cells = kLandmarkMapPatch * tokens_side;
  std::vector<float> map(static_cast<size_t>(tokens_side) * tokens_side * kLandmarkMapWidth, 0.0f);
  for (size_t k = 0; k < MotionRegions::kEyes.size(); ++k) {
    const MotionRegions::Eye& eye = MotionRegions::kEyes[k];
    Outline lids = OutlineOf(landmarks, eye.outer_corner, eye.lids, eye.inner_corner, cells);
    // The outer corner of the right eye is its right one.
    if (k == 1) std::reverse(lids.begin(), lids.end());
    const auto seen = [&lids](double x, double y) { return IsInside(lids, x, y); };
    AddShares(lids, tokens_side, 0, seen, map);

    const Point3 centre = landmarks[eye.iris];
    double radius = 0;
    for (size_t i = 1; i <= 4; ++i) {
      const Point3& rim = landmarks[eye.iris + i];
      radius += std::hypot(double{rim.x} - centre.x, double{rim.y} - centre.y) / 4;
    }
    AddShares(
        lids, tokens_side, 1,
        [&](double x, double y) {
          return std::hypot(x / cells - centre.x, y / cells - centre.y) < radius && seen(x, y);
        },
        map);
  }
  const Outline lips =
      OutlineOf(landmarks, MotionRegions::kInnerLeftMouthCorner, MotionRegions::kLips,
                MotionRegions::kInnerRightMouthCorner, cells);
  AddShares(
      lips, tokens_side, 2, [&lips](double x, double y) { return IsInside(lips, x, y); }, map);
  return map;
}

std::array<float, 3 * kNumLandmarks> NormalizeLandmarks(const Landmarks& landmarks) {
  std::array<float, 3 * kNumLandmarks> out;
  for (size_t i = 0; i < landmarks.size(); ++i) {
    out[3 * i] = 2 * landmarks[i].x - 1;
    out[3 * i + 1] = 2 * landmarks[i].y - 1;
    out[3 * i + 2] = 2 * landmarks[i].z;
  }
  return out;
}

}  // namespace reenact
