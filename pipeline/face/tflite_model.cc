#include "pipeline/face/tflite_model.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace reenact {
namespace {

// Far above any face model; they bound the work a hostile file can cause.
constexpr size_t kMaxEntries = 20'000;
constexpr size_t kMaxRank = 6;
constexpr size_t kMaxElements = size_t{1} << 26;
constexpr size_t kMaxOperands = 64;

absl::Status Damaged(const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat("damaged file: ", what));
}

bool KnownType(int type) { return type == 0 || type == 1 || type == 2 || type == 4; }

size_t ElementSize(TensorType type) {
  switch (type) {
    case TensorType::kFloat16:
      return 2;
    case TensorType::kInt64:
      return 8;
    default:
      return 4;
  }
}

absl::Status CheckCount(const FlatBufferReader::Vector& entries, const std::string& what) {
  if (entries.size <= kMaxEntries) return absl::OkStatus();
  return Damaged(absl::StrCat(entries.size, " ", what));
}

// A vector of tensor indices, checked. -1 passes where `optional`.
absl::StatusOr<std::vector<int>> Indices(FlatBufferReader& reader,
                                         const FlatBufferReader::Table& table, int slot,
                                         size_t num_tensors, bool optional) {
  const FlatBufferReader::Vector numbers = reader.SubVector(table, slot, sizeof(int32_t));
  if (numbers.size > kMaxOperands) return Damaged("too many operands");
  std::vector<int> indices;
  for (size_t i = 0; i < numbers.size; ++i) {
    const auto index = reader.NumberIn<int32_t>(numbers, i);
    const bool absent = optional && index == -1;
    if (!absent && (index < 0 || static_cast<size_t>(index) >= num_tensors)) {
      return Damaged(absl::StrCat("tensor ", index, " of ", num_tensors));
    }
    indices.push_back(index);
  }
  return indices;
}

absl::Status ParseTensor(FlatBufferReader& reader, const FlatBufferReader::Table& table,
                         const std::vector<std::string_view>& buffers, TfliteTensor& tensor) {
  const std::string_view name = reader.Bytes(table, 3);
  tensor.name = std::string(name.substr(0, 120));
  const auto problem = [&](const std::string& what) {
    return Damaged(absl::StrCat("tensor \"", tensor.name, "\": ", what));
  };
  const FlatBufferReader::Vector shape = reader.SubVector(table, 0, sizeof(int32_t));
  if (shape.size > kMaxRank) return problem(absl::StrCat(shape.size, " dimensions"));
  size_t elements = 1;
  for (size_t i = 0; i < shape.size; ++i) {
    const auto dimension = reader.NumberIn<int32_t>(shape, i);
    if (dimension < 1 || static_cast<size_t>(dimension) > kMaxElements) {
      return problem(absl::StrCat("dimension ", dimension));
    }
    tensor.shape.push_back(dimension);
    elements *= static_cast<size_t>(dimension);
    if (elements > kMaxElements) return problem("too large");
  }
  const auto type = static_cast<uint8_t>(reader.Number<int8_t>(table, 1, 0));
  const auto buffer = reader.Number<uint32_t>(table, 2, 0);
  const bool sparse = reader.SubTable(table, 6).present();
  if (!reader.status().ok()) return reader.status();
  if (!KnownType(type)) {
    return problem(absl::StrCat("type ", type, "; float32, float16, int32 and int64 are read"));
  }
  tensor.type = static_cast<TensorType>(type);
  if (sparse) return problem("sparse tensors are not read");
  if (buffer >= buffers.size()) return problem(absl::StrCat("buffer ", buffer));
  tensor.data = buffers[buffer];
  if (!tensor.data.empty() && tensor.data.size() != elements * ElementSize(tensor.type)) {
    return problem(absl::StrCat(tensor.data.size(), " bytes for ", elements, " elements"));
  }
  return absl::OkStatus();
}

}  // namespace

size_t TfliteTensor::elements() const {
  size_t count = 1;
  for (const int dimension : shape) count *= static_cast<size_t>(dimension);
  return count;
}

bool LooksLikeTflite(std::string_view bytes) {
  return bytes.size() >= 8 && bytes.substr(4, 4) == "TFL3";
}

absl::StatusOr<TfliteModel> ParseTflite(std::string_view bytes, FlatBufferReader& reader) {
  if (!LooksLikeTflite(bytes)) {
    return absl::InvalidArgumentError("not a .tflite file: the mark TFL3 is missing");
  }
  const FlatBufferReader::Table root = reader.Root();
  const FlatBufferReader::Vector code_tables = reader.SubVector(root, 1, 4);
  const FlatBufferReader::Vector subgraphs = reader.SubVector(root, 2, 4);
  const FlatBufferReader::Vector buffer_tables = reader.SubVector(root, 4, 4);
  if (!reader.status().ok()) return reader.status();
  if (auto status = CheckCount(code_tables, "operator codes"); !status.ok()) return status;
  if (auto status = CheckCount(buffer_tables, "buffers"); !status.ok()) return status;
  if (subgraphs.size != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("the file has ", subgraphs.size, " subgraphs; exactly one is read"));
  }

  std::vector<TfliteOperator> codes(code_tables.size);
  for (size_t i = 0; i < codes.size(); ++i) {
    const FlatBufferReader::Table table = reader.TableIn(code_tables, i);
    // Old files have only the byte, new ones the wider field too.
    codes[i].builtin_code =
        std::max<int>(reader.Number<int8_t>(table, 0, 0), reader.Number<int32_t>(table, 3, 0));
    codes[i].custom_code = std::string(reader.Bytes(table, 1).substr(0, 120));
  }
  std::vector<std::string_view> buffers(buffer_tables.size);
  for (size_t i = 0; i < buffers.size(); ++i) {
    const FlatBufferReader::Table table = reader.TableIn(buffer_tables, i);
    buffers[i] = reader.Bytes(table, 0);
    if (reader.Number<uint64_t>(table, 1, 0) > 1) {
      return absl::InvalidArgumentError("files with buffers outside the FlatBuffer are not read");
    }
  }

  TfliteModel model;
  const FlatBufferReader::Table graph = reader.TableIn(subgraphs, 0);
  const FlatBufferReader::Vector tensor_tables = reader.SubVector(graph, 0, 4);
  const FlatBufferReader::Vector operator_tables = reader.SubVector(graph, 3, 4);
  if (!reader.status().ok()) return reader.status();
  if (auto status = CheckCount(tensor_tables, "tensors"); !status.ok()) return status;
  if (auto status = CheckCount(operator_tables, "operators"); !status.ok()) return status;

  model.tensors.resize(tensor_tables.size);
  for (size_t i = 0; i < model.tensors.size(); ++i) {
    const absl::Status status =
        ParseTensor(reader, reader.TableIn(tensor_tables, i), buffers, model.tensors[i]);
    if (!status.ok()) return status;
  }
  absl::StatusOr<std::vector<int>> inputs =
      Indices(reader, graph, 1, model.tensors.size(), /*optional=*/false);
  if (!inputs.ok()) return inputs.status();
  model.inputs = *std::move(inputs);
  absl::StatusOr<std::vector<int>> outputs =
      Indices(reader, graph, 2, model.tensors.size(), /*optional=*/false);
  if (!outputs.ok()) return outputs.status();
  model.outputs = *std::move(outputs);

  for (size_t i = 0; i < operator_tables.size; ++i) {
    const FlatBufferReader::Table table = reader.TableIn(operator_tables, i);
    const auto code = reader.Number<uint32_t>(table, 0, 0);
    if (!reader.status().ok()) return reader.status();
    if (code >= codes.size()) return Damaged(absl::StrCat("operator ", i, ": code ", code));
    TfliteOperator op = codes[code];
    absl::StatusOr<std::vector<int>> operands =
        Indices(reader, table, 1, model.tensors.size(), /*optional=*/true);
    if (!operands.ok()) return operands.status();
    op.inputs = *std::move(operands);
    absl::StatusOr<std::vector<int>> results =
        Indices(reader, table, 2, model.tensors.size(), /*optional=*/false);
    if (!results.ok()) return results.status();
    op.outputs = *std::move(results);
    op.options = reader.SubTable(table, 4);
    op.custom_options = reader.Bytes(table, 5);
    model.operators.push_back(std::move(op));
  }
  if (!reader.status().ok()) return reader.status();
  if (model.inputs.empty() || model.outputs.empty()) return Damaged("no inputs or no outputs");
  return model;
}

float HalfToFloat(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half >> 15) << 31;
  const uint32_t exponent = (half >> 10) & 31;
  const uint32_t mantissa = half & 1023;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000 | mantissa << 13);
  if (exponent != 0) return std::bit_cast<float>(sign | (exponent + 112) << 23 | mantissa << 13);
  // Zero and subnormal numbers: multiples of 2^-24.
  const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
  return sign != 0 ? -magnitude : magnitude;
}

std::vector<float> FloatData(const TfliteTensor& tensor) {
  std::vector<float> values(tensor.elements());
  if (tensor.type == TensorType::kFloat32) {
    std::memcpy(values.data(), tensor.data.data(), values.size() * sizeof(float));
    return values;
  }
  for (size_t i = 0; i < values.size(); ++i) {
    uint16_t half;
    std::memcpy(&half, tensor.data.data() + 2 * i, sizeof(half));
    values[i] = HalfToFloat(half);
  }
  return values;
}

std::vector<int> IntData(const TfliteTensor& tensor) {
  std::vector<int> values(tensor.elements());
  std::memcpy(values.data(), tensor.data.data(), values.size() * sizeof(int32_t));
  return values;
}

}  // namespace reenact
