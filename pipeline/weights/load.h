// Between modules and named tensors. Thread-compatible: one module, one thread.
#pragma once

#include <map>
#include <string>

#include "absl/status/status.h"
#include "torch/torch.h"

namespace reenact {

// Copies `tensors` into the parameters and buffers of the same names, cast to their dtype and
// moved to their device. All or nothing: kInvalidArgument lists every missing, unexpected and
// misshapen tensor and every one that holds NaN or infinity (also after the cast), and then
// `module` is unchanged.
absl::Status LoadWeights(torch::nn::Module& module,
                         const std::map<std::string, torch::Tensor>& tensors);

// Parameters and buffers by checkpoint name. They share memory with `module`.
std::map<std::string, torch::Tensor> StateDict(const torch::nn::Module& module);

// The entries of `tensors` whose names begin with `prefix`, without it.
std::map<std::string, torch::Tensor> WithoutPrefix(
    const std::map<std::string, torch::Tensor>& tensors, const std::string& prefix);

}  // namespace reenact
