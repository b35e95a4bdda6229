#include "pipeline/face/crop.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace reenact {
namespace {

// Height of the face in the crop, as a fraction of its side.
constexpr double kFaceHeightInCrop = 0.53;

double Median(std::vector<double> values) {
  const size_t middle = values.size() / 2;
  std::nth_element(values.begin(), values.begin() + static_cast<ptrdiff_t>(middle), values.end());
  if (values.size() % 2 == 1) return values[middle];
  const double upper = values[middle];
  return (upper +
          *std::max_element(values.begin(), values.begin() + static_cast<ptrdiff_t>(middle))) /
         2;
}

// One output sample along an axis: sum of weights[first_weight + i] * source[first + i].
struct Taps {
  int first = 0;
  int count = 0;
  size_t first_weight = 0;
};

struct Axis {
  std::vector<Taps> taps;
  std::vector<float> weights;
};

// Samples of [start, start + side) on `length` source pixels, border repeated.
Axis MakeAxis(double start, double side, int length, int size) {
  Axis axis;
  axis.taps.reserve(static_cast<size_t>(size));
  const double scale = side / size;
  for (int i = 0; i < size; ++i) {
    // The interval averaged over: the cell itself when shrinking; when growing one source pixel
    // wide, which is exactly bilinear interpolation.
    const double width = std::max(scale, 1.0);
    const double center = start + (i + 0.5) * scale;
    const double low = center - width / 2;
    const double high = center + width / 2;
    const auto pixel = [length](double x) {
      return static_cast<int>(std::clamp(std::floor(x), 0.0, length - 1.0));
    };
    Taps taps;
    taps.first = pixel(low);
    taps.count = pixel(high) - taps.first + 1;
    taps.first_weight = axis.weights.size();
    for (int k = taps.first; k < taps.first + taps.count; ++k) {
      // The outermost pixels stand for everything beyond them too.
      const double from = k == 0 ? low : std::max(low, static_cast<double>(k));
      const double to = k == length - 1 ? high : std::min(high, k + 1.0);
      axis.weights.push_back(static_cast<float>(std::max(to - from, 0.0) / width));
    }
    axis.taps.push_back(taps);
  }
  return axis;
}

}  // namespace

CropBox FaceCrop(const std::vector<Landmarks>& faces, int width, int height) {
  if (faces.empty())
    return {width / 2.0, height / 2.0, static_cast<double>(std::min(width, height))};
  std::vector<double> xs, ys, heights;
  for (const Landmarks& face : faces) {
    const auto [left, right] = std::minmax_element(
        face.begin(), face.end(), [](const Point3& a, const Point3& b) { return a.x < b.x; });
    const auto [top, bottom] = std::minmax_element(
        face.begin(), face.end(), [](const Point3& a, const Point3& b) { return a.y < b.y; });
    xs.push_back((left->x + right->x) / 2.0 * width);
    ys.push_back((top->y + bottom->y) / 2.0 * height);
    heights.push_back((bottom->y - top->y) * static_cast<double>(height));
  }
  // A face flat as a line has no meaningful crop; one pixel keeps the box valid.
  return {Median(xs), Median(ys), std::max(Median(heights), 1.0) / kFaceHeightInCrop};
}

Image CropImage(const Image& image, const CropBox& box, int size) {
  const Axis columns = MakeAxis(box.center_x - box.side / 2, box.side, image.width, size);
  const Axis rows = MakeAxis(box.center_y - box.side / 2, box.side, image.height, size);
  const int first_row = rows.taps.front().first;
  const int last_row = rows.taps.back().first + rows.taps.back().count;

  // Columns first, for the source rows in use only.
  const size_t stride = static_cast<size_t>(size) * 3;
  std::vector<float> narrowed(static_cast<size_t>(last_row - first_row) * stride);
  for (int y = first_row; y < last_row; ++y) {
    const uint8_t* source = image.row(y);
    float* out = &narrowed[static_cast<size_t>(y - first_row) * stride];
    for (const Taps& taps : columns.taps) {
      float sum[3] = {};
      for (int k = 0; k < taps.count; ++k) {
        const float weight = columns.weights[taps.first_weight + k];
        const uint8_t* pixel = source + static_cast<size_t>(taps.first + k) * 3;
        for (int c = 0; c < 3; ++c) sum[c] += weight * pixel[c];
      }
      for (int c = 0; c < 3; ++c) *out++ = sum[c];
    }
  }

  Image crop{size, size, std::vector<uint8_t>(stride * static_cast<size_t>(size))};
  std::vector<float> sum(stride);
  for (int y = 0; y < size; ++y) {
    const Taps& taps = rows.taps[y];
    std::fill(sum.begin(), sum.end(), 0.0f);
    for (int k = 0; k < taps.count; ++k) {
      const float weight = rows.weights[taps.first_weight + k];
      const float* source = &narrowed[static_cast<size_t>(taps.first + k - first_row) * stride];
      for (size_t i = 0; i < stride; ++i) sum[i] += weight * source[i];
    }
    uint8_t* out = crop.row(y);
    for (size_t i = 0; i < stride; ++i) {
      out[i] = static_cast<uint8_t>(std::clamp(sum[i] + 0.5f, 0.0f, 255.0f));
    }
  }
  return crop;
}

Landmarks ToCrop(const Landmarks& landmarks, const CropBox& box, int width, int height) {
  const double left = box.center_x - box.side / 2;
  const double top = box.center_y - box.side / 2;
  Landmarks out;
  for (size_t i = 0; i < landmarks.size(); ++i) {
    const Point3& p = landmarks[i];
    out[i].x = static_cast<float>((double{p.x} * width - left) / box.side);
    out[i].y = static_cast<float>((double{p.y} * height - top) / box.side);
    out[i].z = static_cast<float>(double{p.z} * width / box.side);
  }
  return out;
}

}  // namespace reenact
