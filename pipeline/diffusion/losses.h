// Training losses: weighted mean squared error of the prediction, and for models that learn their
// variance the variational bound (Nichol & Dhariwal 2021, as DiT trains).
//
// N samples; tensors are [N, ..., C, h, w]; `t` [N] int64 indexes the schedule's tables. Results
// are per sample, [N]. Pure functions, thread-safe.
#pragma once

#include <vector>

#include "pipeline/diffusion/samplers.h"
#include "pipeline/diffusion/schedule.h"
#include "torch/torch.h"

namespace reenact {

// table[t], float32 on t's device, shaped [N, 1, ..., 1] with `num_dims` dimensions.
torch::Tensor Gather(const std::vector<double>& table, const torch::Tensor& t, int64_t num_dims);

// x_t: `x0` with `noise` of step t.
torch::Tensor AddNoise(const Schedule& schedule, const torch::Tensor& x0, const torch::Tensor& t,
                       const torch::Tensor& noise);

// What a perfect network would say: the noise, v, or x0.
torch::Tensor PredictionTarget(const Schedule& schedule, const torch::Tensor& x0,
                               const torch::Tensor& t, const torch::Tensor& noise,
                               Prediction prediction);

struct DiffusionLoss {
  torch::Tensor loss;  // [N]: mse + vb
  torch::Tensor mse;   // [N]: mean of weight * (target - prediction)^2
  torch::Tensor vb;    // [N], bits per dimension; zero if the variance is not learned
};
// `weight` (may be undefined: 1) broadcasts against x0 and multiplies the squared error only; the
// mean is a plain one. Only the variance half of `model_output` gets a gradient from vb.
DiffusionLoss ComputeDiffusionLoss(const Schedule& schedule, Prediction prediction,
                                   const torch::Tensor& x0, const torch::Tensor& x_t,
                                   const torch::Tensor& t, const torch::Tensor& noise,
                                   const torch::Tensor& model_output,
                                   const torch::Tensor& weight = {});

// Element-wise KL(N(mean1, e^logvar1) || N(mean2, e^logvar2)) in nats.
torch::Tensor NormalKl(const torch::Tensor& mean1, const torch::Tensor& logvar1,
                       const torch::Tensor& mean2, const torch::Tensor& logvar2);

// Element-wise log-likelihood of `x`, 8-bit values scaled to [-1, 1], under a Gaussian discretised
// to their bins, in nats.
torch::Tensor DiscretizedGaussianLogLikelihood(const torch::Tensor& x, const torch::Tensor& mean,
                                               const torch::Tensor& log_scale);

}  // namespace reenact
