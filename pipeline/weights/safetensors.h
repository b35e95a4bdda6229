// safetensors files: 8 bytes of header length, a JSON header, the tensors' bytes.
//
// The reader treats a file as hostile: nothing is allocated before the sizes that the header claims
// were checked against the size of the file, and every departure from the format is an error
// (kInvalidArgument) that names the file and the tensor. Stricter than the reference library in two
// points: a name may not occur twice, even identically, and entries carry no unknown fields.
//
// All functions are thread-safe.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "torch/torch.h"

namespace reenact {

struct SafetensorsFile {
  // Contiguous, on the CPU, in the dtype stored; each owns its memory.
  std::map<std::string, torch::Tensor> tensors;
  // The header's "__metadata__".
  std::map<std::string, std::string> metadata;
};

// kNotFound: no such file. kInvalidArgument: the file breaks the format. kUnavailable: reading
// failed. The file must not change meanwhile.
absl::StatusOr<SafetensorsFile> ReadSafetensors(const std::string& path);

// The same for bytes in memory.
absl::StatusOr<SafetensorsFile> ParseSafetensors(std::string_view bytes);

// Writes `path` atomically: a temporary file beside it, flushed to the disk, then renamed. The
// bytes depend on the arguments alone. kInvalidArgument: a dtype that the format does not have.
absl::Status WriteSafetensors(const std::string& path,
                              const std::map<std::string, torch::Tensor>& tensors,
                              const std::map<std::string, std::string>& metadata);

}  // namespace reenact
