// Public checkpoints as named tensors, whatever file they come in: safetensors, PyTorch's own
// forms (pt_file.h), sets of files with an index, and folders as diffusers and transformers save
// them. Files are mapped, not read: a tensor's bytes come from the disk when they are used, and
// tensors are only copied where a file does not align or compresses them.
//
// Thread-safe. The files must not be changed while tensors of theirs live (mapped_file.h).
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "torch/torch.h"

namespace reenact {

struct Checkpoint {
  // In the dtype and with the strides stored. They may share memory; writing to one never reaches
  // the file.
  std::map<std::string, torch::Tensor> tensors;
  // PyTorch's files: what else lies at a name, described for messages.
  std::map<std::string, std::string> others;
  std::map<std::string, std::string> metadata;  // safetensors: of all files
  std::vector<std::string> files;               // that were read
  std::string config;  // of a folder: the content of its config.json, else ""
};

// `path`: a file; an index ("*.index.json", whose weight_map says which file has which tensor); or
// a folder with one of the names that diffusers and transformers use, an index first, safetensors
// before PyTorch files. kNotFound: nothing there. kInvalidArgument: says what is wrong with which
// file; of an index, all that is wrong.
absl::StatusOr<Checkpoint> ReadCheckpoint(const std::string& path);

// The weights of a training checkpoint: the entries under "ema.", else "state_dict.", else
// "model." (if nothing lies beside that), or under `part` if that is not empty; without that
// prefix, and without "module." where all names have it. A checkpoint that has none of them is
// returned as it is. kNotFound: there is no `part`; the message says which parts there are.
absl::StatusOr<std::map<std::string, torch::Tensor>> WeightsOf(const Checkpoint& checkpoint,
                                                               const std::string& part);

}  // namespace reenact
