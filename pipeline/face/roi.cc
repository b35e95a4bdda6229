#include "pipeline/face/roi.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>
#include <utility>

namespace reenact {
namespace {

constexpr float kRoiScale = 1.5f;
// Outer corners of the eyes.
constexpr int kEyeCornerFrom = 33;
constexpr int kEyeCornerTo = 263;
// Positions are rounded to multiples of 1/32 pixel.
constexpr int kFractionBits = 5;
constexpr int kFraction = 1 << kFractionBits;
// Grid columns whose positions OpenCV computes from one origin.
constexpr int kBlock = 64;

// OpenCV finds the map from grid to picture by solving for a perspective through the four corners
// and inverting it. For many picture sizes (725 x 725 to 128 x 128, say) exact positions lie
// half-way between two multiples of 1/32, and the last bits of that computation decide how they are
// rounded. So the same steps are taken here; with the exact map the worst of 368 faces came out 50
// times farther from MediaPipe's.
using Matrix3 = std::array<double, 9>;

struct Corner {
  float x, y;
};

// Solves a * x = b in place of b by elimination with partial pivoting; false: singular.
bool Solve(std::array<std::array<double, 8>, 8>& a, std::array<double, 8>& b) {
  constexpr int kSize = 8;
  for (int i = 0; i < kSize; ++i) {
    int pivot = i;
    for (int j = i + 1; j < kSize; ++j) {
      if (std::abs(a[j][i]) > std::abs(a[pivot][i])) pivot = j;
    }
    if (!(std::abs(a[pivot][i]) > 1e-14)) return false;
    std::swap(a[i], a[pivot]);
    std::swap(b[i], b[pivot]);
    const double factor = -1 / a[i][i];
    for (int j = i + 1; j < kSize; ++j) {
      const double alpha = a[j][i] * factor;
      for (int k = i + 1; k < kSize; ++k) a[j][k] += alpha * a[i][k];
      b[j] += alpha * b[i];
    }
  }
  for (int i = kSize - 1; i >= 0; --i) {
    double sum = b[i];
    for (int k = i + 1; k < kSize; ++k) sum -= a[i][k] * b[k];
    b[i] = sum / a[i][i];
  }
  return true;
}

Matrix3 Inverse(const Matrix3& m) {
  const double determinant = m[0] * (m[4] * m[8] - m[5] * m[7]) -
                             m[1] * (m[3] * m[8] - m[5] * m[6]) +
                             m[2] * (m[3] * m[7] - m[4] * m[6]);
  const double d = determinant != 0 ? 1 / determinant : 0;
  return {(m[4] * m[8] - m[5] * m[7]) * d, (m[2] * m[7] - m[1] * m[8]) * d,
          (m[1] * m[5] - m[2] * m[4]) * d, (m[5] * m[6] - m[3] * m[8]) * d,
          (m[0] * m[8] - m[2] * m[6]) * d, (m[2] * m[3] - m[0] * m[5]) * d,
          (m[3] * m[7] - m[4] * m[6]) * d, (m[1] * m[6] - m[0] * m[7]) * d,
          (m[0] * m[4] - m[1] * m[3]) * d};
}

// From grid to picture, in pixels; all zeros if the region has no area.
Matrix3 GridToPicture(const Image& image, const Roi& roi, int side) {
  const float center_x = roi.center_x * static_cast<float>(image.width);
  const float center_y = roi.center_y * static_cast<float>(image.height);
  const float width = roi.width * static_cast<float>(image.width);
  const float height = roi.height * static_cast<float>(image.height);
  // By way of degrees, as there.
  const auto degrees = static_cast<float>(roi.rotation * 180.0f / std::numbers::pi);
  const double angle = double{degrees} * std::numbers::pi / 180;
  const float b = static_cast<float>(std::cos(angle)) * 0.5f;
  const float a = static_cast<float>(std::sin(angle)) * 0.5f;
  // Lower left, upper left, upper right, lower right of the region.
  std::array<Corner, 4> from;
  from[0] = {center_x - a * height - b * width, center_y + b * height - a * width};
  from[1] = {center_x + a * height - b * width, center_y - b * height - a * width};
  from[2] = {2 * center_x - from[0].x, 2 * center_y - from[0].y};
  from[3] = {2 * center_x - from[1].x, 2 * center_y - from[1].y};
  const auto end = static_cast<float>(side);
  const std::array<Corner, 4> to = {{{0, end}, {0, 0}, {end, 0}, {end, end}}};

  std::array<std::array<double, 8>, 8> equations = {};
  std::array<double, 8> unknowns = {};
  for (int i = 0; i < 4; ++i) {
    std::array<double, 8>& x = equations[i];
    std::array<double, 8>& y = equations[i + 4];
    x[0] = y[3] = from[i].x;
    x[1] = y[4] = from[i].y;
    x[2] = y[5] = 1;
    x[6] = double{-from[i].x} * to[i].x;
    x[7] = double{-from[i].y} * to[i].x;
    y[6] = double{-from[i].x} * to[i].y;
    y[7] = double{-from[i].y} * to[i].y;
    unknowns[i] = to[i].x;
    unknowns[i + 4] = to[i].y;
  }
  if (!Solve(equations, unknowns)) return {};
  Matrix3 m;
  std::copy(unknowns.begin(), unknowns.end(), m.begin());
  m[8] = 1;
  return Inverse(m);
}

// Nearest integer, ties to even, for anything: far or undefined positions become the bounds. Adding
// and taking away 1.5 * 2^52 leaves no fraction bits; unlike std::nearbyint the compiler can do
// several at once.
int32_t FixedPoint(double position) {
  constexpr double kBound = 1 << 30;
  constexpr double kNoFraction = 0x1.8p52;
  const double low = position > -kBound ? position : -kBound;
  const double bounded = low < kBound ? low : kBound;
  return static_cast<int32_t>((bounded + kNoFraction) - kNoFraction);
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

Box BoxOf(const Landmarks& landmarks) {
  Box box = {landmarks[0].x, landmarks[0].y, landmarks[0].x, landmarks[0].y};
  for (const Point3& p : landmarks) {
    box.left = std::min(box.left, p.x);
    box.right = std::max(box.right, p.x);
    box.top = std::min(box.top, p.y);
    box.bottom = std::max(box.bottom, p.y);
  }
  return box;
}

Roi RoiFromLandmarks(const Landmarks& landmarks, int width, int height) {
  return RoiAround(BoxOf(landmarks), landmarks[kEyeCornerFrom], landmarks[kEyeCornerTo],
                   /*square=*/true, width, height);
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
  const Matrix3 m = GridToPicture(image, roi, side);
  std::array<float, 256> values;
  for (int i = 0; i < 256; ++i) values[i] = static_cast<float>(i) * scale + offset;

  const auto stride = static_cast<ptrdiff_t>(image.width) * 3;
  const uint8_t* const pixels = image.rgb.data();
  const int last_x = image.width - 1;
  const int last_y = image.height - 1;
  std::array<int32_t, kBlock> xs, ys;
  float* to = out.data();
  for (int v = 0; v < side; ++v) {
    for (int block = 0; block < side; block += kBlock) {
      const int count = std::min(kBlock, side - block);
      const double x0 = m[0] * block + m[1] * v + m[2];
      const double y0 = m[3] * block + m[4] * v + m[5];
      const double w0 = m[6] * block + m[7] * v + m[8];
      for (int i = 0; i < count; ++i) {
        const double w = kFraction / (w0 + m[6] * i);
        xs[i] = FixedPoint((x0 + m[0] * i) * w);
        ys[i] = FixedPoint((y0 + m[3] * i) * w);
      }
      for (int i = 0; i < count; ++i, to += 3) {
        const int left = xs[i] >> kFractionBits;
        const int top = ys[i] >> kFractionBits;
        const int fx = xs[i] & (kFraction - 1);
        const int fy = ys[i] & (kFraction - 1);
        int weights[4] = {(kFraction - fx) * (kFraction - fy), fx * (kFraction - fy),
                          (kFraction - fx) * fy, fx * fy};
        const uint8_t* corners[4];
        if (left >= 0 && left < last_x && top >= 0 && top < last_y) {
          corners[0] = pixels + top * stride + ptrdiff_t{left} * 3;
          corners[1] = corners[0] + 3;
          corners[2] = corners[0] + stride;
          corners[3] = corners[2] + 3;
        } else {
          for (int k = 0; k < 4; ++k) {
            const int x = left + (k & 1);
            const int y = top + (k >> 1);
            const int inside_x = std::clamp(x, 0, last_x);
            const int inside_y = std::clamp(y, 0, last_y);
            if (border == Border::kZero && (x != inside_x || y != inside_y)) weights[k] = 0;
            corners[k] = pixels + inside_y * stride + ptrdiff_t{inside_x} * 3;
          }
        }
        for (int c = 0; c < 3; ++c) {
          const int sum = weights[0] * corners[0][c] + weights[1] * corners[1][c] +
                          weights[2] * corners[2][c] + weights[3] * corners[3][c];
          to[c] = values[(sum + kFraction * kFraction / 2) >> (2 * kFractionBits)];
        }
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
