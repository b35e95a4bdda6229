// The three custom operators with which MediaPipe's attention landmark model looks closer at lips
// and eyes: find an upright box around some of the landmarks, cut it out of a feature map, and
// carry the landmarks found there back.
//
// A transform is a 4x4 row-major matrix; only x and y (columns 0, 1 and 3 of rows 0 and 1) count.
// Pure functions.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "pipeline/face/flexbuffer.h"

namespace reenact {

// Options of Landmarks2TransformMatrix.
struct LandmarkBox {
  int left_rotation_index = 0, right_rotation_index = 0;  // upright: this line lies horizontally
  double target_rotation = 0;                             // radians
  int output_width = 0, output_height = 0;
  double scale_x = 1, scale_y = 1;
  std::vector<int> indices;  // the points inside the box

  // kInvalidArgument: an option is missing, or an index is not below `num_landmarks`.
  static absl::StatusOr<LandmarkBox> FromOptions(const FlexMap& options, int num_landmarks);
};

// From pixels of the cut-out to the coordinates of the landmarks, [n, 3].
void LandmarksToTransform(const LandmarkBox& box, const float* landmarks, float* transform);

// Samples [height, width, channels] bilinearly at the transformed centres of the output's pixels;
// zero outside.
void TransformTensor(const float* in, int height, int width, int channels, const float* transform,
                     int out_height, int out_width, float* out);

// Points of `dimensions` (2 or 3) numbers; z is kept.
void TransformLandmarks(const float* in, int num_points, int dimensions, const float* transform,
                        float* out);

}  // namespace reenact
