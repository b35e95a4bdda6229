#include "pipeline/weights/load.h"

#include <exception>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace reenact {
namespace {

std::string ShapeName(const torch::Tensor& tensor) {
  return absl::StrCat("[", absl::StrJoin(tensor.sizes(), ", "), "]");
}

bool IsFinite(const torch::Tensor& tensor) {
  return !tensor.is_floating_point() || torch::isfinite(tensor).all().item<bool>();
}

}  // namespace

std::map<std::string, torch::Tensor> StateDict(const torch::nn::Module& module) {
  std::map<std::string, torch::Tensor> state;
  for (const auto& item : module.named_parameters()) state.emplace(item.key(), item.value());
  for (const auto& item : module.named_buffers()) state.emplace(item.key(), item.value());
  return state;
}

absl::Status LoadWeights(torch::nn::Module& module,
                         const std::map<std::string, torch::Tensor>& tensors) {
  const torch::NoGradGuard no_grad;
  const std::map<std::string, torch::Tensor> state = StateDict(module);
  std::vector<std::string> problems;
  std::vector<std::pair<torch::Tensor, torch::Tensor>> copies;
  try {
    for (const auto& [name, target] : state) {
      const auto found = tensors.find(name);
      if (found == tensors.end()) {
        problems.push_back(absl::StrCat("missing ", name));
        continue;
      }
      const torch::Tensor& stored = found->second;
      if (stored.sizes() != target.sizes()) {
        problems.push_back(
            absl::StrCat("misshapen ", name, ": ", ShapeName(stored), ", not ", ShapeName(target)));
        continue;
      }
      const torch::Tensor cast = stored.to(target.device(), target.scalar_type());
      if (!IsFinite(cast)) {
        problems.push_back(absl::StrCat("not finite ", name));
        continue;
      }
      copies.emplace_back(target, cast);
    }
    for (const auto& [name, tensor] : tensors) {
      if (!state.contains(name)) problems.push_back(absl::StrCat("unexpected ", name));
    }
    if (!problems.empty()) {
      return absl::InvalidArgumentError(absl::StrCat("the weights do not fit (", problems.size(),
                                                     "): ", absl::StrJoin(problems, "; ")));
    }
    for (auto& [target, cast] : copies) target.copy_(cast);
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat("loading weights: ", error.what()));
  }
  return absl::OkStatus();
}

std::map<std::string, torch::Tensor> WithoutPrefix(
    const std::map<std::string, torch::Tensor>& tensors, const std::string& prefix) {
  std::map<std::string, torch::Tensor> result;
  for (const auto& [name, tensor] : tensors) {
    if (name.starts_with(prefix)) result.emplace(name.substr(prefix.size()), tensor);
  }
  return result;
}

}  // namespace reenact
