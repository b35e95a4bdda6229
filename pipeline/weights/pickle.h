// A restricted reader of Python pickles (protocols 2 to 5), for the pickles in PyTorch's model
// files.
//
// A pickle is a program for a small stack machine, and the real machine can import any module and
// call any function. This one has no means to: names of functions and classes are only compared
// with the few whose effect on tensors and dictionaries it knows, and whatever a pickle says to do
// with another becomes a placeholder that says its name. Names from modules that run commands or
// code make the whole file an error, as no checkpoint has a reason to hold them.
//
// The result is a graph of plain values in one array, not a tree: pickles may share and even
// contain themselves, and nothing here recurses into them. Thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace reenact {

struct PickleValue {
  using Id = uint32_t;  // an index into PickleGraph::values
  enum class Kind {
    kNone,
    kBool,     // integer
    kInt,      // integer
    kLong,     // text: the two's complement little-endian bytes of a number beyond 64 bits
    kFloat,    // real
    kText,     // text, UTF-8 not checked
    kBytes,    // text
    kTuple,    // items
    kList,     // items
    kDict,     // items: key, value, key, value...; a later key of the same text replaces
    kGlobal,   // text: module, name: name
    kStorage,  // dtype; text: key; integer: number of elements; offset: of a view, in elements
    kTensor,   // items: storage, sizes, strides; integer: offset in elements; dtype if given
    kObject,   // text, name: class or function; items: its state as a dictionary's
  };

  Kind kind = Kind::kNone;
  int64_t integer = 0;
  int64_t offset = 0;
  double real = 0;
  std::string_view text = {}, name = {};  // into the pickle
  std::string_view dtype = {};  // as safetensors names it; "": bytes of an untyped storage
  std::vector<Id> items = {};
};

struct PickleGraph {
  std::vector<PickleValue> values;
  PickleValue::Id root = 0;
  size_t end = 0;  // how many bytes the pickle took

  const PickleValue& at(PickleValue::Id id) const { return values[id]; }
};

// Limits, far beyond what public checkpoints need.
inline constexpr size_t kMaxPickleBytes = size_t{64} << 20;
inline constexpr size_t kMaxPickleValues = 2'000'000;
inline constexpr size_t kMaxPickleStack = 200'000;

// Reads the pickle that `bytes` begin with; the result's texts point into `bytes`. kInvalidArgument
// says at which byte the pickle is damaged, uses an opcode beyond the allowed ones, or names a
// function that runs commands. kResourceExhausted: a limit above.
absl::StatusOr<PickleGraph> ReadPickle(std::string_view bytes);

// "a list", "numpy.dtype(...)": for messages, at most about 100 characters.
std::string DescribePickleValue(const PickleValue& value);

// A file's text for a message: escaped, and cut after 60 bytes.
std::string Printable(std::string_view text);

}  // namespace reenact
