// Which triangle is seen at each pixel.
#pragma once

#include <cstdint>
#include <vector>

#include "training/people/part.h"
#include "training/people/vec3.h"

namespace reenact {

struct Seen {
  int triangle = -1;  // -1: the background
  float weight0 = 0,
        weight1 = 0;  // of the triangle's first two vertices; the third has what is left to 1
  float depth = 0;
};

// A depth buffer over a square of side*side pixels. Pixel centres are at .5. Both sides of
// triangles are seen.
class Raster {
 public:
  explicit Raster(int side);

  // `projected` per vertex: x right and y down in pixels, z = depth, smaller is nearer.
  void Draw(const std::vector<Vec3>& projected, const std::vector<Triangle>& triangles);

  // Marks where the triangles are nearer than what has been drawn, without covering it.
  void MarkInFront(const std::vector<Vec3>& projected, const std::vector<Triangle>& triangles,
                   std::vector<uint8_t>& mask) const;

  const std::vector<Seen>& pixels() const { return pixels_; }
  int side() const { return side_; }

 private:
  template <typename Visit>
  void ForEachPixel(const Vec3& a, const Vec3& b, const Vec3& c, Visit visit) const;

  int side_;
  std::vector<Seen> pixels_;
};

}  // namespace reenact
