#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "training/people/face_mesh.h"
#include "training/people/people.h"

namespace reenact {
namespace {

struct Point {
  float x, y;
};

float SquaredDistanceToSegment(const Point& p, const Point& a, const Point& b) {
  const float dx = b.x - a.x, dy = b.y - a.y, length = dx * dx + dy * dy;
  const float along =
      length > 0 ? std::clamp(((p.x - a.x) * dx + (p.y - a.y) * dy) / length, 0.0f, 1.0f) : 0;
  const float x = a.x + along * dx - p.x, y = a.y + along * dy - p.y;
  return x * x + y * y;
}

// Marks the inside of the closed curve and what lies within `margin` pixels of it.
void Fill(std::span<const Point> curve, float margin, int size, std::vector<uint8_t>& mask) {
  float left = 1e9f, right = -1e9f, top = 1e9f, bottom = -1e9f;
  for (const Point& p : curve) {
    left = std::min(left, p.x);
    right = std::max(right, p.x);
    top = std::min(top, p.y);
    bottom = std::max(bottom, p.y);
  }
  const auto clamp = [&](float v) {
    return static_cast<int>(std::clamp(v, -1.0f, static_cast<float>(size)));
  };
  const int x0 = std::max(clamp(left - margin), 0), x1 = std::min(clamp(right + margin), size - 1);
  const int y0 = std::max(clamp(top - margin), 0), y1 = std::min(clamp(bottom + margin), size - 1);
  for (int y = y0; y <= y1; ++y) {
    for (int x = x0; x <= x1; ++x) {
      const Point p{static_cast<float>(x) + 0.5f, static_cast<float>(y) + 0.5f};
      bool inside = false;
      float nearest = 1e9f;
      for (size_t i = 0; i < curve.size(); ++i) {
        const Point &a = curve[i], &b = curve[(i + 1) % curve.size()];
        if ((a.y > p.y) != (b.y > p.y) && p.x < a.x + (p.y - a.y) * (b.x - a.x) / (b.y - a.y))
          inside = !inside;
        nearest = std::min(nearest, SquaredDistanceToSegment(p, a, b));
      }
      if (inside || nearest <= margin * margin) {
        mask[static_cast<size_t>(y) * static_cast<size_t>(size) + static_cast<size_t>(x)] = 1;
      }
    }
  }
}

}  // namespace

std::vector<uint8_t> ExpressiveMask(const Landmarks& landmarks, int size) {
  std::vector<uint8_t> mask(static_cast<size_t>(size) * static_cast<size_t>(size));
  const auto point = [&](int vertex) {
    const Point3& p = landmarks[static_cast<size_t>(vertex)];
    return Point{p.x * static_cast<float>(size), p.y * static_cast<float>(size)};
  };
  float top = 1e9f, bottom = -1e9f;
  for (int vertex : kFaceOval) {
    top = std::min(top, point(vertex).y);
    bottom = std::max(bottom, point(vertex).y);
  }
  const float margin = 0.02f * (bottom - top);
  const auto fill = [&](std::span<const int> ring) {
    std::vector<Point> curve;
    for (int vertex : ring) curve.push_back(point(vertex));
    Fill(curve, margin, size, mask);
  };
  fill(kLeftEyeRing);
  fill(kRightEyeRing);
  fill(kOuterLips);
  return mask;
}

}  // namespace reenact
