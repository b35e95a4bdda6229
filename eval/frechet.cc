#include "eval/frechet.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace reenact {
namespace {

// The symmetric root of a symmetric matrix without negative eigenvalues but for rounding.
torch::Tensor Root(const torch::Tensor& matrix) {
  const auto [values, vectors] = torch::linalg_eigh(matrix);
  return vectors.mul(values.clamp_min(0).sqrt()).matmul(vectors.t());
}

}  // namespace

absl::StatusOr<Gaussian> FitGaussian(const torch::Tensor& features, int ddof) {
  if (features.dim() != 2 || features.size(1) < 1 || !features.is_floating_point()) {
    return absl::InvalidArgumentError(
        absl::StrCat("features must be a matrix of floating-point numbers, one row a sample, but "
                     "have ",
                     features.dim(), " dimensions"));
  }
  if (features.size(0) < 2) {
    return absl::InvalidArgumentError(
        absl::StrCat("a Gaussian takes 2 samples or more, there are ", features.size(0)));
  }
  const torch::Tensor x = features.to(torch::kFloat64);
  if (!torch::isfinite(x).all().item<bool>()) {
    return absl::InvalidArgumentError("a feature is not finite");
  }
  Gaussian gaussian;
  gaussian.mean = x.mean(0);
  const torch::Tensor centred = x - gaussian.mean;
  gaussian.covariance = centred.t().matmul(centred) / static_cast<double>(x.size(0) - ddof);
  return gaussian;
}

absl::StatusOr<double> FrechetDistance(const Gaussian& a, const Gaussian& b) {
  if (a.mean.sizes() != b.mean.sizes() || a.covariance.sizes() != b.covariance.sizes()) {
    return absl::InvalidArgumentError(absl::StrCat("features of ", a.mean.numel(), " and of ",
                                                   b.mean.numel(), " numbers cannot be compared"));
  }
  const torch::Tensor root = Root(a.covariance);
  const torch::Tensor product = root.matmul(b.covariance).matmul(root);
  // The mean with the transpose takes rounding's asymmetry away.
  const torch::Tensor values = torch::linalg_eigvalsh((product + product.t()) / 2);
  const double cross = values.clamp_min(0).sqrt().sum().item<double>();
  const double distance = (a.mean - b.mean).square().sum().item<double>() +
                          a.covariance.trace().item<double>() +
                          b.covariance.trace().item<double>() - 2 * cross;
  return std::max(distance, 0.0);
}

}  // namespace reenact
