// safetensors files: 8 bytes of header length, a JSON header, the tensors' bytes.
//
// The reader treats a file as hostile: nothing is allocated before the sizes that the header claims
// were checked against the size of the file, and every departure from the format is an error
// (kInvalidArgument) that names the file and the tensor. Stricter than the reference library in two
// points: a name may not occur twice, even identically, and entries carry no unknown fields.
//
// All functions are thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "pipeline/weights/mapped_file.h"
#include "torch/torch.h"

namespace reenact {

struct SafetensorsFile {
  // Contiguous, on the CPU, in the dtype stored; each owns its memory, or its part of a mapping.
  std::map<std::string, torch::Tensor> tensors;
  // The header's "__metadata__".
  std::map<std::string, std::string> metadata;
};

// kNotFound: no such file. kInvalidArgument: the file breaks the format. kUnavailable: reading
// failed. The file must not change meanwhile.
absl::StatusOr<SafetensorsFile> ReadSafetensors(const std::string& path);

// The same without reading the tensors' bytes: they come from the disk when they are used, and
// belong to the system's file cache. Tensors that the file does not align are copied. Writing to a
// tensor never reaches the file. The file must not change while tensors of it live
// (mapped_file.h).
absl::StatusOr<SafetensorsFile> MapSafetensors(const std::string& path);
// Of a file that is mapped already; messages do not name it.
absl::StatusOr<SafetensorsFile> MapSafetensors(const std::shared_ptr<const MappedFile>& file);

// The same for bytes in memory.
absl::StatusOr<SafetensorsFile> ParseSafetensors(std::string_view bytes);

// Writes `path` atomically: a temporary file beside it, flushed to the disk, then renamed. The
// bytes depend on the arguments alone. kInvalidArgument: a dtype that the format does not have.
absl::Status WriteSafetensors(const std::string& path,
                              const std::map<std::string, torch::Tensor>& tensors,
                              const std::map<std::string, std::string>& metadata);

// A tensor to be written.
struct TensorSpec {
  torch::ScalarType dtype = torch::kFloat32;
  std::vector<int64_t> shape = {};
};

// Writes a file whose tensors are never all in memory: their shapes come first, their values one
// by one in any order. Thread-compatible.
class SafetensorsWriter {
 public:
  // Creates a temporary file beside `path` and writes the header. kInvalidArgument: as
  // WriteSafetensors.
  static absl::StatusOr<std::unique_ptr<SafetensorsWriter>> Create(
      const std::string& path, const std::map<std::string, TensorSpec>& specs,
      const std::map<std::string, std::string>& metadata);
  // Without Finish, the temporary file is removed.
  ~SafetensorsWriter();
  SafetensorsWriter(const SafetensorsWriter&) = delete;
  SafetensorsWriter& operator=(const SafetensorsWriter&) = delete;

  // kInvalidArgument: no such tensor, another shape or dtype, or written before.
  absl::Status Write(const std::string& name, const torch::Tensor& tensor);
  // Flushes to the disk and renames. kFailedPrecondition: a tensor was not written.
  absl::Status Finish();

 private:
  struct Slot {
    TensorSpec spec = {};
    uint64_t offset = 0;
    bool written = false;
  };
  SafetensorsWriter(std::string path, std::string temporary, int fd)
      : path_(std::move(path)), temporary_(std::move(temporary)), fd_(fd) {}

  const std::string path_, temporary_;
  const int fd_;
  std::map<std::string, Slot> slots_;
  bool finished_ = false;
};

// The dtype that the format calls `name`; nullopt: none of libtorch's.
std::optional<torch::ScalarType> SafetensorsDtype(std::string_view name);

}  // namespace reenact
