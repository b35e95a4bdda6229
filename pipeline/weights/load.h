// Between modules and named tensors. Thread-compatible: one module, one thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "torch/torch.h"

namespace reenact {

// Copies `tensors` into the parameters and buffers of the same names, cast to their dtype and
// moved to their device. All or nothing: kInvalidArgument lists every missing, unexpected and
// misshapen tensor, every one of integers instead of numbers with a fraction (or the reverse), and
// every one that holds NaN or infinity (also after the cast), and then `module` is unchanged.
absl::Status LoadWeights(torch::nn::Module& module,
                         const std::map<std::string, torch::Tensor>& tensors);

// The same without copying what need not be: a tensor that already has the parameter's dtype and
// device and is contiguous becomes its memory. With MapSafetensors, a module then takes no memory
// of its own but its pages of the file, which the system may drop and read again. The module and
// `tensors` see each other's later changes.
absl::Status ShareWeights(torch::nn::Module& module,
                          const std::map<std::string, torch::Tensor>& tensors);

// What LoadWeights asks of `tensors`, without a module: these names with these shapes, and every
// value finite, also as `dtype`. Errors as LoadWeights.
absl::Status CheckWeights(const std::map<std::string, std::vector<int64_t>>& shapes,
                          const std::map<std::string, torch::Tensor>& tensors,
                          torch::ScalarType dtype);

// Whether no value is NaN or infinite; true for integers.
bool AllFinite(const torch::Tensor& tensor);

// Parameters and buffers by checkpoint name. They share memory with `module`.
std::map<std::string, torch::Tensor> StateDict(const torch::nn::Module& module);

// The entries of `tensors` whose names begin with `prefix`, without it.
std::map<std::string, torch::Tensor> WithoutPrefix(
    const std::map<std::string, torch::Tensor>& tensors, const std::string& prefix);

}  // namespace reenact
