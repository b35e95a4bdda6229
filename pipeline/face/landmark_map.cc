#include "pipeline/face/landmark_map.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "pipeline/face/canonical_mesh.h"

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

bool Finite(const Point3& p) {
  return std::isfinite(p.x) && std::isfinite(p.y) && std::isfinite(p.z);
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
        const size_t token = static_cast<size_t>(y / kLandmarkMapPatch) * tokens_side +
                             static_cast<size_t>(x / kLandmarkMapPatch);
        const size_t cell = static_cast<size_t>(y % kLandmarkMapPatch) * kLandmarkMapPatch +
                            static_cast<size_t>(x % kLandmarkMapPatch);
        float* out = &map[token * kLandmarkMapWidth + cell * kLandmarkMapCellValues];
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
