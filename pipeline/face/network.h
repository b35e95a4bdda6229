// Runs a .tflite network on the CPU, in float32.
//
// The whole file is checked when the network is made: what it needs and this program lacks, and
// every shape. Run() then cannot fail, allocates nothing, and its result depends on the input only.
//
// Operators: ADD, AVERAGE_POOL_2D, CONCATENATION, CONV_2D, DEPTHWISE_CONV_2D, DEQUANTIZE (of
// constants), DIV, FULLY_CONNECTED, LOGISTIC, MAX_POOL_2D, MEAN, MUL, NEG, PAD, PRELU, RELU, RELU6,
// RESHAPE, RESIZE_BILINEAR, RSQRT, SQRT, SQUARED_DIFFERENCE, STRIDED_SLICE, SUB, SUM, TRANSPOSE,
// and MediaPipe's Landmarks2TransformMatrix, TransformTensorBilinear and TransformLandmarks.
// Weights may be float32 or float16.
//
// Thread-compatible: one object per thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "pipeline/face/kernels.h"

namespace reenact {

class Network {
 public:
  // A named array of numbers, row-major; pictures are [1, height, width, channels].
  struct Port {
    std::string name;
    std::vector<int> shape;
    size_t elements = 0;
    size_t value = 0;  // internal
  };

  // The bytes are not needed afterwards. kInvalidArgument: damaged, beyond this program's limits,
  // or it uses operators this program lacks (the message names all of them).
  static absl::StatusOr<std::unique_ptr<Network>> Create(std::string_view tflite,
                                                         const Kernels& kernels = BestKernels());
  ~Network();

  const std::vector<Port>& inputs() const;
  const std::vector<Port>& outputs() const;

  // Input `index`, to be written before every Run(): its memory is used again inside.
  absl::Span<float> input(size_t index);
  void Run();
  // Output `index` of the last Run().
  absl::Span<const float> output(size_t index) const;

 private:
  struct Plan;
  explicit Network(std::unique_ptr<Plan> plan);

  std::unique_ptr<Plan> plan_;
};

}  // namespace reenact
