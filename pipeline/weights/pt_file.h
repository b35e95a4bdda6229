// PyTorch's own model files (.pt, .pth, .bin, .ckpt): the ZIP form of torch 1.6 and later, the
// form before it, and TorchScript archives. Nothing in a file is ever executed (pickle.h).
//
// What counts as a tensor's name: the text keys that lead to it from the file's outermost
// dictionary, joined by dots; a training checkpoint's weights are "ema.blocks.0..." and
// "model.blocks.0...". In TorchScript archives, modules are such dictionaries. Lists and
// dictionaries with other keys, such as an optimiser's state, are passed over.
//
// This part needs no libtorch; checkpoint_file.h makes its tensors. Thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace reenact {

struct StoredTensor {
  std::string_view dtype = {};        // as safetensors names it
  std::vector<int64_t> shape = {};    // at most 64 dimensions
  std::vector<int64_t> strides = {};  // in elements; none negative
  // From the first element to the end of the last; its begin need not be aligned. Tensors may
  // share bytes. Empty if the tensor is.
  std::string_view bytes = {};
};

struct PtFile {
  std::map<std::string, StoredTensor> tensors;  // at least one
  // What the outermost dictionaries hold besides tensors, described for messages; at most 1000.
  std::map<std::string, std::string> others;
  bool torchscript = false;
  // Keeps unpacked entries, to which `tensors` may point besides the bytes given.
  std::shared_ptr<const void> unpacked;
};

// Whether the bytes begin as one of the forms does.
bool LooksLikePt(std::string_view bytes);

// Reads the file whose content is `bytes`; the result points into it. All of its structure and
// every tensor's place are checked; its numbers are not. kInvalidArgument: the file is damaged or
// hostile, has no tensors, or is of a form that PyTorch no longer writes; the message has all
// problems with tensors, a line each. kResourceExhausted: beyond the limits of pickle.h.
absl::StatusOr<PtFile> ParsePt(std::string_view bytes);

}  // namespace reenact
