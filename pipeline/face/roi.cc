#include "pipeline/face/roi.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>

namespace reenact {
namespace {

constexpr float kRoiScale = 1.5f;
// Outer corners of the eyes.
constexpr int kEyeCornerFrom = 33;
constexpr int kEyeCornerTo = 263;
// Positions are rounded to multiples of 1/32 pixel.
constexpr int kFractionBits = 5;
constexpr int kFraction = 1 << kFractionBits;

// Positions far outside cannot matter, and must not overflow.
int64_t FixedPoint(double position) {
  // Written so that a NaN becomes the lower bound.
  const double bounded = position > -1e9 ? std::min(position, 1e9) : -1e9;
  return static_cast<int64_t>(std::nearbyint(bounded * kFraction));
}

}  // namespace

float IntersectionOverUnion(const Box& a, const Box& b) {
  const float width = std::min(a.right, b.right) - std::max(a.left, b.left);
  const float height = std::min(a.bottom, b.bottom) - std::max(a.top, b.top);
  if (!(width > 0 && height > 0)) return 0;
  const float common = width * height;
  const float total =
      (a.right - a.left) * (a.bottom - a.top) + (b.right - b.left) * (b.bottom - b.top) - common;
  return total > 0 ? common / total : 0;
}

float WrapAngle(float radians) {
  constexpr double kPi = std::numbers::pi;
  return static_cast<float>(radians - 2 * kPi * std::floor((radians + kPi) / (2 * kPi)));
}

Roi RoiAround(const Box& box, const Point3& from, const Point3& to, bool square, int width,
              int height) {
  const auto w = static_cast<float>(width);
  const auto h = static_cast<float>(height);
  Roi roi;
  roi.center_x = (box.left + box.right) / 2;
  roi.center_y = (box.top + box.bottom) / 2;
  roi.rotation = WrapAngle(std::atan2((to.y - from.y) * h, (to.x - from.x) * w));
  roi.width = box.right - box.left;
  roi.height = box.bottom - box.top;
  if (square) {
    const float side = std::max(roi.width * w, roi.height * h);
    roi.width = side / w;
    roi.height = side / h;
  }
  roi.width *= kRoiScale;
  roi.height *= kRoiScale;
  return roi;
}

Roi RoiFromLandmarks(const Landmarks& landmarks, int width, int height) {
  Box box = {landmarks[0].x, landmarks[0].y, landmarks[0].x, landmarks[0].y};
  for (const Point3& p : landmarks) {
    box.left = std::min(box.left, p.x);
    box.right = std::max(box.right, p.x);
    box.top = std::min(box.top, p.y);
    box.bottom = std::max(box.bottom, p.y);
  }
  return RoiAround(box, landmarks[kEyeCornerFrom], landmarks[kEyeCornerTo], /*square=*/true, width,
                   height);
}

Roi LetterboxRoi(int width, int height) {
  const auto side = static_cast<float>(std::max(width, height));
  Roi roi;
  roi.width = side / static_cast<float>(width);
  roi.height = side / static_cast<float>(height);
  return roi;
}

void SampleRoi(const Image& image, const Roi& roi, int side, Border border, float scale,
               float offset, absl::Span<float> out) {
  // Columns of the map from grid to picture, in pixels.
  const double width = double{roi.width} * image.width / side;
  const double height = double{roi.height} * image.height / side;
  const double cosine = std::cos(double{roi.rotation});
  const double sine = std::sin(double{roi.rotation});
  const double half = side / 2.0;
  const double x_of_u = cosine * width, x_of_v = -sine * height;
  const double y_of_u = sine * width, y_of_v = cosine * height;
  const double x_origin = double{roi.center_x} * image.width - half * (x_of_u + x_of_v);
  const double y_origin = double{roi.center_y} * image.height - half * (y_of_u + y_of_v);

  const size_t stride = static_cast<size_t>(image.width) * 3;
  const int64_t last_x = image.width - 1;
  const int64_t last_y = image.height - 1;
  float* to = out.data();
  for (int v = 0; v < side; ++v) {
    for (int u = 0; u < side; ++u, to += 3) {
      const int64_t x = FixedPoint(x_origin + x_of_u * u + x_of_v * v);
      const int64_t y = FixedPoint(y_origin + y_of_u * u + y_of_v * v);
      const int64_t left = x >> kFractionBits;
      const int64_t top = y >> kFractionBits;
      const int fx = static_cast<int>(x & (kFraction - 1));
      const int fy = static_cast<int>(y & (kFraction - 1));
      int weights[4] = {(kFraction - fx) * (kFraction - fy), fx * (kFraction - fy),
                        (kFraction - fx) * fy, fx * fy};
      const uint8_t* pixels[4];
      if (left >= 0 && left < last_x && top >= 0 && top < last_y) {
        pixels[0] = image.rgb.data() + static_cast<size_t>(top) * stride + left * 3;
        pixels[1] = pixels[0] + 3;
        pixels[2] = pixels[0] + stride;
        pixels[3] = pixels[2] + 3;
      } else {
        for (int k = 0; k < 4; ++k) {
          const int64_t px = left + (k & 1);
          const int64_t py = top + (k >> 1);
          const int64_t inside_x = std::clamp<int64_t>(px, 0, last_x);
          const int64_t inside_y = std::clamp<int64_t>(py, 0, last_y);
          if (border == Border::kZero && (px != inside_x || py != inside_y)) weights[k] = 0;
          pixels[k] = image.rgb.data() + static_cast<size_t>(inside_y) * stride + inside_x * 3;
        }
      }
      for (int c = 0; c < 3; ++c) {
        const int sum = weights[0] * pixels[0][c] + weights[1] * pixels[1][c] +
                        weights[2] * pixels[2][c] + weights[3] * pixels[3][c];
        const int value = (sum + kFraction * kFraction / 2) >> (2 * kFractionBits);
        to[c] = static_cast<float>(value) * scale + offset;
      }
    }
  }
}

void ProjectFromRoi(const Roi& roi, Depth depth, int width, int height, Landmarks& landmarks) {
  const double aspect = static_cast<double>(height) / width;
  const double cosine = std::cos(double{roi.rotation});
  const double sine = std::sin(double{roi.rotation});
  // Turning happens in pixels.
  const double x_of_x = cosine * roi.width, x_of_y = -sine * roi.height * aspect;
  const double y_of_x = sine * roi.width / aspect, y_of_y = cosine * roi.height;
  const double z_scale = depth == Depth::kByWidth ? roi.width : std::hypot(x_of_x, y_of_x);
  for (Point3& p : landmarks) {
    const double x = p.x - 0.5;
    const double y = p.y - 0.5;
    p.x = static_cast<float>(x_of_x * x + x_of_y * y + roi.center_x);
    p.y = static_cast<float>(y_of_x * x + y_of_y * y + roi.center_y);
    p.z = static_cast<float>(p.z * z_scale);
  }
}

}  // namespace reenact
