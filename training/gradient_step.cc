#include "training/gradient_step.h"

namespace reenact {

absl::StatusOr<Gradient> ComputeGradient(const GradientOptions& options, int64_t step,
                                         const std::vector<NamedParameter>& parameters,
                                         const std::function<MicroBatch(int64_t number)>& loss_of) {
  const int64_t size = options.processes == nullptr ? 1 : options.processes->size();
  const int64_t rank = options.processes == nullptr ? 0 : options.processes->rank();
  const auto K = static_cast<double>(options.accumulate);
  Gradient gradient;
  for (int64_t k = 0; k < options.accumulate; ++k) {
    MicroBatch batch = loss_of((step * size + rank) * options.accumulate + k);
    (options.accumulate == 1 ? batch.loss : batch.loss / K).backward();
    gradient.loss += batch.loss.item<double>() / K;
    gradient.seeds.insert(gradient.seeds.end(), batch.seeds.begin(), batch.seeds.end());
  }
  if (options.processes == nullptr) return gradient;

  const torch::Device device =
      parameters.empty() ? torch::Device(torch::kCPU) : parameters.front().tensor.device();
  torch::Tensor loss =
      torch::full({1}, gradient.loss, torch::dtype(torch::kFloat32).device(device));
  std::vector<torch::Tensor> tensors = {loss};
  for (const NamedParameter& parameter : parameters) {
    // Whether a parameter was used may differ between processes.
    torch::Tensor tensor = parameter.tensor;
    if (!tensor.grad().defined()) tensor.mutable_grad() = torch::zeros_like(tensor);
    tensors.push_back(tensor.grad());
  }
  const absl::Status status = options.processes->Average(tensors);
  if (!status.ok()) return status;
  gradient.loss = loss.item<double>();
  return gradient;
}

}  // namespace reenact
