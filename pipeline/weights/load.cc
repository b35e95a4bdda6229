#include "pipeline/weights/load.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <utility>
#include <vector>

#include "ATen/Parallel.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace reenact {
namespace {

using torch::Tensor;

// Enough to see what is wrong with a file of another kind.
constexpr size_t kMaxProblems = 100;
constexpr int64_t kGrain = int64_t{1} << 18;

std::string ShapeName(torch::IntArrayRef sizes) {
  return absl::StrCat("[", absl::StrJoin(sizes, ", "), "]");
}

// Whether no word of `count` has all bits of `exponent`: how IEEE 754 marks what is not finite.
template <typename Word>
bool NoneHasAllBits(const Word* words, int64_t count, Word exponent) {
  std::atomic<bool> finite = true;
  at::parallel_for(0, count, kGrain, [&](int64_t begin, int64_t end) {
    bool found = false;
    for (int64_t i = begin; i < end; ++i) found |= (words[i] & exponent) == exponent;
    if (found) finite.store(false, std::memory_order_relaxed);
  });
  return finite;
}

// What is asked of one tensor.
struct Wanted {
  torch::IntArrayRef shape;
  torch::ScalarType dtype;
  torch::Device device;
};

absl::Status Check(const std::map<std::string, Wanted>& wanted,
                   const std::map<std::string, Tensor>& tensors) {
  std::vector<std::string> problems;
  for (const auto& [name, target] : wanted) {
    const auto found = tensors.find(name);
    if (found == tensors.end()) {
      problems.push_back(absl::StrCat("missing ", name, ", expected ", ShapeName(target.shape)));
      continue;
    }
    const Tensor& stored = found->second;
    if (stored.sizes() != target.shape) {
      problems.push_back(absl::StrCat("misshapen ", name, ": ", ShapeName(stored.sizes()), ", not ",
                                      ShapeName(target.shape)));
    } else if (stored.is_floating_point() != c10::isFloatingType(target.dtype)) {
      problems.push_back(absl::StrCat("mistyped ", name, ": ", c10::toString(stored.scalar_type()),
                                      ", not ", c10::toString(target.dtype)));
    } else if (!AllFinite(stored.to(target.device, target.dtype))) {
      problems.push_back(absl::StrCat("not finite ", name));
    }
  }
  for (const auto& [name, tensor] : tensors) {
    if (!wanted.contains(name)) {
      problems.push_back(absl::StrCat("unexpected ", name, " ", ShapeName(tensor.sizes())));
    }
  }
  if (problems.empty()) return absl::OkStatus();
  const size_t count = problems.size();
  problems.resize(std::min(count, kMaxProblems));
  if (count > kMaxProblems) problems.push_back("...");
  return absl::InvalidArgumentError(
      absl::StrCat("the weights do not fit (", count, "): ", absl::StrJoin(problems, "; ")));
}

absl::Status CatchErrors(const std::function<absl::Status()>& work) {
  try {
    return work();
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat("loading weights: ", error.what()));
  }
}

absl::Status Fill(torch::nn::Module& module, const std::map<std::string, Tensor>& tensors,
                  bool share) {
  const torch::NoGradGuard no_grad;
  return CatchErrors([&] {
    const std::map<std::string, Tensor> state = StateDict(module);
    std::map<std::string, Wanted> wanted;
    for (const auto& [name, target] : state) {
      wanted.emplace(name, Wanted{target.sizes(), target.scalar_type(), target.device()});
    }
    absl::Status status = Check(wanted, tensors);
    if (!status.ok()) return status;
    // Cast again, one by one: all casts at once would be a second copy of the network.
    for (const auto& [name, target] : state) {
      const Tensor& stored = tensors.at(name);
      if (share && stored.scalar_type() == target.scalar_type() &&
          stored.device() == target.device() && stored.is_contiguous()) {
        Tensor(target).set_data(stored.detach());
      } else {
        target.copy_(stored);
      }
    }
    return status;
  });
}

}  // namespace

bool AllFinite(const Tensor& tensor) {
  if (!tensor.is_floating_point() || tensor.numel() == 0) return true;
  if (tensor.is_cpu() && tensor.is_contiguous()) {
    switch (tensor.scalar_type()) {
      case torch::kFloat32:
        return NoneHasAllBits(static_cast<const uint32_t*>(tensor.data_ptr()), tensor.numel(),
                              uint32_t{0x7F800000});
      case torch::kBFloat16:
        return NoneHasAllBits(static_cast<const uint16_t*>(tensor.data_ptr()), tensor.numel(),
                              uint16_t{0x7F80});
      case torch::kFloat16:
        return NoneHasAllBits(static_cast<const uint16_t*>(tensor.data_ptr()), tensor.numel(),
                              uint16_t{0x7C00});
      default:
        break;
    }
  }
  return torch::isfinite(tensor).all().item<bool>();
}

std::map<std::string, Tensor> StateDict(const torch::nn::Module& module) {
  std::map<std::string, Tensor> state;
  for (const auto& item : module.named_parameters()) state.emplace(item.key(), item.value());
  for (const auto& item : module.named_buffers()) state.emplace(item.key(), item.value());
  return state;
}

absl::Status LoadWeights(torch::nn::Module& module, const std::map<std::string, Tensor>& tensors) {
  return Fill(module, tensors, /*share=*/false);
}

absl::Status ShareWeights(torch::nn::Module& module, const std::map<std::string, Tensor>& tensors) {
  return Fill(module, tensors, /*share=*/true);
}

absl::Status CheckWeights(const std::map<std::string, std::vector<int64_t>>& shapes,
                          const std::map<std::string, Tensor>& tensors, torch::ScalarType dtype) {
  return CatchErrors([&] {
    std::map<std::string, Wanted> wanted;
    for (const auto& [name, shape] : shapes) {
      wanted.emplace(name, Wanted{shape, dtype, torch::Device(torch::kCPU)});
    }
    return Check(wanted, tensors);
  });
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
