// Writes small .tflite files for tests: one subgraph, float32 and int32 constants.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace reenact::testing {

// A FlatBuffer written front to back: a table comes before what it refers to.
class FlatBufferWriter {
 public:
  struct Field {
    int slot = 0;
    int size = 4;  // bytes: 1 or 4
    int32_t value = 0;
    bool reference = false;  // filled in by Refer()
  };
  using References = std::map<int, size_t>;  // slot to position

  FlatBufferWriter() : bytes_(8, '\0') { std::memcpy(&bytes_[4], "TFL3", 4); }

  // Appends a table; `references` gets where its references are to be written.
  size_t Table(const std::vector<Field>& fields, References& references) {
    int slots = 0;
    for (const Field& field : fields) slots = std::max(slots, field.slot + 1);
    std::vector<uint16_t> offsets(static_cast<size_t>(slots), 0);
    uint16_t size = 4;
    for (const Field& field : fields) {
      offsets[field.slot] = size;
      size = static_cast<uint16_t>(size + 4);
    }
    const size_t vtable = bytes_.size();
    Append<uint16_t>(static_cast<uint16_t>(4 + 2 * slots));
    Append<uint16_t>(size);
    for (const uint16_t offset : offsets) Append<uint16_t>(offset);
    Align();
    const size_t table = bytes_.size();
    Append<int32_t>(static_cast<int32_t>(table - vtable));
    for (const Field& field : fields) {
      if (field.reference) references[field.slot] = bytes_.size();
      Append<int32_t>(field.value);
    }
    return table;
  }
  size_t Table(const std::vector<Field>& fields) {
    References none;
    return Table(fields, none);
  }

  template <typename T>
  size_t Vector(const std::vector<T>& numbers) {
    const size_t position = bytes_.size();
    Append<uint32_t>(static_cast<uint32_t>(numbers.size()));
    for (const T number : numbers) Append<T>(number);
    Align();
    return position;
  }
  size_t Bytes(const std::string& content) {
    return Vector(std::vector<char>(content.begin(), content.end()));
  }
  // A vector of `count` references; element i is to be written at the result + 4 + 4 * i.
  size_t ReferenceVector(size_t count) { return Vector(std::vector<uint32_t>(count, 0)); }

  void Refer(size_t from, size_t to) {
    const auto offset = static_cast<uint32_t>(to - from);
    std::memcpy(&bytes_[from], &offset, sizeof(offset));
  }

  const std::string& bytes() const { return bytes_; }

 private:
  template <typename T>
  void Append(T value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  void Align() {
    while (bytes_.size() % 4 != 0) bytes_ += '\0';
  }

  std::string bytes_;
};

class TfliteWriter {
 public:
  using Fields = std::vector<FlatBufferWriter::Field>;

  int Input(const std::vector<int>& shape) {
    inputs_.push_back(Tensor(shape, 0, ""));
    return inputs_.back();
  }
  int Constant(const std::vector<int>& shape, const std::vector<float>& values) {
    return Tensor(shape, 0, Raw(values));
  }
  int Constant(const std::vector<int>& shape, const std::vector<int32_t>& values) {
    return Tensor(shape, 2, Raw(values));
  }
  int HalfConstant(const std::vector<int>& shape, const std::vector<uint16_t>& values) {
    return Tensor(shape, 1, Raw(values));
  }
  // Adds an operator with one result of `shape`.
  int Op(int builtin, const std::vector<int>& inputs, const std::vector<int>& shape,
         const Fields& options = {}) {
    const int output = Tensor(shape, 0, "");
    operators_.push_back({builtin, "", inputs, output, options, ""});
    return output;
  }
  int CustomOp(const std::string& name, const std::vector<int>& inputs,
               const std::vector<int>& shape, const std::string& options = "") {
    const int output = Tensor(shape, 0, "");
    operators_.push_back({32, name, inputs, output, {}, options});
    return output;
  }
  void Output(int tensor) { outputs_.push_back(tensor); }

  std::string Write() const {
    FlatBufferWriter w;
    FlatBufferWriter::References root;
    const size_t model = w.Table({{0, 4, 3, false}, Ref(1), Ref(2), Ref(4)}, root);
    w.Refer(0, model);

    const size_t codes = w.ReferenceVector(operators_.size());
    w.Refer(root[1], codes);
    for (size_t i = 0; i < operators_.size(); ++i) {
      const Operator& op = operators_[i];
      FlatBufferWriter::References refs;
      Fields fields = {{0, 1, std::min(op.builtin, 127), false}, {3, 4, op.builtin, false}};
      if (!op.custom.empty()) fields.push_back(Ref(1));
      w.Refer(codes + 4 + 4 * i, w.Table(fields, refs));
      if (!op.custom.empty()) w.Refer(refs[1], w.Bytes(op.custom));
    }

    const size_t graphs = w.ReferenceVector(1);
    w.Refer(root[2], graphs);
    FlatBufferWriter::References graph;
    w.Refer(graphs + 4, w.Table({Ref(0), Ref(1), Ref(2), Ref(3)}, graph));
    w.Refer(graph[1], w.Vector(std::vector<int32_t>(inputs_.begin(), inputs_.end())));
    w.Refer(graph[2], w.Vector(std::vector<int32_t>(outputs_.begin(), outputs_.end())));
    const size_t tensors = w.ReferenceVector(tensors_.size());
    w.Refer(graph[0], tensors);
    for (size_t i = 0; i < tensors_.size(); ++i) {
      FlatBufferWriter::References refs;
      const auto buffer = static_cast<int32_t>(i + 1);  // buffer 0 is the empty one
      w.Refer(
          tensors + 4 + 4 * i,
          w.Table({Ref(0), {1, 1, tensors_[i].type, false}, {2, 4, buffer, false}, Ref(3)}, refs));
      w.Refer(refs[0],
              w.Vector(std::vector<int32_t>(tensors_[i].shape.begin(), tensors_[i].shape.end())));
      w.Refer(refs[3], w.Bytes("t" + std::to_string(i)));
    }
    const size_t operators = w.ReferenceVector(operators_.size());
    w.Refer(graph[3], operators);
    for (size_t i = 0; i < operators_.size(); ++i) {
      const Operator& op = operators_[i];
      FlatBufferWriter::References refs;
      Fields fields = {{0, 4, static_cast<int32_t>(i), false}, Ref(1), Ref(2)};
      if (!op.options.empty()) fields.push_back(Ref(4));
      if (!op.custom_options.empty()) fields.push_back(Ref(5));
      w.Refer(operators + 4 + 4 * i, w.Table(fields, refs));
      w.Refer(refs[1], w.Vector(std::vector<int32_t>(op.inputs.begin(), op.inputs.end())));
      w.Refer(refs[2], w.Vector(std::vector<int32_t>{op.output}));
      if (!op.options.empty()) w.Refer(refs[4], w.Table(op.options));
      if (!op.custom_options.empty()) w.Refer(refs[5], w.Bytes(op.custom_options));
    }

    const size_t buffers = w.ReferenceVector(tensors_.size() + 1);
    w.Refer(root[4], buffers);
    w.Refer(buffers + 4, w.Table({}));
    for (size_t i = 0; i < tensors_.size(); ++i) {
      FlatBufferWriter::References refs;
      const bool constant = !tensors_[i].data.empty();
      w.Refer(buffers + 8 + 4 * i, w.Table(constant ? Fields{Ref(0)} : Fields{}, refs));
      if (constant) w.Refer(refs[0], w.Bytes(tensors_[i].data));
    }
    return w.bytes();
  }

 private:
  struct TensorEntry {
    std::vector<int> shape;
    int type;
    std::string data;
  };
  struct Operator {
    int builtin;
    std::string custom;
    std::vector<int> inputs;
    int output;
    Fields options;
    std::string custom_options;
  };

  static FlatBufferWriter::Field Ref(int slot) { return {slot, 4, 0, true}; }

  template <typename T>
  static std::string Raw(const std::vector<T>& values) {
    return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
  }

  int Tensor(const std::vector<int>& shape, int type, std::string data) {
    tensors_.push_back({shape, type, std::move(data)});
    return static_cast<int>(tensors_.size()) - 1;
  }

  std::vector<TensorEntry> tensors_;
  std::vector<Operator> operators_;
  std::vector<int> inputs_, outputs_;
};

// A FlexBuffer map of numbers and vectors of int16, in the layout the attention model's file has.
inline std::string FlexMapBytes(const std::map<std::string, double>& numbers,
                                const std::map<std::string, std::vector<int16_t>>& vectors) {
  std::string bytes;
  const auto append = [&bytes](auto value) {
    bytes.append(reinterpret_cast<const char*>(&value), sizeof(value));
  };
  const auto align = [&bytes] {
    while (bytes.size() % 4 != 0) bytes += '\0';
  };
  std::map<std::string, size_t> keys, targets;  // positions
  for (const auto& [key, value] : numbers) keys[key] = 0;
  for (const auto& [key, value] : vectors) keys[key] = 0;
  for (auto& [key, position] : keys) {
    position = bytes.size();
    bytes += key;
    bytes += '\0';
  }
  for (const auto& [key, values] : vectors) {
    align();
    append(static_cast<uint16_t>(values.size()));
    targets[key] = bytes.size();
    for (const int16_t value : values) append(value);
  }
  align();
  append(static_cast<uint32_t>(keys.size()));
  const size_t key_vector = bytes.size();
  for (const auto& [key, position] : keys) append(static_cast<uint32_t>(bytes.size() - position));
  append(static_cast<uint32_t>(bytes.size() - key_vector));
  append(uint32_t{4});
  append(static_cast<uint32_t>(keys.size()));
  const size_t map = bytes.size();
  std::string types;
  for (const auto& [key, position] : keys) {
    if (const auto number = numbers.find(key); number != numbers.end()) {
      append(static_cast<float>(number->second));
      types += static_cast<char>(3 << 2 | 2);
    } else {
      append(static_cast<uint32_t>(bytes.size() - targets[key]));
      types += static_cast<char>(11 << 2 | 1);
    }
  }
  bytes += types;
  append(static_cast<uint8_t>(bytes.size() - map));
  append(static_cast<uint8_t>(9 << 2 | 2));
  append(uint8_t{1});
  return bytes;
}

}  // namespace reenact::testing
