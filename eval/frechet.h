// The Frechet distance of two sets of features taken as Gaussians: the mathematics of FID (Heusel
// et al. 2017) and FVD (Unterthiner et al. 2018). The features are the caller's: with those of the
// public Inception and I3D networks these are the numbers papers report, with others they are not.
//
// Pure functions, thread-safe.
#pragma once

#include "absl/status/statusor.h"
#include "torch/torch.h"

namespace reenact {

struct Gaussian {
  torch::Tensor mean;        // float64 [D]
  torch::Tensor covariance;  // float64 [D, D], symmetric
};

// Features [N, D], any floating-point type, N >= 2. The covariance divides by N - ddof: 1 as
// pytorch-fid (numpy.cov), 0 as stylegan-v's FVD. kInvalidArgument: another shape, too few rows, or
// a number that is not finite.
absl::StatusOr<Gaussian> FitGaussian(const torch::Tensor& features, int ddof = 1);

// |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^1/2), by the eigenvalues of S1^1/2 S2 S1^1/2, so that
// singular covariances need no offset. 0 or more. kInvalidArgument: the shapes do not fit.
absl::StatusOr<double> FrechetDistance(const Gaussian& a, const Gaussian& b);

}  // namespace reenact
