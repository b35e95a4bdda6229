// The content of a .tflite file as plain data, checked enough to be walked without further bounds
// checks: indices are in range, shapes are positive and small, constants have the size of their
// shape.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "pipeline/face/flatbuffer.h"

namespace reenact {

// Numbers of the file format.
enum class TensorType { kFloat32 = 0, kFloat16 = 1, kInt32 = 2, kInt64 = 4 };

struct TfliteTensor {
  std::string name;
  std::vector<int> shape;  // every dimension 1 or more; empty: a scalar
  TensorType type = TensorType::kFloat32;
  // Constant content, in the file's bytes; empty: computed, or an input.
  std::string_view data;

  size_t elements() const;
};

struct TfliteOperator {
  int builtin_code = 0;
  std::string custom_code;   // for builtin_code 32
  std::vector<int> inputs;   // tensors; -1: left out
  std::vector<int> outputs;  // tensors
  FlatBufferReader::Table options;
  std::string_view custom_options;
};

struct TfliteModel {
  std::vector<TfliteTensor> tensors;
  std::vector<TfliteOperator> operators;
  std::vector<int> inputs;   // tensors
  std::vector<int> outputs;  // tensors
};

// Whether the bytes carry the mark of a .tflite file.
bool LooksLikeTflite(std::string_view bytes);

// Reads the only subgraph. The result refers to `reader`'s bytes. kInvalidArgument: not a .tflite
// file, damaged, or beyond what this program reads (sizes, tensor types, several subgraphs).
absl::StatusOr<TfliteModel> ParseTflite(std::string_view bytes, FlatBufferReader& reader);

// Content of a constant. The tensor must have data.
std::vector<float> FloatData(const TfliteTensor& tensor);  // of float32 or float16
std::vector<int> IntData(const TfliteTensor& tensor);      // of int32

float HalfToFloat(uint16_t half);

}  // namespace reenact
