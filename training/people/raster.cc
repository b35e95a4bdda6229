#include "training/people/raster.h"

#include <algorithm>
#include <cmath>

namespace reenact {

Raster::Raster(int side)
    : side_(side), pixels_(static_cast<size_t>(side) * static_cast<size_t>(side)) {
  for (Seen& pixel : pixels_) pixel.depth = 1e9f;
}

template <typename Visit>
void Raster::ForEachPixel(const Vec3& a, const Vec3& b, const Vec3& c, Visit visit) const {
  constexpr float kEdge = -1e-5f;  // no cracks between neighbours
  const float area = (b.x - a.x) * (c.y - a.y) - (b.y - a.y) * (c.x - a.x);
  if (std::abs(area) < 1e-9f) return;
  const auto first = [](float p, float q, float r) {
    return std::max(static_cast<int>(std::floor(std::min({p, q, r}) - 0.5f)), 0);
  };
  const auto last = [&](float p, float q, float r) {
    return std::min(static_cast<int>(std::ceil(std::max({p, q, r}) - 0.5f)), side_ - 1);
  };
  const int x0 = first(a.x, b.x, c.x), x1 = last(a.x, b.x, c.x);
  const int y0 = first(a.y, b.y, c.y), y1 = last(a.y, b.y, c.y);
  const float scale = 1 / area;
  // The weights are linear in x.
  const float slope0 = (b.y - c.y) * scale, slope1 = (c.y - a.y) * scale;
  for (int y = y0; y <= y1; ++y) {
    const float py = static_cast<float>(y) + 0.5f;
    const float px = static_cast<float>(x0) + 0.5f;
    const float start0 = ((b.x - px) * (c.y - py) - (b.y - py) * (c.x - px)) * scale;
    const float start1 = ((c.x - px) * (a.y - py) - (c.y - py) * (a.x - px)) * scale;
    for (int x = x0; x <= x1; ++x) {
      const float step = static_cast<float>(x - x0);
      const float w0 = start0 + slope0 * step, w1 = start1 + slope1 * step, w2 = 1 - w0 - w1;
      if (w0 < kEdge || w1 < kEdge || w2 < kEdge) continue;
      visit(static_cast<size_t>(y) * static_cast<size_t>(side_) + static_cast<size_t>(x), w0, w1,
            w0 * a.z + w1 * b.z + w2 * c.z);
    }
  }
}

void Raster::Draw(const std::vector<Vec3>& projected, const std::vector<Triangle>& triangles) {
  for (size_t i = 0; i < triangles.size(); ++i) {
    const auto& [a, b, c] = triangles[i].vertices;
    ForEachPixel(projected[static_cast<size_t>(a)], projected[static_cast<size_t>(b)],
                 projected[static_cast<size_t>(c)],
                 [&](size_t pixel, float w0, float w1, float depth) {
                   if (depth < pixels_[pixel].depth)
                     pixels_[pixel] = {static_cast<int>(i), w0, w1, depth};
                 });
  }
}

void Raster::MarkInFront(const std::vector<Vec3>& projected, const std::vector<Triangle>& triangles,
                         std::vector<uint8_t>& mask) const {
  for (const Triangle& triangle : triangles) {
    const auto& [a, b, c] = triangle.vertices;
    ForEachPixel(projected[static_cast<size_t>(a)], projected[static_cast<size_t>(b)],
                 projected[static_cast<size_t>(c)], [&](size_t pixel, float, float, float depth) {
                   if (depth < pixels_[pixel].depth) mask[pixel] = 1;
                 });
  }
}

}  // namespace reenact
