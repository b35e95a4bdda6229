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

torch::Device DeviceOf(const torch::nn::Module& module) {
  return module.parameters().front().device();
}

void SaveTraining(const torch::nn::Module& model, const torch::nn::Module& averaged,
                  const MovingAverage& average, const AdamW& optimizer, TensorMap& tensors) {
  for (const auto& [name, tensor] : StateDict(model)) {
    tensors[absl::StrCat("model.", name)] = tensor;
  }
  for (const auto& [name, tensor] : StateDict(averaged)) {
    tensors[absl::StrCat("average.", name)] = tensor;
  }
  tensors["average_updates"] = torch::tensor({average.num_updates()}, torch::kInt64);
  optimizer.Save("adam.", tensors);
}

absl::Status LoadTraining(const TensorMap& tensors, torch::nn::Module& model,
                          torch::nn::Module& averaged, MovingAverage& average, AdamW& optimizer) {
  absl::Status status = LoadWeights(model, WithoutPrefix(tensors, "model."));
  status.Update(LoadWeights(averaged, WithoutPrefix(tensors, "average.")));
  const auto updates = tensors.find("average_updates");
  if (updates == tensors.end() || updates->second.numel() != 1) {
    status.Update(absl::InvalidArgumentError("checkpoint lacks average_updates"));
  } else {
    average.set_num_updates(updates->second.item<int64_t>());
  }
  status.Update(optimizer.Load("adam.", tensors));
  return status;
}

}  // namespace reenact
