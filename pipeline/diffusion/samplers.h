// One step of the reverse process: DDIM (Song et al. 2021), ancestral sampling (Ho et al. 2020)
// with the learned range of variances (Nichol & Dhariwal 2021), and DPM-Solver++(2M) (Lu et al.
// 2022).
//
// Latents are [..., C, h, w] of any leading dimensions, float32. A model output has C channels, the
// prediction, or 2C: the prediction and then v, the position of the variance in its range. It may
// be of a lower precision. Nothing is clipped: latents have no range. Pure functions, thread-safe.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "pipeline/diffusion/schedule.h"
#include "torch/torch.h"

namespace reenact {

// What the network predicts. With alpha = sqrt(alpha_bar), sigma = sqrt(1 - alpha_bar):
// kV is alpha * noise - sigma * x_0 (Salimans & Ho 2022). Where alpha is 0 (the last step of a
// schedule of zero terminal SNR) the noise says nothing about x_0: kEpsilon throws c10::Error
// there.
enum class Prediction { kEpsilon, kV, kX0 };

// "eps", "v", "x0".
const char* PredictionName(Prediction prediction);
absl::StatusOr<Prediction> PredictionFromName(const std::string& name);

// The variance of an ancestral step when the model does not learn it: that of q(x_{i-1} | x_i, x_0)
// (kSmall) or beta (kLarge).
enum class FixedVariance { kSmall, kLarge };

// A model output taken apart. `variance` is undefined if the output has no such half.
struct ModelOutput {
  torch::Tensor prediction;  // [..., C, h, w]
  torch::Tensor variance;    // [..., C, h, w]
};
ModelOutput SplitModelOutput(const torch::Tensor& model_output, int64_t num_channels);

// The clean latents and the noise that `model_output` says `x` is made of.
struct Denoised {
  torch::Tensor x0, epsilon;
};
Denoised PredictDenoised(const Schedule& schedule, int i, const torch::Tensor& x,
                         const torch::Tensor& model_output, Prediction prediction);
torch::Tensor PredictX0(const Schedule& schedule, int i, const torch::Tensor& x,
                        const torch::Tensor& model_output, Prediction prediction);

// x_{i-1} from x_i. `noise` is read only if eta > 0 and i > 0, and may be undefined otherwise.
// At i = 0 the result is x_0.
torch::Tensor DdimStep(const Schedule& schedule, int i, const torch::Tensor& x,
                       const torch::Tensor& model_output, Prediction prediction, double eta,
                       const torch::Tensor& noise);

// x_{i+1} from x_i along the deterministic (eta = 0) path.
torch::Tensor DdimReverseStep(const Schedule& schedule, int i, const torch::Tensor& x,
                              const torch::Tensor& model_output, Prediction prediction);

// x_{i-1} from x_i by DPM-Solver++(2M), the deterministic multistep solver of second order in data
// prediction. `x0` is what the network says at i (PredictX0), `previous_x0` what it said at i + 1:
// undefined at the first step, which is of first order (DDIM). So is the step to i - 1 = 0, which
// is by far the longest in terms of signal-to-noise, so that extrapolating over it would harm, and
// the step from i = size() - 2 of a schedule of zero terminal SNR, as no slope can be had over the
// infinitely long one before. At i = 0 the result is x_0.
torch::Tensor DpmSolverStep(const Schedule& schedule, int i, const torch::Tensor& x,
                            const torch::Tensor& x0, const torch::Tensor& previous_x0);

// x_{i-1} from x_i. `noise` is read only if i > 0.
torch::Tensor DdpmStep(const Schedule& schedule, int i, const torch::Tensor& x,
                       const torch::Tensor& model_output, Prediction prediction,
                       const torch::Tensor& noise,
                       FixedVariance fixed_variance = FixedVariance::kSmall);

}  // namespace reenact
