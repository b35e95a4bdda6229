// Face landmarks as plain data: MediaPipe's 478 points.
#pragma once

#include <array>

namespace reenact {

inline constexpr int kNumLandmarks = 478;

struct Point3 {
  float x = 0, y = 0, z = 0;
};

// x and y in units of the picture's width and height, origin top left; z in units of the width,
// smaller is nearer, zero at about the mean of the face. Index order is MediaPipe's.
using Landmarks = std::array<Point3, kNumLandmarks>;

}  // namespace reenact
