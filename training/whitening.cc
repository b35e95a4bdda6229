#include "training/whitening.h"

#include <algorithm>

namespace reenact {

torch::Tensor Whitening::Apply(const torch::Tensor& x) const { return (x - mean).matmul(basis); }

Whitening ComputeWhitening(const torch::Tensor& samples, int64_t components, double floor) {
  torch::NoGradGuard no_grad;
  const torch::Tensor values = samples.to(torch::kFloat64);
  const torch::Tensor mean = values.mean(0);
  const torch::Tensor centred = values - mean;
  const auto count = static_cast<double>(std::max<int64_t>(1, values.size(0) - 1));
  const auto [eigenvalues, eigenvectors] = torch::linalg_eigh(centred.t().matmul(centred) / count);
  // Ascending order: the largest are last.
  const int64_t kept = std::min(components, eigenvalues.size(0));
  const torch::Tensor deviation =
      eigenvalues.narrow(0, eigenvalues.size(0) - kept, kept).flip(0).clamp_min(0).sqrt();
  const torch::Tensor directions =
      eigenvectors.narrow(1, eigenvectors.size(1) - kept, kept).flip(1);
  const double least = std::max(floor * deviation[0].item<double>(), 1e-12);
  return {mean.to(torch::kFloat32),
          (directions / deviation.clamp_min(least)).to(torch::kFloat32).contiguous()};
}

void FoldWhitening(const Whitening& whitening, const torch::nn::Linear& whitened,
                   torch::nn::Linear target) {
  torch::NoGradGuard no_grad;
  const torch::Tensor weight =
      whitened->weight.to(torch::kFloat64).matmul(whitening.basis.to(torch::kFloat64).t());
  const torch::Tensor bias =
      whitened->bias.to(torch::kFloat64) - weight.matmul(whitening.mean.to(torch::kFloat64));
  target->weight.copy_(weight);
  target->bias.copy_(bias);
}

void UnfoldWhitening(const Whitening& whitening, const torch::nn::Linear& raw,
                     torch::nn::Linear target) {
  torch::NoGradGuard no_grad;
  const torch::Tensor weight = raw->weight.to(torch::kFloat64);
  // The columns are orthogonal, so that this is the pseudoinverse of the basis, transposed.
  const torch::Tensor basis = whitening.basis.to(torch::kFloat64);
  const torch::Tensor inverse = basis / basis.square().sum(0, /*keepdim=*/true);
  target->weight.copy_(weight.matmul(inverse));
  target->bias.copy_(raw->bias.to(torch::kFloat64) +
                     weight.matmul(whitening.mean.to(torch::kFloat64)));
}

}  // namespace reenact
