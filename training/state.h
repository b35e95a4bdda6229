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

// Where a module's parameters lie; those of one module lie together.
torch::Device DeviceOf(const torch::nn::Module& module);

// The same module, moved.
template <typename Holder>
Holder OnDevice(Holder module, torch::Device device) {
  module->to(device);
  return module;
}

// Everything a training run continues from: the model as "model.<name>", its moving average as
// "average.<name>" with "average_updates", and the optimizer as "adam.<name>".
void SaveTraining(const torch::nn::Module& model, const torch::nn::Module& averaged,
                  const MovingAverage& average, const AdamW& optimizer, TensorMap& tensors);

// The reverse; strict (LoadWeights). kInvalidArgument: the first part that does not fit.
absl::Status LoadTraining(const TensorMap& tensors, torch::nn::Module& model,
                          torch::nn::Module& averaged, MovingAverage& average, AdamW& optimizer);

}  // namespace reenact
