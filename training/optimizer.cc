#include "training/optimizer.h"

#include <ATen/ops/_foreach_lerp.h>
#include <ATen/ops/_fused_adamw.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"

namespace reenact {

AdamW::AdamW(std::vector<NamedParameter> parameters, Options options)
    : options_(options), parameters_(std::move(parameters)) {
  for (const NamedParameter& p : parameters_) {
    first_moments_.push_back(torch::zeros_like(p.tensor, torch::MemoryFormat::Contiguous));
    second_moments_.push_back(torch::zeros_like(p.tensor, torch::MemoryFormat::Contiguous));
    steps_.push_back(torch::zeros({}, torch::dtype(torch::kFloat32).device(p.tensor.device())));
  }
}

double AdamW::Step(double learning_rate) {
  torch::NoGradGuard no_grad;
  double squared_norm = 0;
  for (const NamedParameter& p : parameters_) {
    if (!p.tensor.grad().defined()) continue;
    const double norm = p.tensor.grad().norm().item<double>();
    squared_norm += norm * norm;
  }
  const double norm = std::sqrt(squared_norm);
  if (std::isfinite(norm)) {
    const double scale =
        options_.clip_norm > 0 && norm > options_.clip_norm ? options_.clip_norm / norm : 1;
    // One call per learning rate: the parameters that share it go together.
    std::map<double, std::vector<size_t>> groups;
    for (size_t i = 0; i < parameters_.size(); ++i) {
      if (parameters_[i].tensor.grad().defined()) groups[parameters_[i].lr_ratio].push_back(i);
    }
    for (const auto& [ratio, indices] : groups) {
      std::vector<torch::Tensor> values, gradients, first, second, steps;
      for (const size_t i : indices) {
        torch::Tensor gradient = parameters_[i].tensor.grad();
        if (scale != 1) gradient.mul_(scale);
        values.push_back(parameters_[i].tensor);
        gradients.push_back(std::move(gradient));
        first.push_back(first_moments_[i]);
        second.push_back(second_moments_[i]);
        steps_[i].add_(1);
        steps.push_back(steps_[i]);
      }
      at::_fused_adamw_(values, gradients, first, second, {}, steps, learning_rate * ratio,
                        options_.beta1, options_.beta2, options_.weight_decay, options_.epsilon,
                        /*amsgrad=*/false, /*maximize=*/false);
    }
  }
  for (NamedParameter& p : parameters_) p.tensor.mutable_grad().reset();
  return norm;
}

void AdamW::Save(const std::string& prefix, TensorMap& tensors) const {
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const std::string& name = parameters_[i].name;
    tensors[absl::StrCat(prefix, "m.", name)] = first_moments_[i];
    tensors[absl::StrCat(prefix, "v.", name)] = second_moments_[i];
  }
  tensors[absl::StrCat(prefix, "steps")] = torch::stack(steps_);
}

absl::Status AdamW::Load(const std::string& prefix, const TensorMap& tensors) {
  const auto steps = tensors.find(absl::StrCat(prefix, "steps"));
  const auto count = static_cast<int64_t>(parameters_.size());
  if (steps == tensors.end() || steps->second.dim() != 1 || steps->second.size(0) != count) {
    return absl::InvalidArgumentError("checkpoint holds no optimizer state for this model");
  }
  std::vector<std::pair<torch::Tensor, torch::Tensor>> copies;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    for (const auto& [part, moment] :
         {std::pair{"m.", first_moments_[i]}, std::pair{"v.", second_moments_[i]}}) {
      const std::string name = absl::StrCat(prefix, part, parameters_[i].name);
      const auto found = tensors.find(name);
      if (found == tensors.end() || found->second.sizes() != moment.sizes()) {
        return absl::InvalidArgumentError(absl::StrCat("checkpoint lacks or misshapes ", name));
      }
      copies.emplace_back(moment, found->second);
    }
  }
  torch::NoGradGuard no_grad;
  for (auto& [moment, stored] : copies) moment.copy_(stored);
  for (int64_t i = 0; i < count; ++i) steps_[static_cast<size_t>(i)].copy_(steps->second[i]);
  return absl::OkStatus();
}

MovingAverage::MovingAverage(const torch::nn::Module& model, torch::nn::Module& shadow,
                             double decay)
    : decay_(decay), model_(model.parameters()), shadow_(shadow.parameters()) {
  TORCH_CHECK(model_.size() == shadow_.size(), "model and shadow differ");
  torch::NoGradGuard no_grad;
  for (size_t i = 0; i < model_.size(); ++i) {
    shadow_[i].copy_(model_[i]);
    shadow_[i].requires_grad_(false);
  }
}

void MovingAverage::Update() {
  torch::NoGradGuard no_grad;
  const auto n = static_cast<double>(++num_updates_);
  const double decay = std::min(decay_, (1 + n) / (10 + n));
  at::_foreach_lerp_(shadow_, model_, 1 - decay);
}

}  // namespace reenact
