#include "pipeline/face/network.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "pipeline/face/attention_ops.h"
#include "pipeline/face/flatbuffer.h"
#include "pipeline/face/flexbuffer.h"
#include "pipeline/face/tensor_ops.h"
#include "pipeline/face/tflite_model.h"

namespace reenact {
namespace {

// Bounds on what one file may ask for: 256 MiB of constants, as much of results, and a few seconds.
constexpr size_t kMaxFloats = size_t{1} << 26;
constexpr double kMaxWork = 2e10;
// Filters, strides and dilations of a picture.
constexpr int kMaxWindow = 4096;
// Floats of a tile of input rows: what fits the first cache beside the weights.
constexpr size_t kTileFloats = 6 * 1024;
constexpr size_t kAlignFloats = 16;

// Operator numbers of the file format.
enum Builtin {
  kAdd = 0,
  kAveragePool2d = 1,
  kConcatenation = 2,
  kConv2d = 3,
  kDepthwiseConv2d = 4,
  kDequantize = 6,
  kFullyConnected = 9,
  kLogistic = 14,
  kMaxPool2d = 17,
  kMul = 18,
  kRelu = 19,
  kRelu6 = 21,
  kReshape = 22,
  kResizeBilinear = 23,
  kCustom = 32,
  kPad = 34,
  kTranspose = 39,
  kMean = 40,
  kSub = 41,
  kDiv = 42,
  kStridedSlice = 45,
  kPrelu = 54,
  kNeg = 59,
  kSum = 74,
  kSqrt = 75,
  kRsqrt = 76,
  kSquaredDifference = 99,
};

constexpr char kBoxOp[] = "Landmarks2TransformMatrix";
constexpr char kCutOp[] = "TransformTensorBilinear";
constexpr char kCarryOp[] = "TransformLandmarks";

const std::map<int, std::string>& BuiltinNames() {
  static const auto* const names = new std::map<int, std::string>{
      {kAdd, "ADD"},
      {kAveragePool2d, "AVERAGE_POOL_2D"},
      {kConcatenation, "CONCATENATION"},
      {kConv2d, "CONV_2D"},
      {kDepthwiseConv2d, "DEPTHWISE_CONV_2D"},
      {kDequantize, "DEQUANTIZE"},
      {kFullyConnected, "FULLY_CONNECTED"},
      {kLogistic, "LOGISTIC"},
      {kMaxPool2d, "MAX_POOL_2D"},
      {kMul, "MUL"},
      {kRelu, "RELU"},
      {kRelu6, "RELU6"},
      {kReshape, "RESHAPE"},
      {kResizeBilinear, "RESIZE_BILINEAR"},
      {kPad, "PAD"},
      {kTranspose, "TRANSPOSE"},
      {kMean, "MEAN"},
      {kSub, "SUB"},
      {kDiv, "DIV"},
      {kStridedSlice, "STRIDED_SLICE"},
      {kPrelu, "PRELU"},
      {kNeg, "NEG"},
      {kSum, "SUM"},
      {kSqrt, "SQRT"},
      {kRsqrt, "RSQRT"},
      {kSquaredDifference, "SQUARED_DIFFERENCE"},
  };
  return *names;
}

bool Supported(const TfliteOperator& op) {
  if (op.builtin_code != kCustom) return BuiltinNames().contains(op.builtin_code);
  return op.custom_code == kBoxOp || op.custom_code == kCutOp || op.custom_code == kCarryOp;
}

std::string NameOf(const TfliteOperator& op) {
  if (op.builtin_code == kCustom) return absl::StrCat("custom operator \"", op.custom_code, "\"");
  const auto name = BuiltinNames().find(op.builtin_code);
  if (name != BuiltinNames().end()) return name->second;
  return absl::StrCat("builtin operator ", op.builtin_code);
}

absl::Status Invalid(const std::string& what) { return absl::InvalidArgumentError(what); }

std::string Text(const Shape& shape) { return absl::StrCat("[", absl::StrJoin(shape, ","), "]"); }

enum class Kind {
  kConv,
  kDepthwise,
  kMaxPool,
  kAveragePool,
  kUnary,
  kBinary,
  kCopy,
  kConcat,
  kReduce,
  kTranspose,
  kSlice,
  kPad,
  kResize,
  kBox,
  kCut,
  kCarry,
};

// A convolution of either kind, before its weights are laid out. Numbers name tensors, -1: none.
struct Filter {
  Window window;
  int height = 1, width = 1, channels = 0;              // of the input
  int out_height = 1, out_width = 1, out_channels = 0;  // of the output
  int weights = -1, bias = -1, alpha = -1;
  Activation activation = Activation::kNone;

  bool pointwise() const {
    return window.filter_height == 1 && window.filter_width == 1 && window.stride_y == 1 &&
           window.stride_x == 1 && window.pad_top == 0 && window.pad_left == 0;
  }
};

struct Node {
  Kind kind = Kind::kCopy;
  bool live = true;
  std::vector<int> in;  // tensors
  int out = -1;

  // kConv, kDepthwise
  Filter filter;
  std::optional<Filter> depthwise;  // kConv: computed first, row by row
  int residual = -1;                // kConv: tensor
  std::vector<Panel> panels;
  std::vector<float> weights, bias, alpha, depthwise_weights, depthwise_bias, depthwise_alpha;
  Gemm gemm;
  Depthwise depthwise_op;
  int tile_rows = 1;

  // The others, as their kind needs.
  MaxPool pool;
  Activation activation = Activation::kNone;
  Unary unary = Unary::kRelu;
  Binary binary = Binary::kAdd;
  int axis = 0;
  std::vector<bool> reduced;
  bool mean = false;
  std::vector<int> begin, step;  // kSlice; kPad: begin; kTranspose: begin is the permutation
  Shape counts;
  bool align_corners = false, half_pixel_centers = false;
  LandmarkBox box;

  std::vector<int> Reads() const {
    std::vector<int> tensors = in;
    if (residual >= 0) tensors.push_back(residual);
    return tensors;
  }
};

struct Value {
  Shape shape;
  size_t elements = 0;
  bool constant = false;
  std::vector<float> data;  // of a constant
  float* pointer = nullptr;
};

}  // namespace

struct Network::Plan {
  const Kernels* kernels = nullptr;
  std::vector<Value> values;
  std::vector<Node> nodes;
  std::vector<Port> inputs, outputs;
  std::vector<float> arena, scratch, zeros;

  void RunConv(const Node& node);
  void RunNode(const Node& node);
};

namespace {

// From a parsed file to nodes with checked shapes.
class Lowering {
 public:
  Lowering(const TfliteModel& model, FlatBufferReader& reader, std::vector<Value>& values)
      : model_(model), reader_(reader), values_(values), available_(model.tensors.size(), false) {}

  absl::StatusOr<std::vector<Node>> Run();

  // Floats of a constant; loads them the first time. Empty if the tensor is none.
  const std::vector<float>& Constant(int tensor);
  absl::Status status() const { return status_; }

 private:
  absl::Status LowerOne(const TfliteOperator& op);
  absl::Status LowerConv(const TfliteOperator& op, bool depthwise);
  absl::Status LowerFullyConnected(const TfliteOperator& op);
  absl::Status LowerPool(const TfliteOperator& op, Kind kind);
  absl::Status LowerUnary(const TfliteOperator& op, Unary unary);
  absl::Status LowerBinary(const TfliteOperator& op, Binary binary, bool fused_activation);
  absl::Status LowerReduce(const TfliteOperator& op, bool mean);
  absl::Status LowerConcat(const TfliteOperator& op);
  absl::Status LowerTranspose(const TfliteOperator& op);
  absl::Status LowerSlice(const TfliteOperator& op);
  absl::Status LowerPad(const TfliteOperator& op);
  absl::Status LowerResize(const TfliteOperator& op);
  absl::Status LowerCustom(const TfliteOperator& op);
  absl::Status LowerDequantize(const TfliteOperator& op);

  // Whether there are `least` to `most` inputs, the first `floats` of them float32 and known by
  // now.
  absl::Status CheckInputs(const TfliteOperator& op, size_t least, size_t most, size_t floats);
  absl::Status CheckFloat(int tensor);
  absl::Status Emit(const TfliteOperator& op, Node node, const Shape& shape, double work);
  absl::Status MakeWindow(Window& window, int padding, const Shape& in, int& out_height,
                          int& out_width);
  absl::StatusOr<Activation> FusedActivation(const TfliteOperator& op, int slot);
  // A constant int32 input of `count` numbers (any count if negative).
  absl::StatusOr<std::vector<int>> Ints(const TfliteOperator& op, size_t input, int count);
  const Shape& ShapeOf(int tensor) const { return values_[tensor].shape; }

  const TfliteModel& model_;
  FlatBufferReader& reader_;
  std::vector<Value>& values_;
  std::vector<bool> available_;
  std::vector<Node> nodes_;
  size_t constant_floats_ = 0;
  double work_ = 0;
  absl::Status status_;
};

const std::vector<float>& Lowering::Constant(int tensor) {
  Value& value = values_[tensor];
  if (!value.constant || !value.data.empty()) return value.data;
  constant_floats_ += value.elements;
  if (constant_floats_ > kMaxFloats) {
    status_ = Invalid("the network's constants are too large");
    value.data.clear();
    return value.data;
  }
  value.data = FloatData(model_.tensors[tensor]);
  return value.data;
}

absl::Status Lowering::CheckFloat(int tensor) {
  if (tensor < 0) return Invalid("a needed input is left out");
  const TfliteTensor& info = model_.tensors[tensor];
  if (info.type != TensorType::kFloat32) {
    return Invalid(absl::StrCat("tensor \"", info.name, "\" is not float32"));
  }
  if (!available_[tensor]) {
    return Invalid(absl::StrCat("tensor \"", info.name, "\" is used before it is computed"));
  }
  return absl::OkStatus();
}

absl::Status Lowering::CheckInputs(const TfliteOperator& op, size_t least, size_t most,
                                   size_t floats) {
  if (op.inputs.size() < least || op.inputs.size() > most) {
    return Invalid(absl::StrCat(op.inputs.size(), " inputs"));
  }
  for (size_t i = 0; i < std::min(floats, op.inputs.size()); ++i) {
    if (absl::Status status = CheckFloat(op.inputs[i]); !status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::StatusOr<Activation> Lowering::FusedActivation(const TfliteOperator& op, int slot) {
  switch (const int8_t code = reader_.Number<int8_t>(op.options, slot, 0)) {
    case 0:
      return Activation::kNone;
    case 1:
      return Activation::kRelu;
    case 3:
      return Activation::kRelu6;
    default:
      return Invalid(absl::StrCat("fused activation ", int{code}));
  }
}

absl::StatusOr<std::vector<int>> Lowering::Ints(const TfliteOperator& op, size_t input, int count) {
  const int tensor = input < op.inputs.size() ? op.inputs[input] : -1;
  if (tensor < 0) return Invalid("a needed input is left out");
  const TfliteTensor& info = model_.tensors[tensor];
  if (info.type != TensorType::kInt32 || info.data.empty() || info.elements() > 64 ||
      (count >= 0 && info.elements() != static_cast<size_t>(count))) {
    return Invalid(absl::StrCat("tensor \"", info.name, "\" must be a small constant of int32"));
  }
  return IntData(info);
}

absl::Status Lowering::Emit(const TfliteOperator& op, Node node, const Shape& shape, double work) {
  if (op.outputs.size() != 1) return Invalid(absl::StrCat(op.outputs.size(), " outputs"));
  node.out = op.outputs[0];
  const TfliteTensor& info = model_.tensors[node.out];
  if (info.type != TensorType::kFloat32) return Invalid("the output is not float32");
  if (available_[node.out]) {
    return Invalid(absl::StrCat("tensor \"", info.name, "\" is computed twice"));
  }
  if (info.shape != shape) {
    return Invalid(
        absl::StrCat("the output should be ", Text(shape), ", the file says ", Text(info.shape)));
  }
  work_ += work + static_cast<double>(info.elements());
  if (work_ > kMaxWork) return Invalid("the network asks for too much work");
  available_[node.out] = true;
  nodes_.push_back(std::move(node));
  return absl::OkStatus();
}

// Fills the padding of `window`, whose other fields are set, for an input [1, h, w, c].
absl::Status Lowering::MakeWindow(Window& window, int padding, const Shape& in, int& out_height,
                                  int& out_width) {
  for (const int number : {window.filter_height, window.filter_width, window.stride_y,
                           window.stride_x, window.dilation_y, window.dilation_x}) {
    if (number < 1 || number > kMaxWindow) {
      return Invalid(absl::StrCat("a filter, stride or dilation of ", number));
    }
  }
  const auto along = [padding](int size, int filter, int dilation, int stride, int& before) {
    const int64_t extent = int64_t{filter - 1} * dilation + 1;
    before = 0;
    if (padding == 1) {  // VALID
      return extent > size ? 0 : static_cast<int>((size - extent) / stride + 1);
    }
    const int out = (size + stride - 1) / stride;  // SAME
    const int64_t total = std::max<int64_t>(int64_t{out - 1} * stride + extent - size, 0);
    before = static_cast<int>(total / 2);
    return out;
  };
  if (padding != 0 && padding != 1) return Invalid(absl::StrCat("padding kind ", padding));
  out_height =
      along(in[1], window.filter_height, window.dilation_y, window.stride_y, window.pad_top);
  out_width =
      along(in[2], window.filter_width, window.dilation_x, window.stride_x, window.pad_left);
  if (out_height < 1 || out_width < 1) return Invalid("the filter is larger than the picture");
  return absl::OkStatus();
}

absl::Status Lowering::LowerConv(const TfliteOperator& op, bool depthwise) {
  if (absl::Status s = CheckInputs(op, 2, 3, 2); !s.ok()) return s;
  const Shape& in = ShapeOf(op.inputs[0]);
  const Shape& weights = ShapeOf(op.inputs[1]);
  if (in.size() != 4 || in[0] != 1 || weights.size() != 4) {
    return Invalid(absl::StrCat("input ", Text(in), ", filter ", Text(weights),
                                "; one picture and a filter of 4 dimensions are needed"));
  }
  Node node;
  node.kind = depthwise ? Kind::kDepthwise : Kind::kConv;
  node.in = {op.inputs[0]};
  Filter& filter = node.filter;
  const auto& options = op.options;
  // Depthwise options have one more field, the multiplier, at slot 3.
  const int shift = depthwise ? 1 : 0;
  filter.window.filter_height = weights[1];
  filter.window.filter_width = weights[2];
  filter.window.stride_x = reader_.Number<int32_t>(options, 1, 0);
  filter.window.stride_y = reader_.Number<int32_t>(options, 2, 0);
  filter.window.dilation_x = reader_.Number<int32_t>(options, 4 + shift, 1);
  filter.window.dilation_y = reader_.Number<int32_t>(options, 5 + shift, 1);
  absl::StatusOr<Activation> activation = FusedActivation(op, 3 + shift);
  if (!activation.ok()) return activation.status();
  filter.activation = *activation;
  absl::Status window = MakeWindow(filter.window, reader_.Number<int8_t>(options, 0, 0), in,
                                   filter.out_height, filter.out_width);
  if (!window.ok()) return window;
  filter.height = in[1];
  filter.width = in[2];
  filter.channels = in[3];
  filter.out_channels = depthwise ? weights[3] : weights[0];
  if (depthwise && (weights[0] != 1 || weights[3] != in[3])) {
    return Invalid(absl::StrCat("filter ", Text(weights), " for ", in[3],
                                " channels; only one output per channel is supported"));
  }
  if (!depthwise && weights[3] != in[3]) {
    return Invalid(
        absl::StrCat("the filter takes ", weights[3], " channels, the input has ", in[3]));
  }
  filter.weights = op.inputs[1];
  if (Constant(filter.weights).empty()) return Invalid("the filter must be a constant");
  if (op.inputs.size() == 3 && op.inputs[2] >= 0) {
    filter.bias = op.inputs[2];
    if (absl::Status s = CheckFloat(filter.bias); !s.ok()) return s;
    if (Constant(filter.bias).size() != static_cast<size_t>(filter.out_channels)) {
      return Invalid("the bias must be a constant with a number per output channel");
    }
  }
  const Shape shape = {1, filter.out_height, filter.out_width, filter.out_channels};
  const double work = static_cast<double>(NumElements(shape)) * weights[1] * weights[2] *
                      (depthwise ? 1 : weights[3]);
  return Emit(op, std::move(node), shape, work);
}

absl::Status Lowering::LowerFullyConnected(const TfliteOperator& op) {
  if (absl::Status s = CheckInputs(op, 2, 3, 2); !s.ok()) return s;
  const Shape& weights = ShapeOf(op.inputs[1]);
  if (weights.size() != 2) return Invalid("weights must have 2 dimensions");
  const auto depth = static_cast<size_t>(weights[1]);
  const size_t elements = values_[op.inputs[0]].elements;
  if (elements % depth != 0) {
    return Invalid(absl::StrCat(elements, " numbers for rows of ", depth));
  }
  if (reader_.Number<int8_t>(op.options, 1, 0) != 0) return Invalid("a shuffled weight format");
  Node node;
  node.kind = Kind::kConv;
  node.in = {op.inputs[0]};
  Filter& filter = node.filter;
  filter.width = filter.out_width = static_cast<int>(elements / depth);
  filter.channels = weights[1];
  filter.out_channels = weights[0];
  filter.weights = op.inputs[1];
  absl::StatusOr<Activation> activation = FusedActivation(op, 0);
  if (!activation.ok()) return activation.status();
  filter.activation = *activation;
  if (Constant(filter.weights).empty()) return Invalid("the weights must be a constant");
  if (op.inputs.size() == 3 && op.inputs[2] >= 0) {
    filter.bias = op.inputs[2];
    if (absl::Status s = CheckFloat(filter.bias); !s.ok()) return s;
    if (Constant(filter.bias).size() != static_cast<size_t>(filter.out_channels)) {
      return Invalid("the bias must be a constant with a number per output");
    }
  }
  Shape shape = {filter.out_width, filter.out_channels};
  if (reader_.Number<int8_t>(op.options, 2, 0) != 0) {  // the input's dimensions are kept
    shape = ShapeOf(op.inputs[0]);
    if (shape.empty() || shape.back() != weights[1]) return Invalid("rows do not match");
    shape.back() = filter.out_channels;
  }
  return Emit(op, std::move(node), shape, static_cast<double>(elements) * filter.out_channels);
}

absl::Status Lowering::LowerPool(const TfliteOperator& op, Kind kind) {
  if (absl::Status s = CheckInputs(op, 1, 1, 1); !s.ok()) return s;
  const Shape& in = ShapeOf(op.inputs[0]);
  if (in.size() != 4 || in[0] != 1) return Invalid(absl::StrCat("input ", Text(in)));
  Node node;
  node.kind = kind;
  node.in = op.inputs;
  MaxPool& pool = node.pool;
  pool.window.stride_x = reader_.Number<int32_t>(op.options, 1, 0);
  pool.window.stride_y = reader_.Number<int32_t>(op.options, 2, 0);
  pool.window.filter_width = reader_.Number<int32_t>(op.options, 3, 0);
  pool.window.filter_height = reader_.Number<int32_t>(op.options, 4, 0);
  absl::StatusOr<Activation> activation = FusedActivation(op, 5);
  if (!activation.ok()) return activation.status();
  node.activation = *activation;
  absl::Status window = MakeWindow(pool.window, reader_.Number<int8_t>(op.options, 0, 0), in,
                                   pool.out_height, pool.out_width);
  if (!window.ok()) return window;
  pool.height = in[1];
  pool.width = in[2];
  pool.channels = in[3];
  const Shape shape = {1, pool.out_height, pool.out_width, in[3]};
  return Emit(op, std::move(node), shape,
              static_cast<double>(NumElements(shape)) * pool.window.filter_height *
                  pool.window.filter_width);
}

absl::Status Lowering::LowerUnary(const TfliteOperator& op, Unary unary) {
  if (absl::Status s = CheckInputs(op, 1, 1, 1); !s.ok()) return s;
  Node node;
  node.kind = Kind::kUnary;
  node.in = op.inputs;
  node.unary = unary;
  return Emit(op, std::move(node), ShapeOf(op.inputs[0]), 0);
}

absl::Status Lowering::LowerBinary(const TfliteOperator& op, Binary binary, bool fused_activation) {
  if (absl::Status s = CheckInputs(op, 2, 2, 2); !s.ok()) return s;
  Node node;
  node.kind = Kind::kBinary;
  node.in = op.inputs;
  node.binary = binary;
  if (fused_activation) {
    absl::StatusOr<Activation> activation = FusedActivation(op, 0);
    if (!activation.ok()) return activation.status();
    node.activation = *activation;
  }
  const Shape& a = ShapeOf(op.inputs[0]);
  const Shape& b = ShapeOf(op.inputs[1]);
  Shape shape;
  if (!BroadcastShape(a, b, shape) || (binary == Binary::kPrelu && shape != a)) {
    return Invalid(absl::StrCat("shapes ", Text(a), " and ", Text(b), " do not go together"));
  }
  return Emit(op, std::move(node), shape, 0);
}

absl::Status Lowering::LowerReduce(const TfliteOperator& op, bool mean) {
  if (absl::Status s = CheckInputs(op, 2, 2, 1); !s.ok()) return s;
  absl::StatusOr<std::vector<int>> axes = Ints(op, 1, -1);
  if (!axes.ok()) return axes.status();
  const Shape& in = ShapeOf(op.inputs[0]);
  const int rank = static_cast<int>(in.size());
  Node node;
  node.kind = Kind::kReduce;
  node.in = {op.inputs[0]};
  node.mean = mean;
  node.reduced.assign(in.size(), false);
  for (const int axis : *axes) {
    if (axis < -rank || axis >= rank) return Invalid(absl::StrCat("dimension ", axis));
    node.reduced[axis < 0 ? axis + rank : axis] = true;
  }
  const bool keep = reader_.Number<int8_t>(op.options, 0, 0) != 0;
  Shape shape;
  for (size_t d = 0; d < in.size(); ++d) {
    if (!node.reduced[d]) {
      shape.push_back(in[d]);
    } else if (keep) {
      shape.push_back(1);
    }
  }
  return Emit(op, std::move(node), shape, static_cast<double>(NumElements(in)));
}

absl::Status Lowering::LowerConcat(const TfliteOperator& op) {
  if (absl::Status s = CheckInputs(op, 1, op.inputs.size(), op.inputs.size()); !s.ok()) return s;
  Shape shape = ShapeOf(op.inputs[0]);
  const int rank = static_cast<int>(shape.size());
  const int axis = reader_.Number<int32_t>(op.options, 0, 0);
  if (axis < -rank || axis >= rank) return Invalid(absl::StrCat("dimension ", axis));
  if (reader_.Number<int8_t>(op.options, 1, 0) != 0) return Invalid("a fused activation");
  Node node;
  node.kind = Kind::kConcat;
  node.in = op.inputs;
  node.axis = axis < 0 ? axis + rank : axis;
  int64_t total = 0;
  for (const int tensor : op.inputs) {
    Shape other = ShapeOf(tensor);
    if (static_cast<int>(other.size()) != rank) return Invalid("ranks differ");
    total += other[node.axis];
    other[node.axis] = shape[node.axis];
    if (other != shape) return Invalid("shapes differ");
  }
  if (total > std::numeric_limits<int>::max()) return Invalid("too large");
  shape[node.axis] = static_cast<int>(total);
  return Emit(op, std::move(node), shape, 0);
}

absl::Status Lowering::LowerTranspose(const TfliteOperator& op) {
  if (absl::Status s = CheckInputs(op, 2, 2, 1); !s.ok()) return s;
  const Shape& in = ShapeOf(op.inputs[0]);
  absl::StatusOr<std::vector<int>> order = Ints(op, 1, static_cast<int>(in.size()));
  if (!order.ok()) return order.status();
  if (in.empty()) return Invalid("a scalar");
  Shape shape;
  std::set<int> seen;
  for (const int d : *order) {
    if (d < 0 || d >= static_cast<int>(in.size()) || !seen.insert(d).second) {
      return Invalid(absl::StrCat("the order ", Text(*order)));
    }
    shape.push_back(in[d]);
  }
  Node node;
  node.kind = Kind::kTranspose;
  node.in = {op.inputs[0]};
  node.begin = *order;
  return Emit(op, std::move(node), shape, 0);
}

absl::Status Lowering::LowerSlice(const TfliteOperator& op) {
  if (absl::Status s = CheckInputs(op, 4, 4, 1); !s.ok()) return s;
  const Shape& in = ShapeOf(op.inputs[0]);
  const int rank = static_cast<int>(in.size());
  if (rank == 0) return Invalid("a scalar");
  absl::StatusOr<std::vector<int>> begin = Ints(op, 1, rank);
  if (!begin.ok()) return begin.status();
  absl::StatusOr<std::vector<int>> end = Ints(op, 2, rank);
  if (!end.ok()) return end.status();
  absl::StatusOr<std::vector<int>> step = Ints(op, 3, rank);
  if (!step.ok()) return step.status();
  const int begin_mask = reader_.Number<int32_t>(op.options, 0, 0);
  const int end_mask = reader_.Number<int32_t>(op.options, 1, 0);
  const int drop_mask = reader_.Number<int32_t>(op.options, 4, 0);
  if (reader_.Number<int32_t>(op.options, 2, 0) != 0 ||
      reader_.Number<int32_t>(op.options, 3, 0) != 0 ||
      reader_.Number<int8_t>(op.options, 5, 0) != 0) {
    return Invalid("an ellipsis, a new dimension or offsets");
  }
  Node node;
  node.kind = Kind::kSlice;
  node.in = {op.inputs[0]};
  Shape shape;
  for (int d = 0; d < rank; ++d) {
    const int64_t size = in[d];
    const int64_t stride = (*step)[d];
    if (stride == 0) return Invalid("a step of 0");
    const bool drop = (drop_mask >> d & 1) != 0;
    // Positions count from the end if negative; those beyond the tensor are cut to it.
    const int64_t low = stride > 0 ? 0 : -1;
    const int64_t high = stride > 0 ? size : size - 1;
    const auto position = [&](int64_t value) {
      return std::clamp(value < 0 ? value + size : value, low, high);
    };
    const int64_t first =
        (begin_mask >> d & 1) != 0 ? (stride > 0 ? 0 : size - 1) : position((*begin)[d]);
    int64_t last = (end_mask >> d & 1) != 0 ? (stride > 0 ? size : -1) : position((*end)[d]);
    if (drop) last = first + (stride > 0 ? 1 : -1);
    const int64_t count =
        stride > 0 ? (last - first + stride - 1) / stride : (first - last - stride - 1) / -stride;
    if (count < 1 || first < 0 || first >= size || first + (count - 1) * stride < 0 ||
        first + (count - 1) * stride >= size) {
      return Invalid(absl::StrCat("nothing is left along dimension ", d));
    }
    node.begin.push_back(static_cast<int>(first));
    node.step.push_back(static_cast<int>(stride));
    node.counts.push_back(static_cast<int>(count));
    if (!drop) shape.push_back(static_cast<int>(count));
  }
  return Emit(op, std::move(node), shape, 0);
}

absl::Status Lowering::LowerPad(const TfliteOperator& op) {
  if (absl::Status s = CheckInputs(op, 2, 2, 1); !s.ok()) return s;
  const Shape& in = ShapeOf(op.inputs[0]);
  if (in.empty()) return Invalid("a scalar");
  absl::StatusOr<std::vector<int>> pads = Ints(op, 1, 2 * static_cast<int>(in.size()));
  if (!pads.ok()) return pads.status();
  Node node;
  node.kind = Kind::kPad;
  node.in = {op.inputs[0]};
  Shape shape;
  for (size_t d = 0; d < in.size(); ++d) {
    const int before = (*pads)[2 * d];
    const int after = (*pads)[2 * d + 1];
    const int64_t size = int64_t{in[d]} + before + after;
    if (before < 0 || after < 0 || size > std::numeric_limits<int>::max()) {
      return Invalid(absl::StrCat("padding ", before, " and ", after));
    }
    node.begin.push_back(before);
    shape.push_back(static_cast<int>(size));
  }
  return Emit(op, std::move(node), shape, 0);
}

absl::Status Lowering::LowerResize(const TfliteOperator& op) {
  if (absl::Status s = CheckInputs(op, 2, 2, 1); !s.ok()) return s;
  const Shape& in = ShapeOf(op.inputs[0]);
  absl::StatusOr<std::vector<int>> size = Ints(op, 1, 2);
  if (!size.ok()) return size.status();
  if (in.size() != 4 || in[0] != 1) return Invalid(absl::StrCat("input ", Text(in)));
  Node node;
  node.kind = Kind::kResize;
  node.in = {op.inputs[0]};
  node.align_corners = reader_.Number<int8_t>(op.options, 2, 0) != 0;
  node.half_pixel_centers = reader_.Number<int8_t>(op.options, 3, 0) != 0;
  return Emit(op, std::move(node), {1, (*size)[0], (*size)[1], in[3]}, 0);
}

absl::Status Lowering::LowerCustom(const TfliteOperator& op) {
  const size_t num_inputs = op.custom_code == kBoxOp ? 1 : 2;
  if (absl::Status s = CheckInputs(op, num_inputs, num_inputs, num_inputs); !s.ok()) return s;
  const Shape& in = ShapeOf(op.inputs[0]);
  if (num_inputs == 2 && ShapeOf(op.inputs[1]) != Shape{1, 4, 4}) {
    return Invalid(absl::StrCat("transform ", Text(ShapeOf(op.inputs[1]))));
  }
  Node node;
  node.in = op.inputs;
  if (op.custom_code == kCarryOp) {
    if (in.size() != 3 || in[0] != 1 || (in[2] != 2 && in[2] != 3)) {
      return Invalid(absl::StrCat("landmarks ", Text(in)));
    }
    node.kind = Kind::kCarry;
    return Emit(op, std::move(node), in, 0);
  }
  absl::StatusOr<FlexMap> options = ParseFlexMap(op.custom_options);
  if (!options.ok()) return options.status();
  if (op.custom_code == kBoxOp) {
    if (in.size() != 3 || in[0] != 1 || in[2] != 3) {
      return Invalid(absl::StrCat("landmarks ", Text(in)));
    }
    absl::StatusOr<LandmarkBox> box = LandmarkBox::FromOptions(*options, in[1]);
    if (!box.ok()) return box.status();
    node.kind = Kind::kBox;
    node.box = *std::move(box);
    const auto work = static_cast<double>(node.box.indices.size());
    return Emit(op, std::move(node), {1, 4, 4}, work);
  }
  if (in.size() != 4 || in[0] != 1) return Invalid(absl::StrCat("input ", Text(in)));
  const auto size = [&](const char* name) {
    const auto entry = options->find(name);
    const bool good = entry != options->end() && entry->second.size() == 1 &&
                      entry->second[0] >= 1 && entry->second[0] <= kMaxWindow;
    return good ? static_cast<int>(entry->second[0]) : 0;
  };
  node.kind = Kind::kCut;
  return Emit(op, std::move(node), {1, size("output_height"), size("output_width"), in[3]}, 0);
}

absl::Status Lowering::LowerDequantize(const TfliteOperator& op) {
  if (op.inputs.size() != 1 || op.outputs.size() != 1 || op.inputs[0] < 0) {
    return Invalid("needs one input and one output");
  }
  const TfliteTensor& in = model_.tensors[op.inputs[0]];
  const TfliteTensor& out = model_.tensors[op.outputs[0]];
  if (in.type != TensorType::kFloat16 || in.data.empty() || out.type != TensorType::kFloat32 ||
      in.shape != out.shape || available_[op.outputs[0]]) {
    return Invalid("only constants of float16 are converted");
  }
  constant_floats_ += in.elements();
  if (constant_floats_ > kMaxFloats) return Invalid("the network's constants are too large");
  Value& value = values_[op.outputs[0]];
  value.constant = true;
  value.data = FloatData(in);
  available_[op.outputs[0]] = true;
  return absl::OkStatus();
}

absl::Status Lowering::LowerOne(const TfliteOperator& op) {
  switch (op.builtin_code) {
    case kAdd:
      return LowerBinary(op, Binary::kAdd, true);
    case kSub:
      return LowerBinary(op, Binary::kSub, true);
    case kMul:
      return LowerBinary(op, Binary::kMul, true);
    case kDiv:
      return LowerBinary(op, Binary::kDiv, true);
    case kSquaredDifference:
      return LowerBinary(op, Binary::kSquaredDifference, false);
    case kPrelu:
      return LowerBinary(op, Binary::kPrelu, false);
    case kAveragePool2d:
      return LowerPool(op, Kind::kAveragePool);
    case kMaxPool2d:
      return LowerPool(op, Kind::kMaxPool);
    case kConv2d:
      return LowerConv(op, false);
    case kDepthwiseConv2d:
      return LowerConv(op, true);
    case kFullyConnected:
      return LowerFullyConnected(op);
    case kDequantize:
      return LowerDequantize(op);
    case kLogistic:
      return LowerUnary(op, Unary::kLogistic);
    case kRelu:
      return LowerUnary(op, Unary::kRelu);
    case kRelu6:
      return LowerUnary(op, Unary::kRelu6);
    case kNeg:
      return LowerUnary(op, Unary::kNeg);
    case kSqrt:
      return LowerUnary(op, Unary::kSqrt);
    case kRsqrt:
      return LowerUnary(op, Unary::kRsqrt);
    case kMean:
      return LowerReduce(op, true);
    case kSum:
      return LowerReduce(op, false);
    case kConcatenation:
      return LowerConcat(op);
    case kTranspose:
      return LowerTranspose(op);
    case kStridedSlice:
      return LowerSlice(op);
    case kPad:
      return LowerPad(op);
    case kResizeBilinear:
      return LowerResize(op);
    case kReshape: {
      if (absl::Status s = CheckInputs(op, 1, 2, 1); !s.ok()) return s;
      if (op.outputs.size() != 1) return Invalid("needs one output");
      const TfliteTensor& out = model_.tensors[op.outputs[0]];
      if (out.elements() != values_[op.inputs[0]].elements) {
        return Invalid(absl::StrCat(Text(ShapeOf(op.inputs[0])), " to ", Text(out.shape)));
      }
      Node node;
      node.kind = Kind::kCopy;
      node.in = {op.inputs[0]};
      return Emit(op, std::move(node), out.shape, 0);
    }
    default:
      return LowerCustom(op);
  }
}

absl::StatusOr<std::vector<Node>> Lowering::Run() {
  std::set<std::string> unknown;
  for (const TfliteOperator& op : model_.operators) {
    if (!Supported(op)) unknown.insert(NameOf(op));
  }
  if (!unknown.empty()) {
    return Invalid(absl::StrCat("the network uses operators this program lacks: ",
                                absl::StrJoin(unknown, ", ")));
  }
  for (size_t i = 0; i < model_.tensors.size(); ++i) {
    const TfliteTensor& tensor = model_.tensors[i];
    Value& value = values_[i];
    value.shape = tensor.shape;
    value.elements = tensor.elements();
    // float16 constants reach their users through DEQUANTIZE.
    value.constant = !tensor.data.empty() && tensor.type == TensorType::kFloat32;
    available_[i] = !tensor.data.empty();
  }
  for (const int tensor : model_.inputs) {
    const TfliteTensor& info = model_.tensors[tensor];
    if (info.type != TensorType::kFloat32 || available_[tensor]) {
      return Invalid(absl::StrCat("input \"", info.name, "\" is constant, double or not float32"));
    }
    available_[tensor] = true;
  }
  for (size_t i = 0; i < model_.operators.size(); ++i) {
    absl::Status status = LowerOne(model_.operators[i]);
    if (status.ok()) status = reader_.status();
    if (status.ok()) status = status_;
    if (!status.ok()) {
      return Invalid(absl::StrCat("operator ", i, " (", NameOf(model_.operators[i]),
                                  "): ", std::string(status.message())));
    }
  }
  for (const int tensor : model_.outputs) {
    if (absl::Status s = CheckFloat(tensor); !s.ok()) return s;
  }
  return std::move(nodes_);
}

// Joins a convolution with what follows it: the addition of a shortcut, its zero padding of
// channels, and the activation; and a depthwise convolution with the pointwise one behind it. The
// joined node stands where the last part stood.
class Fusion {
 public:
  Fusion(std::vector<Node>& nodes, const std::vector<Value>& values,
         const std::vector<int>& outputs)
      : nodes_(nodes),
        values_(values),
        uses_(values.size(), 0),
        reader_(values.size(), -1),
        writer_(values.size(), -1) {
    for (size_t i = 0; i < nodes_.size(); ++i) {
      for (const int tensor : nodes_[i].in) {
        ++uses_[tensor];
        reader_[tensor] = static_cast<int>(i);
      }
      writer_[nodes_[i].out] = static_cast<int>(i);
    }
    for (const int tensor : outputs) ++uses_[tensor];
  }

  void Run() {
    for (size_t i = 0; i < nodes_.size(); ++i) {
      int at = static_cast<int>(i);
      if (nodes_[i].live && nodes_[i].kind == Kind::kConv) at = JoinShortcut(at);
      JoinActivation(at);
    }
    for (size_t i = 0; i < nodes_.size(); ++i) JoinDepthwise(static_cast<int>(i));
    std::erase_if(nodes_, [](const Node& node) { return !node.live; });
  }

 private:
  // The only user of what node `i` computes; -1: none or several, or it is an output.
  int OnlyReader(int i) const {
    const int tensor = nodes_[i].out;
    const int reader = reader_[tensor];
    return uses_[tensor] == 1 && reader >= 0 && nodes_[reader].live ? reader : -1;
  }

  static bool Plain(const Filter& filter) {
    return filter.activation == Activation::kNone && filter.alpha < 0;
  }

  // Node `from` takes the place of node `to` and computes its result.
  int Move(int from, int to) {
    for (const int tensor : nodes_[from].Reads()) {
      if (reader_[tensor] == from) reader_[tensor] = to;
    }
    const int out = nodes_[to].out;
    nodes_[to] = std::move(nodes_[from]);
    nodes_[to].out = out;
    nodes_[from].live = false;
    return to;
  }

  int JoinShortcut(int i) {
    const int add = OnlyReader(i);
    if (add < 0 || !Plain(nodes_[i].filter) || nodes_[i].residual >= 0) return i;
    const Node& sum = nodes_[add];
    if (sum.kind != Kind::kBinary || sum.binary != Binary::kAdd) return i;
    const int other = sum.in[0] == nodes_[i].out ? sum.in[1] : sum.in[0];
    if (values_[other].shape != values_[nodes_[i].out].shape) return i;
    nodes_[i].residual = other;
    const int pad = writer_[other];
    if (pad >= 0 && nodes_[pad].live && nodes_[pad].kind == Kind::kPad && uses_[other] == 1 &&
        OnlyChannels(nodes_[pad])) {
      nodes_[i].residual = nodes_[pad].in[0];
      reader_[nodes_[pad].in[0]] = add;
      nodes_[pad].live = false;
    }
    nodes_[i].filter.activation = sum.activation;
    return Move(i, add);
  }

  // Whether a padding only appends whole groups of 16 channels (the kernels' condition).
  bool OnlyChannels(const Node& pad) const {
    const Shape& from = values_[pad.in[0]].shape;
    const Shape& to = values_[pad.out].shape;
    for (size_t d = 0; d + 1 < from.size(); ++d) {
      if (from[d] != to[d]) return false;
    }
    return pad.begin.back() == 0 && from.back() % 16 == 0 && to.back() % 16 == 0;
  }

  void JoinActivation(int i) {
    const Node& node = nodes_[i];
    if (!node.live || (node.kind != Kind::kConv && node.kind != Kind::kDepthwise)) return;
    const int next = OnlyReader(i);
    if (next < 0 || !Plain(node.filter)) return;
    const Node& act = nodes_[next];
    Filter& filter = nodes_[i].filter;
    if (act.kind == Kind::kUnary && act.unary == Unary::kRelu) {
      filter.activation = Activation::kRelu;
    } else if (act.kind == Kind::kUnary && act.unary == Unary::kRelu6) {
      filter.activation = Activation::kRelu6;
    } else if (act.kind == Kind::kBinary && act.binary == Binary::kPrelu && act.in[0] == node.out &&
               values_[act.in[1]].constant &&
               values_[act.in[1]].elements == static_cast<size_t>(filter.out_channels) &&
               values_[act.in[1]].shape.back() == filter.out_channels) {
      filter.activation = Activation::kPrelu;
      filter.alpha = act.in[1];
    } else {
      return;
    }
    Move(i, next);
  }

  void JoinDepthwise(int i) {
    Node& node = nodes_[i];
    if (!node.live || node.kind != Kind::kConv || !node.filter.pointwise()) return;
    const int tensor = node.in[0];
    const int before = writer_[tensor] < 0 ? -1 : FindWriter(tensor, i);
    if (before < 0 || uses_[tensor] != 1 || nodes_[before].kind != Kind::kDepthwise) return;
    node.depthwise = nodes_[before].filter;
    node.in = nodes_[before].in;
    nodes_[before].live = false;
  }

  // The live node that computes `tensor`, somewhere before node `end`; -1: none.
  int FindWriter(int tensor, int end) const {
    for (int i = end - 1; i >= 0; --i) {
      if (nodes_[i].live && nodes_[i].out == tensor) return i;
    }
    return -1;
  }

  std::vector<Node>& nodes_;
  const std::vector<Value>& values_;
  std::vector<int> uses_;
  std::vector<int> reader_;  // some node that reads a tensor; the only one where uses_ is 1
  std::vector<int> writer_;  // node that computed a tensor before anything was joined
};

// Weights and biases in the kernels' order.
void LayOutDepthwise(const Filter& filter, const std::vector<Value>& values,
                     std::vector<float>& weights, std::vector<float>& bias,
                     std::vector<float>& alpha, const float* zeros, Depthwise& op) {
  const auto channels = static_cast<size_t>(filter.out_channels);
  weights = values[filter.weights].data;  // [1, h, w, channels] is the kernel's order
  bias = filter.bias >= 0 ? values[filter.bias].data : std::vector<float>(channels, 0.0f);
  if (filter.alpha >= 0) alpha = values[filter.alpha].data;
  op.height = filter.height;
  op.width = filter.width;
  op.channels = filter.channels;
  op.out_width = filter.out_width;
  op.window = filter.window;
  op.weights = weights.data();
  op.zeros = zeros;
  op.epilogue.bias = bias.data();
  op.epilogue.alpha = alpha.data();
  op.epilogue.activation = filter.activation;
}

void LayOutConv(Node& node, const std::vector<Value>& values) {
  const Filter& filter = node.filter;
  const int columns = filter.out_channels;
  const int depth = filter.window.filter_height * filter.window.filter_width * filter.channels;
  node.panels = MakePanels(columns, depth);
  const Panel& last = node.panels.back();
  node.weights.assign(last.offset + static_cast<size_t>(last.width) * depth, 0.0f);
  const std::vector<float>& source = values[filter.weights].data;  // [columns, depth]
  for (const Panel& panel : node.panels) {
    const int end = std::min(panel.width, columns - panel.column);
    for (int k = 0; k < depth; ++k) {
      float* row = &node.weights[panel.offset + static_cast<size_t>(k) * panel.width];
      for (int c = 0; c < end; ++c) {
        row[c] = source[static_cast<size_t>(panel.column + c) * depth + k];
      }
    }
  }
  node.bias = filter.bias >= 0 ? values[filter.bias].data
                               : std::vector<float>(static_cast<size_t>(columns), 0.0f);
  if (filter.alpha >= 0) node.alpha = values[filter.alpha].data;
  node.gemm = {node.panels.data(),
               static_cast<int>(node.panels.size()),
               node.weights.data(),
               depth,
               columns,
               {}};
  node.gemm.epilogue.bias = node.bias.data();
  node.gemm.epilogue.alpha = node.alpha.data();
  node.gemm.epilogue.activation = filter.activation;
  if (node.residual >= 0) node.gemm.epilogue.residual_columns = values[node.residual].shape.back();
  const size_t row = static_cast<size_t>(filter.out_width) * depth;
  node.tile_rows = static_cast<int>(
      std::clamp<size_t>(kTileFloats / row, 1, static_cast<size_t>(filter.out_height)));
}

// Places every computed tensor in one block of memory; two share a place unless both are in use at
// some node. Returns the floats needed.
size_t PlaceValues(const std::vector<Node>& nodes, const std::vector<int>& inputs,
                   const std::vector<int>& outputs, const std::vector<Value>& values,
                   std::vector<size_t>& offsets) {
  const int end = static_cast<int>(nodes.size());
  std::vector<int> last_use(values.size(), -1);
  for (int i = 0; i < end; ++i) {
    for (const int tensor : nodes[i].Reads()) last_use[tensor] = i;
  }
  for (const int tensor : outputs) last_use[tensor] = end;
  struct Place {
    size_t offset, size;
    int last_use;
  };
  std::vector<Place> in_use;  // by offset
  size_t total = 0;
  const auto place = [&](int tensor, int now) {
    std::erase_if(in_use, [now](const Place& p) { return p.last_use < now; });
    const size_t size = (values[tensor].elements + kAlignFloats - 1) / kAlignFloats * kAlignFloats;
    size_t offset = 0;
    auto at = in_use.begin();
    for (; at != in_use.end() && at->offset < offset + size; ++at) offset = at->offset + at->size;
    in_use.insert(at, {offset, size, std::max(last_use[tensor], now)});
    offsets[tensor] = offset;
    total = std::max(total, offset + size);
  };
  // Inputs nobody reads still need a place to be written to.
  for (const int tensor : inputs) place(tensor, 0);
  for (int i = 0; i < end; ++i) place(nodes[i].out, i);
  return total;
}

}  // namespace

// [y0, y1) of the output rows as rows of filter-sized neighbourhoods.
namespace {
void CollectWindows(const Filter& filter, const float* in, int y0, int y1, float* out) {
  const Window& w = filter.window;
  const auto channels = static_cast<size_t>(filter.channels);
  for (int y = y0; y < y1; ++y) {
    for (int x = 0; x < filter.out_width; ++x) {
      const int left = x * w.stride_x - w.pad_left;
      for (int i = 0; i < w.filter_height; ++i) {
        const int in_y = y * w.stride_y - w.pad_top + i * w.dilation_y;
        const bool row_inside = in_y >= 0 && in_y < filter.height;
        const float* row =
            in + static_cast<size_t>(row_inside ? in_y : 0) * filter.width * channels;
        if (row_inside && w.dilation_x == 1 && left >= 0 && left + w.filter_width <= filter.width) {
          const size_t count = static_cast<size_t>(w.filter_width) * channels;
          std::memcpy(out, row + static_cast<size_t>(left) * channels, count * sizeof(float));
          out += count;
          continue;
        }
        for (int j = 0; j < w.filter_width; ++j, out += channels) {
          const int in_x = left + j * w.dilation_x;
          if (row_inside && in_x >= 0 && in_x < filter.width) {
            std::memcpy(out, row + static_cast<size_t>(in_x) * channels, channels * sizeof(float));
          } else {
            std::memset(out, 0, channels * sizeof(float));
          }
        }
      }
    }
  }
}
}  // namespace

void Network::Plan::RunConv(const Node& node) {
  const Filter& filter = node.filter;
  const float* in = values[node.in[0]].pointer;
  const float* residual = node.residual >= 0 ? values[node.residual].pointer : nullptr;
  float* out = values[node.out].pointer;
  Gemm gemm = node.gemm;
  const bool direct = filter.pointwise() && !node.depthwise.has_value();
  const int step = direct ? filter.out_height : node.tile_rows;
  for (int y = 0; y < filter.out_height; y += step) {
    const int num_rows = std::min(step, filter.out_height - y);
    const float* rows = scratch.data();
    if (direct) {
      rows = in;
    } else if (node.depthwise.has_value()) {
      kernels->depthwise(node.depthwise_op, in, y, num_rows, scratch.data());
    } else {
      CollectWindows(filter, in, y, y + num_rows, scratch.data());
    }
    const size_t done = static_cast<size_t>(y) * filter.out_width;
    if (residual != nullptr) {
      gemm.epilogue.residual = residual + done * gemm.epilogue.residual_columns;
    }
    kernels->gemm(gemm, rows, num_rows * filter.out_width, out + done * gemm.columns);
  }
}

void Network::Plan::RunNode(const Node& node) {
  float* out = values[node.out].pointer;
  const Value& a = values[node.in[0]];
  const float* in = a.pointer;
  switch (node.kind) {
    case Kind::kConv:
      return RunConv(node);
    case Kind::kDepthwise:
      return kernels->depthwise(node.depthwise_op, in, 0, node.filter.out_height, out);
    case Kind::kMaxPool:
      kernels->max_pool(node.pool, in, out);
      if (node.activation == Activation::kRelu) {
        ApplyUnary(Unary::kRelu, out, values[node.out].elements, out);
      } else if (node.activation == Activation::kRelu6) {
        ApplyUnary(Unary::kRelu6, out, values[node.out].elements, out);
      }
      return;
    case Kind::kAveragePool:
      return AveragePool(node.pool, in, node.activation, out);
    case Kind::kUnary:
      return ApplyUnary(node.unary, in, a.elements, out);
    case Kind::kBinary: {
      const Value& b = values[node.in[1]];
      return ApplyBinary(node.binary, in, a.shape, b.pointer, b.shape, node.activation,
                         values[node.out].shape, out);
    }
    case Kind::kCopy:
      std::memcpy(out, in, a.elements * sizeof(float));
      return;
    case Kind::kConcat: {
      // Rows of the result are made of one piece of each input.
      const std::vector<size_t> strides = Strides(values[node.out].shape);
      const size_t row = strides[node.axis] * values[node.out].shape[node.axis];
      const size_t num_rows = values[node.out].elements / row;
      for (const int tensor : node.in) {
        const Value& part = values[tensor];
        const size_t piece = part.elements / num_rows;
        for (size_t i = 0; i < num_rows; ++i) {
          std::memcpy(out + i * row, part.pointer + i * piece, piece * sizeof(float));
        }
        out += piece;
      }
      return;
    }
    case Kind::kReduce:
      return Reduce(in, a.shape, node.reduced, node.mean, out);
    case Kind::kTranspose:
      return Transpose(in, a.shape, node.begin, out);
    case Kind::kSlice:
      return StridedSlice(in, a.shape, node.begin, node.step, node.counts, out);
    case Kind::kPad:
      return Pad(in, a.shape, node.begin, values[node.out].shape, out);
    case Kind::kResize: {
      const Shape& to = values[node.out].shape;
      return ResizeBilinear(in, a.shape[1], a.shape[2], a.shape[3], to[1], to[2],
                            node.align_corners, node.half_pixel_centers, out);
    }
    case Kind::kBox:
      return LandmarksToTransform(node.box, in, out);
    case Kind::kCut: {
      const Shape& to = values[node.out].shape;
      return TransformTensor(in, a.shape[1], a.shape[2], a.shape[3], values[node.in[1]].pointer,
                             to[1], to[2], out);
    }
    case Kind::kCarry:
      return TransformLandmarks(in, a.shape[1], a.shape[2], values[node.in[1]].pointer, out);
  }
}

Network::Network(std::unique_ptr<Plan> plan) : plan_(std::move(plan)) {}
Network::~Network() = default;

absl::StatusOr<std::unique_ptr<Network>> Network::Create(std::string_view tflite,
                                                         const Kernels& kernels) {
  FlatBufferReader reader(tflite);
  absl::StatusOr<TfliteModel> model = ParseTflite(tflite, reader);
  if (!model.ok()) return model.status();
  auto plan = std::make_unique<Plan>();
  plan->kernels = &kernels;
  plan->values.resize(model->tensors.size());
  Lowering lowering(*model, reader, plan->values);
  absl::StatusOr<std::vector<Node>> nodes = lowering.Run();
  if (!nodes.ok()) return nodes.status();
  plan->nodes = *std::move(nodes);
  Fusion(plan->nodes, plan->values, model->outputs).Run();

  // Which constants the nodes read as they are; convolutions keep their own copies.
  for (const Node& node : plan->nodes) {
    for (const int tensor : node.Reads()) lowering.Constant(tensor);
    if (node.filter.alpha >= 0) lowering.Constant(node.filter.alpha);
    if (node.depthwise && node.depthwise->alpha >= 0) lowering.Constant(node.depthwise->alpha);
  }
  for (const int tensor : model->outputs) lowering.Constant(tensor);
  if (!lowering.status().ok()) return lowering.status();

  size_t scratch = 0;
  size_t zeros = 0;
  for (const Node& node : plan->nodes) {
    const Filter& first = node.depthwise ? *node.depthwise : node.filter;
    if (node.kind != Kind::kConv && node.kind != Kind::kDepthwise) continue;
    zeros = std::max(zeros, static_cast<size_t>(first.window.filter_width) * first.channels);
  }
  if (zeros > kMaxFloats) return Invalid("a filter is too large");
  plan->zeros.assign(zeros, 0.0f);
  for (Node& node : plan->nodes) {
    if (node.kind == Kind::kDepthwise) {
      LayOutDepthwise(node.filter, plan->values, node.depthwise_weights, node.depthwise_bias,
                      node.depthwise_alpha, plan->zeros.data(), node.depthwise_op);
    } else if (node.kind == Kind::kConv) {
      if (node.depthwise) {
        LayOutDepthwise(*node.depthwise, plan->values, node.depthwise_weights, node.depthwise_bias,
                        node.depthwise_alpha, plan->zeros.data(), node.depthwise_op);
      }
      LayOutConv(node, plan->values);
      if (node.depthwise || !node.filter.pointwise()) {
        scratch = std::max(
            scratch, static_cast<size_t>(node.tile_rows) * node.filter.out_width * node.gemm.depth);
      }
    }
  }

  std::vector<size_t> offsets(plan->values.size(), 0);
  const size_t total =
      PlaceValues(plan->nodes, model->inputs, model->outputs, plan->values, offsets);
  if (total > kMaxFloats || scratch > kMaxFloats)
    return Invalid("the network's results are too large");
  plan->scratch.assign(scratch, 0.0f);
  plan->arena.assign(total + kAlignFloats, 0.0f);
  // The block begins at a cache line.
  const auto address = reinterpret_cast<uintptr_t>(plan->arena.data()) / sizeof(float);
  float* const base = plan->arena.data() + (kAlignFloats - address % kAlignFloats) % kAlignFloats;
  std::set<int> constants_in_use;
  for (const Node& node : plan->nodes) {
    for (const int tensor : node.Reads()) constants_in_use.insert(tensor);
  }
  for (const int tensor : model->outputs) constants_in_use.insert(tensor);
  for (size_t i = 0; i < plan->values.size(); ++i) {
    Value& value = plan->values[i];
    if (!value.constant) {
      value.pointer = base + offsets[i];
    } else if (constants_in_use.contains(static_cast<int>(i))) {
      value.pointer = value.data.data();
    } else {
      value.data = {};
    }
  }
  const auto port = [&](int tensor) {
    const Value& value = plan->values[tensor];
    return Port{model->tensors[tensor].name, value.shape, value.elements,
                static_cast<size_t>(tensor)};
  };
  for (const int tensor : model->inputs) plan->inputs.push_back(port(tensor));
  for (const int tensor : model->outputs) plan->outputs.push_back(port(tensor));
  return std::unique_ptr<Network>(new Network(std::move(plan)));
}

const std::vector<Network::Port>& Network::inputs() const { return plan_->inputs; }
const std::vector<Network::Port>& Network::outputs() const { return plan_->outputs; }

absl::Span<float> Network::input(size_t index) {
  const Port& port = plan_->inputs[index];
  return {plan_->values[port.value].pointer, port.elements};
}

absl::Span<const float> Network::output(size_t index) const {
  const Port& port = plan_->outputs[index];
  return {plan_->values[port.value].pointer, port.elements};
}

void Network::Run() {
  for (const Node& node : plan_->nodes) plan_->RunNode(node);
}

}  // namespace reenact
