#include "pipeline/weights/safetensors.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "nlohmann/json.hpp"

namespace reenact {
namespace {

using nlohmann::json;

constexpr uint64_t kLengthBytes = 8;
constexpr uint64_t kMaxHeader = 100'000'000;

struct Dtype {
  const char* name;
  torch::ScalarType type;
};
constexpr std::array<Dtype, 13> kDtypes = {{
    {"F64", torch::kFloat64},
    {"I64", torch::kInt64},
    {"U64", torch::kUInt64},
    {"F32", torch::kFloat32},
    {"I32", torch::kInt32},
    {"U32", torch::kUInt32},
    {"BF16", torch::kBFloat16},
    {"F16", torch::kFloat16},
    {"I16", torch::kInt16},
    {"U16", torch::kUInt16},
    {"I8", torch::kInt8},
    {"U8", torch::kUInt8},
    {"BOOL", torch::kBool},
}};
constexpr std::array<Dtype, 2> kFloat8 = {{
    {"F8_E4M3", torch::kFloat8_e4m3fn},
    {"F8_E5M2", torch::kFloat8_e5m2},
}};

std::optional<torch::ScalarType> TypeOf(std::string_view name) {
  for (const Dtype& dtype : kDtypes) {
    if (name == dtype.name) return dtype.type;
  }
  for (const Dtype& dtype : kFloat8) {
    if (name == dtype.name) return dtype.type;
  }
  return std::nullopt;
}

const char* NameOf(torch::ScalarType type) {
  for (const Dtype& dtype : kDtypes) {
    if (type == dtype.type) return dtype.name;
  }
  for (const Dtype& dtype : kFloat8) {
    if (type == dtype.type) return dtype.name;
  }
  return nullptr;
}

struct Entry {
  std::string name;
  std::string dtype;
  std::vector<int64_t> shape;
  std::vector<uint64_t> offsets;  // begin, end
  bool has_dtype = false, has_shape = false, has_offsets = false;
};

struct Header {
  std::vector<Entry> entries;
  std::map<std::string, std::string> metadata;
};

// Receives the header's JSON piece by piece, so that its depth and its keys are checked while it is
// read: a generic document would keep only the last of two equal keys, and would hold whatever
// nesting the file contains.
class HeaderReader : public json::json_sax_t {
 public:
  Header header;
  std::string error;

  bool null() override { return Unexpected("null"); }
  bool boolean(bool) override { return Unexpected("a boolean"); }
  bool number_integer(json::number_integer_t) override { return Unexpected("a negative number"); }
  bool number_float(json::number_float_t, const std::string& text) override {
    return Unexpected(absl::StrCat("the number ", text));
  }
  bool binary(json::binary_t&) override { return Unexpected("binary data"); }

  bool number_unsigned(json::number_unsigned_t value) override {
    if (state_ == State::kShape) {
      if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
        return Fail("has a dimension above 2^63");
      }
      entry_.shape.push_back(static_cast<int64_t>(value));
      return true;
    }
    if (state_ == State::kOffsets) {
      if (entry_.offsets.size() == 2) return Fail("has more than two data_offsets");
      entry_.offsets.push_back(value);
      return true;
    }
    return Unexpected("a number");
  }

  bool string(std::string& value) override {
    if (state_ == State::kMetadata) {
      header.metadata[key_] = value;
      return true;
    }
    if (state_ == State::kEntry && key_ == "dtype") {
      entry_.dtype = value;
      return true;
    }
    return Unexpected("a string");
  }

  bool start_object(size_t) override {
    switch (state_) {
      case State::kStart:
        state_ = State::kTop;
        return true;
      case State::kTop:
        state_ = key_ == "__metadata__" ? State::kMetadata : State::kEntry;
        entry_ = Entry();
        entry_.name = key_;
        return true;
      default:
        return Unexpected("an object");
    }
  }

  bool key(std::string& name) override {
    key_ = name;
    switch (state_) {
      case State::kTop:
        if (!names_.insert(name).second) return Fail("occurs twice", name);
        return true;
      case State::kMetadata:
        if (header.metadata.contains(name)) {
          error = absl::StrCat("the metadata key \"", name, "\" occurs twice");
          return false;
        }
        return true;
      case State::kEntry: {
        bool* seen = name == "dtype"          ? &entry_.has_dtype
                     : name == "shape"        ? &entry_.has_shape
                     : name == "data_offsets" ? &entry_.has_offsets
                                              : nullptr;
        if (seen == nullptr) return Fail(absl::StrCat("has an unknown field \"", name, "\""));
        if (*seen) return Fail(absl::StrCat("has its ", name, " twice"));
        *seen = true;
        return true;
      }
      default:
        return Unexpected("a key");
    }
  }

  bool end_object() override {
    if (state_ == State::kEntry) {
      if (!entry_.has_dtype || !entry_.has_shape || !entry_.has_offsets) {
        return Fail("lacks its dtype, shape or data_offsets");
      }
      if (entry_.offsets.size() != 2) return Fail("has fewer than two data_offsets");
      header.entries.push_back(std::move(entry_));
    }
    state_ = state_ == State::kTop ? State::kEnd : State::kTop;
    return true;
  }

  bool start_array(size_t) override {
    if (state_ != State::kEntry || (key_ != "shape" && key_ != "data_offsets")) {
      return Unexpected("an array");
    }
    state_ = key_ == "shape" ? State::kShape : State::kOffsets;
    return true;
  }
  bool end_array() override {
    state_ = State::kEntry;
    return true;
  }

  bool parse_error(size_t position, const std::string&, const json::exception&) override {
    error = absl::StrCat("the header is not valid JSON at byte ", position);
    return false;
  }

 private:
  enum class State { kStart, kTop, kMetadata, kEntry, kShape, kOffsets, kEnd };

  bool Fail(const std::string& problem) { return Fail(problem, entry_.name); }
  bool Fail(const std::string& problem, const std::string& name) {
    error = absl::StrCat("tensor \"", name, "\" ", problem);
    return false;
  }
  bool Unexpected(const std::string& what) {
    error = absl::StrCat("the header has ", what, " where it may not be (at \"", key_, "\")");
    return false;
  }

  State state_ = State::kStart;
  std::string key_;
  Entry entry_;
  std::set<std::string> names_;
};

absl::Status Invalid(const std::string& problem) { return absl::InvalidArgumentError(problem); }

absl::StatusOr<uint64_t> ByteCount(const Entry& entry, uint64_t element_size) {
  uint64_t count = 1, bytes = 0;
  // Dimensions of size 0 are left out of the overflow check's product, so that what remains is also
  // safe for computing strides.
  bool empty = false;
  for (int64_t size : entry.shape) {
    if (size == 0) {
      empty = true;
    } else if (__builtin_mul_overflow(count, static_cast<uint64_t>(size), &count)) {
      return Invalid(absl::StrCat("tensor \"", entry.name, "\" has a shape whose size overflows"));
    }
  }
  if (__builtin_mul_overflow(count, element_size, &bytes) ||
      bytes > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
    return Invalid(absl::StrCat("tensor \"", entry.name, "\" has a shape whose size overflows"));
  }
  return empty ? 0 : bytes;
}

// Copies `size` bytes at `offset` of the file to `destination`.
using Source = std::function<absl::Status(uint64_t offset, void* destination, uint64_t size)>;

// A tensor over the file's own memory at `offset`; undefined if it has to be copied.
using View = std::function<torch::Tensor(uint64_t offset, const std::vector<int64_t>& shape,
                                         torch::ScalarType type)>;

absl::StatusOr<SafetensorsFile> Read(uint64_t file_size, const Source& source,
                                     const View& view = nullptr) {
  if (file_size < kLengthBytes) return Invalid("shorter than the 8 bytes of the header's length");
  uint64_t length = 0;
  static_assert(std::endian::native == std::endian::little);
  if (absl::Status status = source(0, &length, kLengthBytes); !status.ok()) return status;
  if (length > kMaxHeader || length > file_size - kLengthBytes) {
    return Invalid(absl::StrCat("claims a header of ", length, " bytes in a file of ", file_size));
  }

  std::string text(length, '\0');
  if (absl::Status status = source(kLengthBytes, text.data(), length); !status.ok()) return status;
  if (!text.starts_with('{')) return Invalid("the header does not start with {");
  // The JSON reader takes a NUL for the end of the text, and would not look at what follows.
  if (text.find('\0') != std::string::npos) return Invalid("the header has a NUL byte");
  HeaderReader reader;
  if (!json::sax_parse(text, &reader)) return Invalid(reader.error);
  std::vector<Entry>& entries = reader.header.entries;

  // All of the layout is checked before the first tensor is allocated.
  std::sort(entries.begin(), entries.end(),
            [](const Entry& a, const Entry& b) { return a.offsets < b.offsets; });
  const uint64_t data_size = file_size - kLengthBytes - length;
  uint64_t position = 0;
  std::vector<torch::ScalarType> types;
  for (const Entry& entry : entries) {
    const auto type = TypeOf(entry.dtype);
    if (!type.has_value()) {
      return Invalid(
          absl::StrCat("tensor \"", entry.name, "\" has the unknown dtype \"", entry.dtype, "\""));
    }
    types.push_back(*type);
    const auto bytes = ByteCount(entry, torch::elementSize(*type));
    if (!bytes.ok()) return bytes.status();
    const uint64_t begin = entry.offsets[0], end = entry.offsets[1];
    if (begin != position) {
      return Invalid(absl::StrCat("tensor \"", entry.name, "\" begins at ", begin,
                                  " of the data, where ", position, " was due"));
    }
    if (end < begin || end > data_size) {
      return Invalid(absl::StrCat("tensor \"", entry.name, "\" ends at ", end, " of ", data_size,
                                  " bytes of data, having begun at ", begin));
    }
    if (end - begin != *bytes) {
      return Invalid(absl::StrCat("tensor \"", entry.name, "\" has ", end - begin,
                                  " bytes, and its shape needs ", *bytes));
    }
    position = end;
  }
  if (position != data_size) {
    return Invalid(absl::StrCat(data_size - position, " bytes follow the last tensor"));
  }

  SafetensorsFile file;
  file.metadata = std::move(reader.header.metadata);
  for (size_t i = 0; i < entries.size(); ++i) {
    const Entry& entry = entries[i];
    const uint64_t offset = kLengthBytes + length + entry.offsets[0];
    torch::Tensor tensor;
    try {
      if (view != nullptr) tensor = view(offset, entry.shape, types[i]);
      if (!tensor.defined()) {
        tensor = torch::empty(entry.shape, types[i]);
        absl::Status status =
            source(offset, tensor.data_ptr(), entry.offsets[1] - entry.offsets[0]);
        if (!status.ok()) return status;
      }
    } catch (const std::exception&) {
      return absl::ResourceExhaustedError(
          absl::StrCat("no memory for tensor \"", entry.name, "\""));
    }
    if (types[i] == torch::kBool) {
      // A bool that is neither 0 nor 1 is undefined behaviour to read.
      const auto* bytes = static_cast<const uint8_t*>(tensor.data_ptr());
      if (std::any_of(bytes, bytes + tensor.numel(), [](uint8_t b) { return b > 1; })) {
        return Invalid(absl::StrCat("tensor \"", entry.name, "\" has a BOOL that is not 0 or 1"));
      }
    }
    file.tensors.emplace(entry.name, std::move(tensor));
  }
  return file;
}

absl::Status Annotate(const absl::Status& status, const std::string& path) {
  if (status.ok()) return status;
  return absl::Status(status.code(), absl::StrCat(path, ": ", status.message()));
}

absl::Status ErrnoStatus(const std::string& doing) {
  const int error = errno;
  return absl::ErrnoToStatus(error, doing);
}

Source SourceOf(std::string_view bytes) {
  return [bytes](uint64_t offset, void* destination, uint64_t size) {
    // memcpy may not be given a null pointer, which an empty tensor has.
    if (size > 0) std::memcpy(destination, bytes.data() + offset, size);
    return absl::OkStatus();
  };
}

// Writes all of `size` bytes.
absl::Status WriteAll(int fd, uint64_t offset, const void* data, size_t size) {
  const char* bytes = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t written = pwrite(fd, bytes, size, static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return ErrnoStatus("writing");
    bytes += written;
    offset += static_cast<uint64_t>(written);
    size -= static_cast<size_t>(written);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<SafetensorsFile> ReadSafetensors(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return ErrnoStatus(absl::StrCat(path, ": opening"));
  const absl::Cleanup closer = [fd] { close(fd); };
  struct stat info;
  if (fstat(fd, &info) != 0) return ErrnoStatus(absl::StrCat(path, ": reading its size"));
  if (!S_ISREG(info.st_mode)) return Annotate(Invalid("not a file"), path);

  const Source source = [fd](uint64_t offset, void* destination, uint64_t size) -> absl::Status {
    char* bytes = static_cast<char*>(destination);
    while (size > 0) {
      const ssize_t n = pread(fd, bytes, size, static_cast<off_t>(offset));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return absl::UnavailableError(absl::StrCat("reading: ", std::strerror(errno)));
      if (n == 0) return absl::UnavailableError("became shorter while it was read");
      bytes += n;
      offset += static_cast<uint64_t>(n);
      size -= static_cast<uint64_t>(n);
    }
    return absl::OkStatus();
  };
  auto file = Read(static_cast<uint64_t>(info.st_size), source);
  if (!file.ok()) return Annotate(file.status(), path);
  return file;
}

absl::StatusOr<SafetensorsFile> ParseSafetensors(std::string_view bytes) {
  return Read(bytes.size(), SourceOf(bytes));
}

absl::StatusOr<SafetensorsFile> MapSafetensors(const std::shared_ptr<const MappedFile>& file) {
  const View view = [&file](uint64_t offset, const std::vector<int64_t>& shape,
                            torch::ScalarType type) -> torch::Tensor {
    if (offset >= file->bytes().size()) return {};  // an empty tensor at the end
    char* data = file->data() + offset;
    if (reinterpret_cast<uintptr_t>(data) % torch::elementSize(type) != 0) return {};
    return torch::from_blob(
        data, shape, [file](void*) {}, torch::TensorOptions().dtype(type));
  };
  return Read(file->bytes().size(), SourceOf(file->bytes()), view);
}

absl::StatusOr<SafetensorsFile> MapSafetensors(const std::string& path) {
  const auto mapped = MappedFile::Open(path);
  if (!mapped.ok()) return mapped.status();
  auto file = MapSafetensors(*mapped);
  if (!file.ok()) return Annotate(file.status(), path);
  return file;
}

absl::Status WriteSafetensors(const std::string& path,
                              const std::map<std::string, torch::Tensor>& tensors,
                              const std::map<std::string, std::string>& metadata) {
  std::map<std::string, TensorSpec> specs;
  for (const auto& [name, tensor] : tensors) {
    if (!tensor.defined()) {
      return Invalid(absl::StrCat(path, ": tensor \"", name, "\" has a dtype of no known name"));
    }
    specs[name] = {.dtype = tensor.scalar_type(), .shape = tensor.sizes().vec()};
  }
  auto writer = SafetensorsWriter::Create(path, specs, metadata);
  if (!writer.ok()) return writer.status();
  for (const auto& [name, tensor] : tensors) {
    if (absl::Status status = (*writer)->Write(name, tensor); !status.ok()) return status;
  }
  return (*writer)->Finish();
}

absl::StatusOr<std::unique_ptr<SafetensorsWriter>> SafetensorsWriter::Create(
    const std::string& path, const std::map<std::string, TensorSpec>& specs,
    const std::map<std::string, std::string>& metadata) {
  // As other writers do: larger elements first, so that the data stays aligned, then by name.
  std::vector<std::pair<std::string, TensorSpec>> sorted;
  for (const auto& [name, spec] : specs) {
    if (NameOf(spec.dtype) == nullptr) {
      return Invalid(absl::StrCat(path, ": tensor \"", name, "\" has a dtype of no known name"));
    }
    if (name == "__metadata__") return Invalid(absl::StrCat(path, ": a tensor named __metadata__"));
    sorted.emplace_back(name, spec);
  }
  std::stable_sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) {
    return torch::elementSize(a.second.dtype) > torch::elementSize(b.second.dtype);
  });

  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::map<std::string, Slot> slots;
  uint64_t position = 0;
  for (const auto& [name, spec] : sorted) {
    const auto size = ByteCount({.name = name, .dtype = "", .shape = spec.shape, .offsets = {}},
                                torch::elementSize(spec.dtype));
    if (!size.ok()) return Annotate(size.status(), path);
    header[name] = {{"dtype", NameOf(spec.dtype)},
                    {"shape", spec.shape},
                    {"data_offsets", {position, position + *size}}};
    slots[name] = {.spec = spec, .offset = position};
    position += *size;
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const nlohmann::json::exception&) {
    return Invalid(absl::StrCat(path, ": a name or metadata is not UTF-8"));
  }
  text.resize((text.size() + 7) / 8 * 8, ' ');
  for (auto& [name, slot] : slots) slot.offset += kLengthBytes + text.size();

  const std::string temporary = absl::StrCat(path, ".tmp", getpid());
  const int fd = open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) return ErrnoStatus(absl::StrCat(temporary, ": creating"));
  std::unique_ptr<SafetensorsWriter> writer(new SafetensorsWriter(path, temporary, fd));
  writer->slots_ = std::move(slots);
  const uint64_t length = text.size();
  absl::Status status = WriteAll(fd, 0, &length, sizeof(length));
  if (status.ok()) status = WriteAll(fd, kLengthBytes, text.data(), text.size());
  if (!status.ok()) return Annotate(status, temporary);
  return writer;
}

SafetensorsWriter::~SafetensorsWriter() {
  close(fd_);
  if (!finished_) unlink(temporary_.c_str());
}

absl::Status SafetensorsWriter::Write(const std::string& name, const torch::Tensor& tensor) {
  const auto found = slots_.find(name);
  if (found == slots_.end()) {
    return Invalid(absl::StrCat(path_, ": tensor \"", name, "\" was not announced"));
  }
  Slot& slot = found->second;
  if (slot.written || tensor.scalar_type() != slot.spec.dtype ||
      tensor.sizes() != torch::IntArrayRef(slot.spec.shape)) {
    return Invalid(absl::StrCat(path_, ": tensor \"", name, "\" is not as announced"));
  }
  slot.written = true;
  const torch::Tensor flat = tensor.detach().to(torch::kCPU).contiguous();
  return Annotate(WriteAll(fd_, slot.offset, flat.data_ptr(), flat.nbytes()), temporary_);
}

absl::Status SafetensorsWriter::Finish() {
  for (const auto& [name, slot] : slots_) {
    if (!slot.written) {
      return absl::FailedPreconditionError(
          absl::StrCat(path_, ": tensor \"", name, "\" was not written"));
    }
  }
  if (fsync(fd_) != 0) return ErrnoStatus(absl::StrCat(temporary_, ": flushing"));
  if (rename(temporary_.c_str(), path_.c_str()) != 0) {
    return ErrnoStatus(absl::StrCat(path_, ": renaming the written file"));
  }
  finished_ = true;
  return absl::OkStatus();
}

std::optional<torch::ScalarType> SafetensorsDtype(std::string_view name) { return TypeOf(name); }

}  // namespace reenact
