// Modules to and from the tensors of a checkpoint.
#pragma once

#include <torch/torch.h>

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "training/optimizer.h"

namespace reenact {

// Parameters that take a gradient, by name, all with learning rate ratio 1.
std::vector<NamedParameter> NamedParameters(const torch::nn::Module& module);

// Adds the module's tensors as "<prefix><name>".
void SaveModule(const torch::nn::Module& module, const std::string& prefix, TensorMap& tensors);

// The reverse of SaveModule(); strict (LoadWeights).
absl::Status LoadModule(torch::nn::Module& module, const std::string& prefix,
                        const TensorMap& tensors);

// The number of updates of a moving average, as "average_updates".
void SaveCount(const MovingAverage& average, TensorMap& tensors);
absl::Status LoadCount(const TensorMap& tensors, MovingAverage& average);

}  // namespace reenact
