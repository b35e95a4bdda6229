#include "pipeline/weights/pt_file.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <deque>
#include <functional>
#include <limits>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "pipeline/weights/pickle.h"
#include "pipeline/weights/zip_index.h"

namespace reenact {
namespace {

using Kind = PickleValue::Kind;
using Id = PickleValue::Id;

static_assert(std::endian::native == std::endian::little);

constexpr size_t kMaxDepth = 32;
constexpr size_t kMaxDimensions = 64;
constexpr size_t kMaxNameSize = 1000;
constexpr size_t kMaxVisited = 1'000'000;
constexpr size_t kMaxTensors = 200'000;
constexpr size_t kMaxOthers = 1000;
constexpr size_t kMaxProblems = 50;
// Of compressed archives, which PyTorch does not write: enough for what people make by hand.
constexpr uint64_t kMaxUnpacked = uint64_t{4} << 30;
// The first pickle of the old form: the number 0x1950a86a20f9469cfc6c.
constexpr std::string_view kLegacyMagic = "\x6C\xFC\x9C\x46\xF9\x20\x6A\xA8\x50\x19";

absl::Status Invalid(absl::string_view problem) { return absl::InvalidArgumentError(problem); }

int64_t ElementSize(std::string_view dtype) {
  constexpr std::array<std::pair<std::string_view, int64_t>, 15> kSizes = {{{"F64", 8},
                                                                            {"F32", 4},
                                                                            {"F16", 2},
                                                                            {"BF16", 2},
                                                                            {"I64", 8},
                                                                            {"I32", 4},
                                                                            {"I16", 2},
                                                                            {"I8", 1},
                                                                            {"U64", 8},
                                                                            {"U32", 4},
                                                                            {"U16", 2},
                                                                            {"U8", 1},
                                                                            {"BOOL", 1},
                                                                            {"F8_E4M3", 1},
                                                                            {"F8_E5M2", 1}}};
  for (const auto& [name, size] : kSizes) {
    if (name == dtype) return size;
  }
  return 0;
}

// The bytes of a storage by its key; nullopt if there are none.
using Storages = std::function<absl::StatusOr<std::string_view>(const PickleValue& storage)>;

// Walks a graph and binds its tensors to their bytes.
class Collector {
 public:
  Collector(const PickleGraph& graph, const Storages& storages)
      : graph_(graph), storages_(storages) {}

  absl::StatusOr<PtFile> Run() {
    const PickleValue& root = graph_.at(graph_.root);
    if (root.kind == Kind::kTensor) {
      AddTensor("tensor", root);  // the file holds one tensor alone
    } else {
      file_.torchscript = root.kind == Kind::kObject && root.text.starts_with("__torch__");
      Walk(graph_.root, "", 0);
    }
    if (!problems_.empty()) {
      return Invalid(absl::StrCat(problems_.size(),
                                  problems_.size() == 1 ? " problem" : " problems",
                                  problems_.size() >= kMaxProblems ? " or more" : "", "\n  ",
                                  absl::StrJoin(problems_, "\n  ")));
    }
    if (file_.tensors.empty()) {
      if (root.kind == Kind::kObject) {
        return Invalid(absl::StrCat(
            "holds the Python object ", DescribePickleValue(root),
            " instead of a dictionary of tensors: save its state_dict() instead of itself"));
      }
      return Invalid(absl::StrCat("holds no tensors, but ", DescribePickleValue(root)));
    }
    return std::move(file_);
  }

 private:
  void Problem(std::string problem) {
    if (problems_.size() < kMaxProblems) problems_.push_back(std::move(problem));
  }

  void Walk(Id id, const std::string& name, size_t depth) {
    if (problems_.size() >= kMaxProblems) return;
    if (++visited_ > kMaxVisited) {
      if (visited_ == kMaxVisited + 1) Problem("its dictionaries have no end");
      return;
    }
    const PickleValue& value = graph_.at(id);
    const bool is_module = value.kind == Kind::kObject && value.text.starts_with("__torch__");
    if (value.kind != Kind::kDict && !is_module) {
      if (value.kind == Kind::kTensor) {
        AddTensor(name, value);
      } else if (!name.empty() && file_.others.size() < kMaxOthers) {
        file_.others[name] = DescribePickleValue(value);
      }
      return;
    }
    if (depth >= kMaxDepth) {
      return Problem(absl::StrCat(name.substr(0, 100), " is nested deeper than ", kMaxDepth));
    }
    for (size_t i = 0; i + 1 < value.items.size(); i += 2) {
      const PickleValue& key = graph_.at(value.items[i]);
      if (key.kind != Kind::kText) continue;
      std::string full = name.empty() ? std::string(key.text) : name + "." + std::string(key.text);
      if (full.size() > kMaxNameSize) {
        Problem(absl::StrCat("a name of ", full.size(), " bytes"));
        return;
      }
      Walk(value.items[i + 1], full, depth + 1);
    }
  }

  void AddTensor(const std::string& name, const PickleValue& value) {
    if (file_.tensors.size() >= kMaxTensors) return Problem("more tensors than any checkpoint has");
    auto tensor = Bind(value);
    if (!tensor.ok()) {
      return Problem(absl::StrCat(Printable(name), ": ", tensor.status().message()));
    }
    file_.tensors[name] =
        *std::move(tensor);  // a later one of the same name replaces, as in Python
  }

  std::optional<std::vector<int64_t>> Integers(Id id) const {
    std::vector<int64_t> integers;
    for (const Id item : graph_.at(id).items) {
      if (graph_.at(item).kind != Kind::kInt) return std::nullopt;
      integers.push_back(graph_.at(item).integer);
    }
    return integers;
  }

  absl::StatusOr<StoredTensor> Bind(const PickleValue& value) const {
    const PickleValue& storage = graph_.at(value.items[0]);
    const int64_t element_size = ElementSize(value.dtype);
    if (element_size == 0) {
      return Invalid(absl::StrCat(
          "its type (", Printable(value.dtype.empty() ? std::string_view("none") : value.dtype),
          ") is not supported"));
    }
    const size_t num_dimensions = graph_.at(value.items[1]).items.size();
    if (num_dimensions != graph_.at(value.items[2]).items.size()) {
      return Invalid("its shape and strides differ in length");
    }
    if (num_dimensions > kMaxDimensions) {
      return Invalid(absl::StrCat(num_dimensions, " dimensions"));
    }
    auto shape = Integers(value.items[1]), strides = Integers(value.items[2]);
    if (!shape.has_value() || !strides.has_value()) {
      return Invalid("its shape or strides are not integers");
    }
    const std::string shape_text = absl::StrCat("[", absl::StrJoin(*shape, ", "), "]");

    // What is in the storage, in elements of the tensor's type.
    if (storage.integer < 0 || storage.offset < 0)
      return Invalid("its storage has a negative size");
    const int64_t storage_element = storage.dtype.empty() ? 1 : ElementSize(storage.dtype);
    int64_t storage_bytes = 0, skipped_bytes = 0;
    if (storage_element == 0 ||
        __builtin_mul_overflow(storage.integer, storage_element, &storage_bytes) ||
        __builtin_mul_overflow(storage.offset, storage_element, &skipped_bytes)) {
      return Invalid("its storage's size overflows");
    }

    // Zero-sized dimensions are left out of the product, so that it also bounds what strides do.
    bool empty = false;
    int64_t count = 1, last = 0;
    for (size_t i = 0; i < num_dimensions; ++i) {
      const int64_t size = (*shape)[i], stride = (*strides)[i];
      if (size < 0 || stride < 0) {
        return Invalid(absl::StrCat("shape ", shape_text, " or strides [",
                                    absl::StrJoin(*strides, ", "), "] are negative"));
      }
      empty = empty || size == 0;
      int64_t reach = 0;
      if (size > 0 && (__builtin_mul_overflow(count, size, &count) ||
                       __builtin_mul_overflow(size - 1, stride, &reach) ||
                       __builtin_add_overflow(last, reach, &last))) {
        return Invalid(absl::StrCat("shape ", shape_text, " overflows"));
      }
    }
    int64_t unpacked_size = 0, end = 0;
    if (value.integer < 0 || __builtin_mul_overflow(count, element_size, &unpacked_size) ||
        __builtin_add_overflow(last, value.integer, &end) || __builtin_add_overflow(end, 1, &end) ||
        __builtin_mul_overflow(end, element_size, &end)) {
      return Invalid(
          absl::StrCat("shape ", shape_text, " at element ", value.integer, " overflows"));
    }
    StoredTensor tensor = {.dtype = value.dtype};
    tensor.shape = *std::move(shape);
    tensor.strides = *std::move(strides);
    if (empty) return tensor;
    if (end > storage_bytes) {
      return Invalid(absl::StrCat("shape ", shape_text, " with strides [",
                                  absl::StrJoin(tensor.strides, ", "), "] at element ",
                                  value.integer, " reaches to byte ", end, " of a storage of ",
                                  storage_bytes));
    }
    const auto bytes = storages_(storage);
    if (!bytes.ok()) return bytes.status();
    int64_t needed = 0;
    if (__builtin_add_overflow(skipped_bytes, storage_bytes, &needed) ||
        static_cast<uint64_t>(needed) > bytes->size()) {
      return Invalid(absl::StrCat("its storage ", Printable(storage.text), " has ", bytes->size(),
                                  " bytes in the file, and should have ", needed));
    }
    const int64_t begin = skipped_bytes + value.integer * element_size;
    tensor.bytes = bytes->substr(static_cast<size_t>(begin),
                                 static_cast<size_t>(end - value.integer * element_size));
    return tensor;
  }

  const PickleGraph& graph_;
  const Storages& storages_;
  PtFile file_;
  std::vector<std::string> problems_;
  size_t visited_ = 0;
};

absl::Status Within(absl::string_view what, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat(what, ": ", status.message()));
}

absl::StatusOr<PtFile> ParseZipForm(std::string_view bytes) {
  const auto entries = IndexZip(bytes);
  if (!entries.ok()) return entries.status();
  // One folder holds all; its name is the writer's choice. The outermost data.pkl is ours.
  std::string folder;
  const ZipEntry* pickle_entry = nullptr;
  for (const auto& [name, entry] : *entries) {
    const size_t slash = name.find('/');
    if (slash != std::string::npos && name.substr(slash + 1) == "data.pkl") {
      if (pickle_entry != nullptr) return Invalid("two folders with a data.pkl");
      folder = name.substr(0, slash + 1);
      pickle_entry = &entry;
    }
  }
  if (pickle_entry == nullptr) {
    return Invalid("a ZIP archive without FOLDER/data.pkl: not a PyTorch file");
  }
  const auto find = [&](const std::string& name) -> const ZipEntry* {
    const auto found = entries->find(folder + name);
    return found == entries->end() ? nullptr : &found->second;
  };
  if (const ZipEntry* order = find("byteorder"); order != nullptr) {
    const auto text = UnpackZipEntry(*order, 16);
    if (!text.ok()) return Within("byteorder", text.status());
    if (*text != "little") return Invalid("its numbers are not little-endian");
  }

  auto unpacked = std::make_shared<std::deque<std::string>>();
  auto pickle = UnpackZipEntry(*pickle_entry, kMaxPickleBytes);
  if (!pickle.ok()) return Within("data.pkl", pickle.status());
  unpacked->push_back(*std::move(pickle));
  const auto graph = ReadPickle(unpacked->front());
  if (!graph.ok()) return Within("data.pkl", graph.status());

  uint64_t total_unpacked = 0;
  std::map<std::string, std::string_view, std::less<>> opened;  // compressed storages
  const Storages storages = [&](const PickleValue& storage) -> absl::StatusOr<std::string_view> {
    const ZipEntry* entry = find("data/" + std::string(storage.text));
    const std::string shown = Printable(storage.text);
    if (entry == nullptr) return Invalid(absl::StrCat("its storage data/", shown, " is missing"));
    if (!entry->deflated) return entry->packed;
    if (const auto found = opened.find(storage.text); found != opened.end()) return found->second;
    auto content = UnpackZipEntry(*entry, kMaxUnpacked - total_unpacked);
    if (!content.ok()) return Within(absl::StrCat("data/", shown), content.status());
    total_unpacked += content->size();
    unpacked->push_back(*std::move(content));
    return opened[std::string(storage.text)] = unpacked->back();
  };
  auto file = Collector(*graph, storages).Run();
  if (file.ok()) file->unpacked = unpacked;
  return file;
}

// Four pickles (magic number, protocol, the writing system, the object), a list of storage keys,
// and each storage's number of elements and bytes.
absl::StatusOr<PtFile> ParseLegacyForm(std::string_view bytes, size_t at) {
  const auto next = [&](const char* what) -> absl::StatusOr<PickleGraph> {
    auto graph = ReadPickle(bytes.substr(at));
    if (!graph.ok()) return Within(what, graph.status());
    at += graph->end;
    return graph;
  };
  const auto protocol = next("its protocol number");
  if (!protocol.ok()) return protocol.status();
  if (protocol->at(protocol->root).kind != Kind::kInt ||
      protocol->at(protocol->root).integer != 1001) {
    return Invalid("of the old form, but not its protocol 1001");
  }
  const auto system = next("its system information");
  if (!system.ok()) return system.status();
  const std::vector<Id>& facts = system->at(system->root).items;
  for (size_t i = 0; i + 1 < facts.size(); i += 2) {
    if (system->at(facts[i]).text == "little_endian" && system->at(facts[i + 1]).integer == 0) {
      return Invalid("its numbers are not little-endian");
    }
  }
  const auto graph = next("its object");
  if (!graph.ok()) return graph.status();
  const auto keys = next("its list of storages");
  if (!keys.ok()) return keys.status();

  std::map<std::string_view, const PickleValue*> declared;
  for (const PickleValue& value : graph->values) {
    if (value.kind == Kind::kStorage) declared[value.text] = &value;
  }
  std::map<std::string_view, std::string_view> contents;
  for (const Id id : keys->at(keys->root).items) {
    const std::string_view key = keys->at(id).text;
    const std::string shown = Printable(key);
    const auto found = declared.find(key);
    if (found == declared.end())
      return Invalid(absl::StrCat("the storage ", shown, " has no type"));
    const std::string_view dtype = found->second->dtype;
    const int64_t element_size = dtype.empty() ? 1 : ElementSize(dtype);
    int64_t count = 0, size = 0;
    if (bytes.size() - at < sizeof(count)) {
      return Invalid(absl::StrCat("it ends before its storage ", shown));
    }
    std::memcpy(&count, bytes.data() + at, sizeof(count));
    at += sizeof(count);
    if (element_size == 0) {
      return Invalid(
          absl::StrCat("the storage ", shown, " has the unsupported type ", Printable(dtype)));
    }
    if (count < 0 || __builtin_mul_overflow(count, element_size, &size) ||
        static_cast<uint64_t>(size) > bytes.size() - at) {
      return Invalid(absl::StrCat("its storage ", shown, " of ", count,
                                  " elements ends behind the end of the file"));
    }
    contents[key] = bytes.substr(at, static_cast<size_t>(size));
    at += static_cast<size_t>(size);
  }
  const Storages storages = [&](const PickleValue& storage) -> absl::StatusOr<std::string_view> {
    const auto found = contents.find(storage.text);
    if (found == contents.end()) {
      return Invalid(absl::StrCat("its storage ", Printable(storage.text), " is missing"));
    }
    return found->second;
  };
  return Collector(*graph, storages).Run();
}

}  // namespace

bool LooksLikePt(std::string_view bytes) {
  return bytes.starts_with("PK\x03\x04") || bytes.starts_with('\x80');
}

absl::StatusOr<PtFile> ParsePt(std::string_view bytes) {
  if (bytes.empty()) return Invalid("the file is empty");
  if (bytes.starts_with("version https://git-lfs")) {
    return Invalid(
        "a Git LFS pointer instead of the weights: fetch the file itself (git lfs pull)");
  }
  if (bytes.starts_with("PK\x03\x04")) return ParseZipForm(bytes);
  if (bytes.size() > 262 && bytes.substr(257, 5) == "ustar") {
    return Invalid("the TAR form of PyTorch before 0.1.10: load and save it with a newer one");
  }
  if (bytes.starts_with('<')) return Invalid("begins like a web page, not like weights");
  if (!bytes.starts_with('\x80')) return Invalid("neither safetensors nor a PyTorch file");
  const auto magic = ReadPickle(bytes);
  if (!magic.ok()) return magic.status();
  const PickleValue& number = magic->at(magic->root);
  if (number.kind != Kind::kLong || number.text != kLegacyMagic) {
    return Invalid(
        absl::StrCat("a bare pickle (", DescribePickleValue(number), "), not a PyTorch file"));
  }
  return ParseLegacyForm(bytes, magic->end);
}

}  // namespace reenact
