#include "training/state.h"

#include "absl/strings/str_cat.h"
#include "pipeline/weights/load.h"

namespace reenact {

std::vector<NamedParameter> NamedParameters(const torch::nn::Module& module) {
  std::vector<NamedParameter> parameters;
  for (const auto& entry : module.named_parameters()) {
    if (entry.value().requires_grad()) parameters.push_back({entry.key(), entry.value(), 1.0});
  }
  return parameters;
}

void SaveModule(const torch::nn::Module& module, const std::string& prefix, TensorMap& tensors) {
  for (const auto& [name, tensor] : StateDict(module)) {
    tensors[absl::StrCat(prefix, name)] = tensor;
  }
}

absl::Status LoadModule(torch::nn::Module& module, const std::string& prefix,
                        const TensorMap& tensors) {
  return LoadWeights(module, WithoutPrefix(tensors, prefix));
}

void SaveCount(const MovingAverage& average, TensorMap& tensors) {
  tensors["average_updates"] = torch::tensor({average.num_updates()}, torch::kInt64);
}

absl::Status LoadCount(const TensorMap& tensors, MovingAverage& average) {
  const auto updates = tensors.find("average_updates");
  if (updates == tensors.end() || updates->second.numel() != 1) {
    return absl::InvalidArgumentError("checkpoint lacks average_updates");
  }
  average.set_num_updates(updates->second.item<int64_t>());
  return absl::OkStatus();
}

}  // namespace reenact
