#include "pipeline/weights/pickle.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace reenact {
namespace {

using Kind = PickleValue::Kind;
using Id = PickleValue::Id;

static_assert(std::endian::native == std::endian::little);

// Modules of functions that run commands, code or other pickles, open files or connections. The
// safety of this reader does not rest on the list: nothing is called in any case. It turns a
// file that tries into an error instead of an oddity.
bool IsDangerousModule(std::string_view module) {
  const std::string_view top = module.substr(0, module.find('.'));
  constexpr std::array<std::string_view, 30> kModules = {
      "os",        "posix",      "nt",
      "posixpath", "ntpath",     "subprocess",
      "pty",       "sys",        "socket",
      "shutil",    "runpy",      "importlib",
      "imp",       "ctypes",     "pickle",
      "_pickle",   "cPickle",    "marshal",
      "code",      "commands",   "popen2",
      "asyncio",   "webbrowser", "urllib",
      "requests",  "platform",   "multiprocessing",
      "pdb",       "timeit",     "bdb"};
  return std::find(kModules.begin(), kModules.end(), top) != kModules.end();
}

bool IsDangerousBuiltin(std::string_view module, std::string_view name) {
  if (module != "builtins" && module != "__builtin__" && module != "__builtins__") return false;
  constexpr std::array<std::string_view, 8> kNames = {
      "eval", "exec", "execfile", "compile", "__import__", "open", "input", "breakpoint"};
  return std::find(kNames.begin(), kNames.end(), name) != kNames.end();
}

struct StorageClass {
  std::string_view name, dtype;
};
constexpr std::array<StorageClass, 11> kStorageClasses = {{
    {"DoubleStorage", "F64"},
    {"FloatStorage", "F32"},
    {"HalfStorage", "F16"},
    {"BFloat16Storage", "BF16"},
    {"LongStorage", "I64"},
    {"IntStorage", "I32"},
    {"ShortStorage", "I16"},
    {"CharStorage", "I8"},
    {"ByteStorage", "U8"},
    {"BoolStorage", "BOOL"},
    {"UntypedStorage", ""},
}};
// torch.<name>, where a tensor over an untyped storage says its type itself.
constexpr std::array<StorageClass, 16> kDtypes = {{
    {"float64", "F64"},
    {"float32", "F32"},
    {"float16", "F16"},
    {"bfloat16", "BF16"},
    {"int64", "I64"},
    {"int32", "I32"},
    {"int16", "I16"},
    {"int8", "I8"},
    {"uint8", "U8"},
    {"uint16", "U16"},
    {"uint32", "U32"},
    {"uint64", "U64"},
    {"bool", "BOOL"},
    {"float8_e4m3fn", "F8_E4M3"},
    {"float8_e5m2", "F8_E5M2"},
    {"float", "F32"},
}};

class Machine {
 public:
  explicit Machine(std::string_view bytes) : bytes_(bytes) {}

  absl::StatusOr<PickleGraph> Run() {
    while (!stopped_) {
      opcode_at_ = at_;
      uint8_t opcode = 0;
      if (!Take(&opcode)) return Bad("it ends without STOP");
      if (graph_.values.size() > kMaxPickleValues || stack_.size() > kMaxPickleStack ||
          marks_.size() > kMaxPickleStack || num_items_ > 4 * kMaxPickleValues ||
          at_ > kMaxPickleBytes) {
        return absl::ResourceExhaustedError(
            absl::StrCat("pickle, byte ", opcode_at_, ": larger than any checkpoint's"));
      }
      if (absl::Status status = Execute(opcode); !status.ok()) return status;
    }
    graph_.end = at_;
    return std::move(graph_);
  }

 private:
  absl::Status Bad(absl::string_view problem) const {
    return absl::InvalidArgumentError(
        absl::StrCat("damaged pickle, byte ", opcode_at_, ": ", problem));
  }

  // --- Bytes ---

  template <typename T>
  bool Take(T* value) {
    if (bytes_.size() - at_ < sizeof(T)) return false;
    std::memcpy(value, bytes_.data() + at_, sizeof(T));
    at_ += sizeof(T);
    return true;
  }
  // A number of bytes in a LengthType, then as many bytes.
  template <typename LengthType>
  absl::StatusOr<std::string_view> TakeText() {
    LengthType length = 0;
    if (!Take(&length)) return Bad("it ends inside an opcode");
    if (length > bytes_.size() - at_) {
      return Bad(absl::StrCat("a text of ", length, " bytes, longer than the file"));
    }
    const std::string_view text = bytes_.substr(at_, length);
    at_ += length;
    return text;
  }
  absl::StatusOr<std::string_view> TakeLine() {
    const size_t end = bytes_.find('\n', at_);
    if (end == std::string_view::npos) return Bad("it ends inside a name");
    const std::string_view line = bytes_.substr(at_, end - at_);
    at_ = end + 1;
    return line;
  }

  // --- Values and the stack ---

  PickleValue& value(Id id) { return graph_.values[id]; }
  Id Add(PickleValue value) {
    num_items_ += value.items.size();
    graph_.values.push_back(std::move(value));
    return static_cast<Id>(graph_.values.size() - 1);
  }
  void Push(PickleValue value) { stack_.push_back(Add(std::move(value))); }
  void PushInt(int64_t integer) { Push({.kind = Kind::kInt, .integer = integer}); }

  // Values above the last mark.
  size_t NumAboveMark() const { return stack_.size() - (marks_.empty() ? 0 : marks_.back()); }
  absl::StatusOr<Id> Pop() {
    if (NumAboveMark() == 0) return Bad("the stack is empty");
    const Id top = stack_.back();
    stack_.pop_back();
    return top;
  }
  // Everything above the last mark, and the mark.
  absl::StatusOr<std::vector<Id>> PopMark() {
    if (marks_.empty()) return Bad("there is no MARK");
    std::vector<Id> items(stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back()),
                          stack_.end());
    stack_.resize(marks_.back());
    marks_.pop_back();
    return items;
  }
  absl::Status MakeTuple(size_t size) {
    if (NumAboveMark() < size) return Bad("the stack is empty");
    PickleValue tuple = {.kind = Kind::kTuple};
    tuple.items.assign(stack_.end() - static_cast<std::ptrdiff_t>(size), stack_.end());
    stack_.resize(stack_.size() - size);
    Push(std::move(tuple));
    return absl::OkStatus();
  }
  absl::Status Append(const std::vector<Id>& items, bool pairs) {
    if (NumAboveMark() == 0) return Bad("the stack is empty");
    PickleValue& target = value(stack_.back());
    if (target.kind == Kind::kObject) return absl::OkStatus();  // a placeholder keeps nothing
    if (target.kind != (pairs ? Kind::kDict : Kind::kList)) {
      return Bad(absl::StrCat("it adds an item to ", DescribePickleValue(target)));
    }
    if (pairs && items.size() % 2 != 0) return Bad("a key without a value");
    target.items.insert(target.items.end(), items.begin(), items.end());
    num_items_ += items.size();
    return absl::OkStatus();
  }
  absl::Status Memoize(uint64_t index) {
    if (index >= kMaxPickleValues) return Bad(absl::StrCat("the memo has no place ", index));
    if (NumAboveMark() == 0) return Bad("the stack is empty");
    if (index >= memo_.size()) memo_.resize(index + 1);
    memo_[index] = stack_.back();
    return absl::OkStatus();
  }
  absl::Status Recall(uint64_t index) {
    if (index >= memo_.size() || !memo_[index].has_value()) {
      return Bad(absl::StrCat("the memo has nothing at ", index));
    }
    stack_.push_back(*memo_[index]);
    return absl::OkStatus();
  }

  // --- What a pickle asks to have called ---

  absl::Status PushGlobal(std::string_view module, std::string_view name) {
    if (IsDangerousModule(module) || IsDangerousBuiltin(module, name)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "the pickle names ", Printable(module), ".", Printable(name),
          ", which runs commands or code when such a file is loaded by Python: a hostile file. "
          "Nothing was executed"));
    }
    Push({.kind = Kind::kGlobal, .text = module, .name = name});
    return absl::OkStatus();
  }

  bool Is(Id id, std::string_view module, std::string_view name) {
    const PickleValue& global = value(id);
    return global.kind == Kind::kGlobal && global.text == module && global.name == name;
  }

  PickleValue Placeholder(Id callable) {
    const PickleValue& of = value(callable);
    const bool named = of.kind == Kind::kGlobal || of.kind == Kind::kObject;
    return {.kind = Kind::kObject,
            .text = named ? of.text : std::string_view(),
            .name = named ? of.name : std::string_view("object")};
  }

  // OrderedDict() and OrderedDict([(key, value), ...]).
  absl::StatusOr<Id> MakeDict(const std::vector<Id>& arguments) {
    PickleValue dict = {.kind = Kind::kDict};
    if (!arguments.empty()) {
      const PickleValue& pairs = value(arguments[0]);
      if (pairs.kind == Kind::kDict) {
        dict.items = pairs.items;
      } else {
        if (pairs.kind != Kind::kList && pairs.kind != Kind::kTuple) {
          return Bad("an OrderedDict that is not made of pairs");
        }
        for (const Id id : pairs.items) {
          const PickleValue& pair = value(id);
          if (pair.items.size() != 2) return Bad("an OrderedDict that is not made of pairs");
          dict.items.insert(dict.items.end(), pair.items.begin(), pair.items.end());
        }
      }
    }
    return Add(std::move(dict));
  }

  // _rebuild_tensor(storage, offset, size, stride), _v2 (..., requires_grad, hooks) and _v3
  // (..., dtype). Whether the numbers make sense is checked where the storage's bytes are known.
  absl::StatusOr<Id> MakeTensor(const std::vector<Id>& arguments, bool has_dtype) {
    if (arguments.size() < (has_dtype ? 7 : 4)) return Bad("a tensor with too few arguments");
    if (value(arguments[0]).kind != Kind::kStorage) {
      return Bad(absl::StrCat("a tensor over ", DescribePickleValue(value(arguments[0])),
                              " instead of a storage"));
    }
    const PickleValue& offset = value(arguments[1]);
    const PickleValue &size = value(arguments[2]), &stride = value(arguments[3]);
    const auto is_sequence = [](const PickleValue& v) {
      return v.kind == Kind::kTuple || v.kind == Kind::kList;
    };
    if (offset.kind != Kind::kInt || !is_sequence(size) || !is_sequence(stride)) {
      return Bad("a tensor whose offset, size or stride is not of integers");
    }
    PickleValue tensor = {.kind = Kind::kTensor, .integer = offset.integer};
    tensor.items = {arguments[0], arguments[2], arguments[3]};
    tensor.dtype = value(arguments[0]).dtype;
    if (has_dtype) {
      const PickleValue& dtype = value(arguments[6]);
      const auto found = std::find_if(kDtypes.begin(), kDtypes.end(), [&](const StorageClass& d) {
        return dtype.kind == Kind::kGlobal && dtype.text == "torch" && d.name == dtype.name;
      });
      if (found == kDtypes.end()) {
        return Add({.kind = Kind::kObject, .text = "torch", .name = "Tensor of an unknown dtype"});
      }
      tensor.dtype = found->dtype;
    }
    return Add(std::move(tensor));
  }

  absl::StatusOr<Id> Call(Id callable, Id arguments_id) {
    if (value(arguments_id).kind != Kind::kTuple) return Bad("arguments that are not a tuple");
    // A copy: adding values moves the array.
    const std::vector<Id> arguments = value(arguments_id).items;
    if (Is(callable, "collections", "OrderedDict")) return MakeDict(arguments);
    if (Is(callable, "torch._utils", "_rebuild_tensor") ||
        Is(callable, "torch._utils", "_rebuild_tensor_v2")) {
      return MakeTensor(arguments, /*has_dtype=*/false);
    }
    if (Is(callable, "torch._utils", "_rebuild_tensor_v3")) {
      return MakeTensor(arguments, /*has_dtype=*/true);
    }
    if (Is(callable, "torch._utils", "_rebuild_parameter") ||
        Is(callable, "torch._utils", "_rebuild_parameter_with_state")) {
      if (arguments.empty()) return Bad("a parameter without a tensor");
      return arguments[0];
    }
    // (function, type, arguments, state): a tensor with attributes of its own.
    if (Is(callable, "torch._tensor", "_rebuild_from_type_v2") && arguments.size() >= 3 &&
        !Is(arguments[0], "torch._tensor", "_rebuild_from_type_v2")) {
      return Call(arguments[0], arguments[2]);
    }
    const bool passes_on = Is(callable, "torch", "Size") ||
                           Is(callable, "torch.jit._pickle", "build_intlist") ||
                           Is(callable, "torch.jit._pickle", "build_tensorlist") ||
                           Is(callable, "torch.jit._pickle", "build_doublelist") ||
                           Is(callable, "torch.jit._pickle", "build_boollist");
    if (passes_on && arguments.size() == 1) return arguments[0];
    return Add(Placeholder(callable));
  }

  // ('storage', class, key, location, number of elements [, view]).
  absl::Status PushStorage(Id id) {
    const std::vector<Id> items = value(id).items;
    if (value(id).kind != Kind::kTuple || items.size() < 5 || value(items[0]).text != "storage") {
      return Bad("a reference to something that is not a storage");
    }
    const PickleValue &type = value(items[1]), &key = value(items[2]), &count = value(items[4]);
    if (type.kind != Kind::kGlobal || key.kind != Kind::kText || count.kind != Kind::kInt) {
      return Bad("a storage without class, key or number of elements");
    }
    if (type.text != "torch" && type.text != "torch.storage" && type.text != "torch.cuda") {
      return Bad(absl::StrCat("the storage class ", DescribePickleValue(type), " is unknown"));
    }
    const auto found =
        std::find_if(kStorageClasses.begin(), kStorageClasses.end(),
                     [&](const StorageClass& storage) { return storage.name == type.name; });
    PickleValue storage = {.kind = Kind::kStorage, .integer = count.integer, .text = key.text};
    // Complex and quantised numbers: only an error if such a tensor is wanted.
    storage.dtype = found != kStorageClasses.end() ? found->dtype : type.name;
    if (items.size() > 5 && value(items[5]).kind == Kind::kTuple) {
      // (key of the view, offset, number of elements) of the oldest files.
      const std::vector<Id>& view = value(items[5]).items;
      if (view.size() != 3 || value(view[1]).kind != Kind::kInt) return Bad("a bad storage view");
      storage.offset = value(view[1]).integer;
    }
    Push(std::move(storage));
    return absl::OkStatus();
  }

  // Gives an object its state. Dictionaries have none that matters (_metadata).
  absl::Status Build(Id object, Id state) {
    if (value(object).kind == Kind::kObject && value(state).kind == Kind::kDict) {
      value(object).items = value(state).items;
      num_items_ += value(object).items.size();
    }
    return absl::OkStatus();
  }

  absl::Status PushLong(std::string_view bytes) {
    if (bytes.size() > sizeof(int64_t)) {
      Push({.kind = Kind::kLong, .text = bytes});
      return absl::OkStatus();
    }
    const bool negative = !bytes.empty() && (static_cast<uint8_t>(bytes.back()) & 0x80) != 0;
    int64_t number = negative ? -1 : 0;
    if (!bytes.empty()) std::memcpy(&number, bytes.data(), bytes.size());
    PushInt(number);
    return absl::OkStatus();
  }

  absl::Status PushText(const absl::StatusOr<std::string_view>& text, Kind kind) {
    if (!text.ok()) return text.status();
    Push({.kind = kind, .text = *text});
    return absl::OkStatus();
  }

  template <typename T>
  absl::Status PushNumber() {
    T number = 0;
    if (!Take(&number)) return Bad("it ends inside an opcode");
    PushInt(static_cast<int64_t>(number));
    return absl::OkStatus();
  }

  // An opcode with an index of the memo.
  template <typename T>
  absl::Status WithIndex(absl::Status (Machine::*use)(uint64_t)) {
    T index = 0;
    if (!Take(&index)) return Bad("it ends inside an opcode");
    return (this->*use)(index);
  }

  absl::Status CallTop(bool with_keywords) {
    if (with_keywords) {
      if (auto keywords = Pop(); !keywords.ok()) return keywords.status();
    }
    const auto arguments = Pop();
    if (!arguments.ok()) return arguments.status();
    const auto callable = Pop();
    if (!callable.ok()) return callable.status();
    const auto result = Call(*callable, *arguments);
    if (!result.ok()) return result.status();
    stack_.push_back(*result);
    return absl::OkStatus();
  }

  absl::Status Execute(uint8_t opcode);

  const std::string_view bytes_;
  size_t at_ = 0, opcode_at_ = 0;
  bool stopped_ = false;
  PickleGraph graph_;
  size_t num_items_ = 0;
  std::vector<Id> stack_;
  std::vector<size_t> marks_;  // heights of the stack
  std::vector<std::optional<Id>> memo_;
};

absl::Status Machine::Execute(uint8_t opcode) {
  switch (opcode) {
    case 0x80: {  // PROTO
      uint8_t protocol = 0;
      if (!Take(&protocol)) return Bad("it ends inside an opcode");
      if (protocol < 2 || protocol > 5) return Bad(absl::StrCat("protocol ", protocol));
      return absl::OkStatus();
    }
    case 0x95: {  // FRAME
      uint64_t size = 0;
      if (!Take(&size)) return Bad("it ends inside an opcode");
      return absl::OkStatus();
    }
    case '.': {  // STOP
      const auto root = Pop();
      if (!root.ok()) return root.status();
      if (!stack_.empty() || !marks_.empty()) return Bad("it stops with values left over");
      graph_.root = *root;
      stopped_ = true;
      return absl::OkStatus();
    }
    case '(':
      marks_.push_back(stack_.size());
      return absl::OkStatus();
    case '0':  // POP
      if (NumAboveMark() == 0) return PopMark().status();
      stack_.pop_back();
      return absl::OkStatus();
    case '1':  // POP_MARK
      return PopMark().status();
    case '2':  // DUP
      if (NumAboveMark() == 0) return Bad("the stack is empty");
      stack_.push_back(stack_.back());
      return absl::OkStatus();

    case 'N':
      Push({.kind = Kind::kNone});
      return absl::OkStatus();
    case 0x88:  // NEWTRUE
    case 0x89:  // NEWFALSE
      Push({.kind = Kind::kBool, .integer = opcode == 0x88});
      return absl::OkStatus();
    case 'J':
      return PushNumber<int32_t>();
    case 'K':
      return PushNumber<uint8_t>();
    case 'M':
      return PushNumber<uint16_t>();
    case 0x8A: {  // LONG1
      const auto number = TakeText<uint8_t>();
      return number.ok() ? PushLong(*number) : number.status();
    }
    case 0x8B: {  // LONG4
      const auto number = TakeText<uint32_t>();
      return number.ok() ? PushLong(*number) : number.status();
    }
    case 'G': {  // BINFLOAT, big-endian
      uint64_t bits = 0;
      if (!Take(&bits)) return Bad("it ends inside an opcode");
      Push({.kind = Kind::kFloat, .real = std::bit_cast<double>(__builtin_bswap64(bits))});
      return absl::OkStatus();
    }

    case 'X':  // BINUNICODE
    case 'T':  // BINSTRING, Python 2's str
      return PushText(TakeText<uint32_t>(), Kind::kText);
    case 0x8C:  // SHORT_BINUNICODE
    case 'U':   // SHORT_BINSTRING
      return PushText(TakeText<uint8_t>(), Kind::kText);
    case 0x8D:  // BINUNICODE8
      return PushText(TakeText<uint64_t>(), Kind::kText);
    case 'B':
      return PushText(TakeText<uint32_t>(), Kind::kBytes);
    case 'C':
      return PushText(TakeText<uint8_t>(), Kind::kBytes);
    case 0x8E:  // BINBYTES8
    case 0x96:  // BYTEARRAY8
      return PushText(TakeText<uint64_t>(), Kind::kBytes);

    case ')':
      return MakeTuple(0);
    case 0x85:
      return MakeTuple(1);
    case 0x86:
      return MakeTuple(2);
    case 0x87:
      return MakeTuple(3);
    case 't':     // TUPLE
    case 'l':     // LIST
    case 'd':     // DICT
    case 0x91: {  // FROZENSET
      auto items = PopMark();
      if (!items.ok()) return items.status();
      if (opcode == 'd' && items->size() % 2 != 0) return Bad("a key without a value");
      PickleValue container = {.kind = opcode == 'd'   ? Kind::kDict
                                       : opcode == 't' ? Kind::kTuple
                                                       : Kind::kList};
      container.items = *std::move(items);
      Push(std::move(container));
      return absl::OkStatus();
    }
    case ']':
    case 0x8F:  // EMPTY_SET
      Push({.kind = Kind::kList});
      return absl::OkStatus();
    case '}':
      Push({.kind = Kind::kDict});
      return absl::OkStatus();
    case 'a': {  // APPEND
      const auto item = Pop();
      return item.ok() ? Append({*item}, /*pairs=*/false) : item.status();
    }
    case 's': {  // SETITEM
      const auto item = Pop();
      if (!item.ok()) return item.status();
      const auto key = Pop();
      return key.ok() ? Append({*key, *item}, /*pairs=*/true) : key.status();
    }
    case 'e':    // APPENDS
    case 0x90:   // ADDITEMS
    case 'u': {  // SETITEMS
      const auto items = PopMark();
      return items.ok() ? Append(*items, /*pairs=*/opcode == 'u') : items.status();
    }

    case 'q':
      return WithIndex<uint8_t>(&Machine::Memoize);
    case 'r':
      return WithIndex<uint32_t>(&Machine::Memoize);
    case 0x94:  // MEMOIZE
      return Memoize(memo_.size());
    case 'h':
      return WithIndex<uint8_t>(&Machine::Recall);
    case 'j':
      return WithIndex<uint32_t>(&Machine::Recall);

    case 'c': {  // GLOBAL
      const auto module = TakeLine();
      if (!module.ok()) return module.status();
      const auto name = TakeLine();
      return name.ok() ? PushGlobal(*module, *name) : name.status();
    }
    case 0x93: {  // STACK_GLOBAL
      const auto name = Pop();
      if (!name.ok()) return name.status();
      const auto module = Pop();
      if (!module.ok()) return module.status();
      if (value(*name).kind != Kind::kText || value(*module).kind != Kind::kText) {
        return Bad("a name that is not a text");
      }
      return PushGlobal(value(*module).text, value(*name).text);
    }
    case 'R':   // REDUCE
    case 0x81:  // NEWOBJ
      return CallTop(/*with_keywords=*/false);
    case 0x92:  // NEWOBJ_EX
      return CallTop(/*with_keywords=*/true);
    case 'b': {  // BUILD
      const auto state = Pop();
      if (!state.ok()) return state.status();
      if (NumAboveMark() == 0) return Bad("the stack is empty");
      return Build(stack_.back(), *state);
    }
    case 'Q': {  // BINPERSID
      const auto id = Pop();
      return id.ok() ? PushStorage(*id) : id.status();
    }
    default:
      return Bad(absl::StrCat("opcode 0x", absl::Hex(opcode, absl::kZeroPad2),
                              ", which model files do not use"));
  }
}

}  // namespace

absl::StatusOr<PickleGraph> ReadPickle(std::string_view bytes) { return Machine(bytes).Run(); }

std::string Printable(std::string_view text) {
  constexpr size_t kMax = 60;
  const std::string escaped =
      absl::CHexEscape(absl::string_view(text.data(), std::min(text.size(), kMax)));
  return text.size() > kMax ? escaped + "..." : escaped;
}

std::string DescribePickleValue(const PickleValue& value) {
  switch (value.kind) {
    case Kind::kNone:
      return "None";
    case Kind::kBool:
      return value.integer != 0 ? "True" : "False";
    case Kind::kInt:
      return absl::StrCat("the number ", value.integer);
    case Kind::kLong:
      return "a long number";
    case Kind::kFloat:
      return absl::StrCat("the number ", value.real);
    case Kind::kText:
      return absl::StrCat("the text \"", Printable(value.text), "\"");
    case Kind::kBytes:
      return "bytes";
    case Kind::kTuple:
      return absl::StrCat("a tuple of ", value.items.size());
    case Kind::kList:
      return absl::StrCat("a list of ", value.items.size());
    case Kind::kDict:
      return absl::StrCat("a dictionary of ", value.items.size() / 2);
    case Kind::kGlobal:
      return absl::StrCat(Printable(value.text), ".", Printable(value.name));
    case Kind::kStorage:
      return "a storage";
    case Kind::kTensor:
      return "a tensor";
    case Kind::kObject:
      return absl::StrCat(Printable(value.text), ".", Printable(value.name), "(...)");
  }
  return "";
}

}  // namespace reenact
