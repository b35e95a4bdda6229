#include "pipeline/face/attention_ops.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"

namespace reenact {

absl::StatusOr<LandmarkBox> LandmarkBox::FromOptions(const FlexMap& options, int num_landmarks) {
  LandmarkBox box;
  absl::Status status;
  const auto number = [&](const char* name) -> double {
    const auto entry = options.find(name);
    if (entry != options.end() && entry->second.size() == 1 && std::isfinite(entry->second[0])) {
      return entry->second[0];
    }
    status = absl::InvalidArgumentError(absl::StrCat("option ", name, " is missing"));
    return 0;
  };
  const auto index = [&](double value) {
    if (value >= 0 && value < num_landmarks) return static_cast<int>(value);
    status = absl::InvalidArgumentError(absl::StrCat("landmark ", value, " of ", num_landmarks));
    return 0;
  };
  const auto size = [&](const char* name) {
    const double value = number(name);
    if (value >= 1 && value <= 4096) return static_cast<int>(value);
    if (status.ok()) status = absl::InvalidArgumentError(absl::StrCat(name, " is ", value));
    return 1;
  };
  box.left_rotation_index = index(number("left_rotation_idx"));
  box.right_rotation_index = index(number("right_rotation_idx"));
  box.target_rotation = number("target_rotation_radians");
  box.output_width = size("output_width");
  box.output_height = size("output_height");
  box.scale_x = number("scale_x");
  box.scale_y = number("scale_y");
  const auto indices = options.find("subset_idxs");
  if (indices == options.end()) {
    return absl::InvalidArgumentError("option subset_idxs is missing");
  }
  for (const double value : indices->second) box.indices.push_back(index(value));
  if (!status.ok()) return status;
  return box;
}

void LandmarksToTransform(const LandmarkBox& box, const float* landmarks, float* transform) {
  const float* left = landmarks + 3 * static_cast<size_t>(box.left_rotation_index);
  const float* right = landmarks + 3 * static_cast<size_t>(box.right_rotation_index);
  const double rotation =
      box.target_rotation - std::atan2(double{right[1]} - left[1], double{right[0]} - left[0]);
  const double cosine = std::cos(rotation);
  const double sine = std::sin(rotation);

  // The box in the upright frame.
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  double min_x = kInfinity, max_x = -kInfinity, min_y = kInfinity, max_y = -kInfinity;
  for (const int index : box.indices) {
    const float* p = landmarks + 3 * static_cast<size_t>(index);
    const double x = p[0] * cosine - p[1] * sine;
    const double y = p[0] * sine + p[1] * cosine;
    min_x = std::min(min_x, x);
    max_x = std::max(max_x, x);
    min_y = std::min(min_y, y);
    max_y = std::max(max_y, y);
  }
  // Its centre, turned back.
  const double upright_x = (min_x + max_x) / 2;
  const double upright_y = (min_y + max_y) / 2;
  const double center_x = upright_x * cosine + upright_y * sine;
  const double center_y = -upright_x * sine + upright_y * cosine;

  const double scale_x = box.scale_x * (max_x - min_x) / box.output_width;
  const double scale_y = box.scale_y * (max_y - min_y) / box.output_height;
  const double half_width = box.output_width / 2.0;
  const double half_height = box.output_height / 2.0;
  const double matrix[16] = {
      // Rotation by -rotation, after scaling.
      cosine * scale_x,
      sine * scale_y,
      0,
      center_x - cosine * scale_x * half_width - sine * scale_y * half_height,  //
      -sine * scale_x,
      cosine * scale_y,
      0,
      center_y + sine * scale_x * half_width - cosine * scale_y * half_height,  //
      0,
      0,
      1,
      0,  //
      0,
      0,
      0,
      1};
  for (int i = 0; i < 16; ++i) transform[i] = static_cast<float>(matrix[i]);
}

void TransformTensor(const float* in, int height, int width, int channels, const float* transform,
                     int out_height, int out_width, float* out) {
  const float* m = transform;
  for (int y = 0; y < out_height; ++y) {
    for (int x = 0; x < out_width; ++x, out += channels) {
      const float center_x = static_cast<float>(x) + 0.5f;
      const float center_y = static_cast<float>(y) + 0.5f;
      const float px = m[0] * center_x + m[1] * center_y + m[3] - 0.5f;
      const float py = m[4] * center_x + m[5] * center_y + m[7] - 0.5f;
      // Written so that a NaN is outside.
      if (!(px >= 0 && px <= static_cast<float>(width - 1) && py >= 0 &&
            py <= static_cast<float>(height - 1))) {
        std::fill(out, out + channels, 0.0f);
        continue;
      }
      const int left = static_cast<int>(px);
      const int top = static_cast<int>(py);
      const int right = std::min(left + 1, width - 1);
      const int bottom = std::min(top + 1, height - 1);
      const float fx = px - static_cast<float>(left);
      const float fy = py - static_cast<float>(top);
      const auto pixel = [&](int row, int column) {
        return in + (static_cast<size_t>(row) * width + column) * channels;
      };
      const float* a = pixel(top, left);
      const float* b = pixel(top, right);
      const float* c = pixel(bottom, left);
      const float* d = pixel(bottom, right);
      const float wa = (1 - fx) * (1 - fy), wb = fx * (1 - fy), wc = (1 - fx) * fy, wd = fx * fy;
      for (int i = 0; i < channels; ++i) out[i] = wa * a[i] + wb * b[i] + wc * c[i] + wd * d[i];
    }
  }
}

void TransformLandmarks(const float* in, int num_points, int dimensions, const float* transform,
                        float* out) {
  const float* m = transform;
  for (int i = 0; i < num_points; ++i, in += dimensions, out += dimensions) {
    out[0] = m[0] * in[0] + m[1] * in[1] + m[3];
    out[1] = m[4] * in[0] + m[5] * in[1] + m[7];
    if (dimensions == 3) out[2] = in[2];
  }
}

}  // namespace reenact
