#include "pipeline/models/cpu_linear.h"

#include <optional>
#include <string_view>

#include "ATen/core/dispatch/Dispatcher.h"

namespace reenact {
namespace {

using torch::Tensor;
using Scalars = c10::List<std::optional<at::Scalar>>;
using Reorder = Tensor(const Tensor&, std::optional<int64_t>);
using Pointwise = Tensor(const Tensor&, const Tensor&, const std::optional<Tensor>&,
                         std::string_view, Scalars, std::optional<std::string_view>);

// The typed operator `name`; none if libtorch was built without it or has it with another schema.
template <typename Signature>
std::optional<c10::TypedOperatorHandle<Signature>> Find(const char* name) {
  const auto found = c10::Dispatcher::singleton().findSchema({name, ""});
  if (!found.has_value() || !found->hasKernelForDispatchKey(c10::DispatchKey::MkldnnCPU)) return {};
  try {
    return found->typed<Signature>();
  } catch (const c10::Error&) {
    return {};
  }
}

struct Operators {
  std::optional<c10::TypedOperatorHandle<Reorder>> reorder =
      Find<Reorder>("mkldnn::_reorder_linear_weight");
  std::optional<c10::TypedOperatorHandle<Pointwise>> pointwise =
      Find<Pointwise>("mkldnn::_linear_pointwise");
};

const Operators& GetOperators() {
  static const Operators operators;
  return operators;
}

}  // namespace

CpuLinear::CpuLinear(const Tensor& weight, const Tensor& bias, torch::Dtype dtype)
    : weight_(weight.detach().to(dtype).contiguous()), bias_(bias.detach().to(dtype).contiguous()) {
  const Operators& operators = GetOperators();
  if (!operators.reorder.has_value() || !operators.pointwise.has_value()) return;
  weight_ = operators.reorder->call(weight_.to_mkldnn(), std::nullopt);
  reordered_ = true;
}

Tensor CpuLinear::operator()(const Tensor& x, Activation activation) const {
  const bool gelu = activation == Activation::kTanhGelu;
  if (reordered_) {
    return GetOperators().pointwise->call(
        x, weight_, bias_, gelu ? "gelu" : "none", Scalars(),
        gelu ? std::make_optional<std::string_view>("tanh") : std::nullopt);
  }
  const Tensor y = at::linear(x, weight_, bias_);
  return gelu ? at::gelu(y, "tanh") : y;
}

}  // namespace reenact
