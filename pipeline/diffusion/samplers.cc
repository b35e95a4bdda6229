#include "pipeline/diffusion/samplers.h"

#include <algorithm>
#include <cmath>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace reenact {

using torch::Tensor;

const char* PredictionName(Prediction prediction) {
  switch (prediction) {
    case Prediction::kEpsilon:
      return "eps";
    case Prediction::kV:
      return "v";
    case Prediction::kX0:
      return "x0";
  }
  return "";
}

absl::StatusOr<Prediction> PredictionFromName(const std::string& name) {
  for (const auto p : {Prediction::kEpsilon, Prediction::kV, Prediction::kX0}) {
    if (name == PredictionName(p)) return p;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("there is no prediction \"", name, "\": eps, v or x0"));
}

ModelOutput SplitModelOutput(const Tensor& model_output, int64_t num_channels) {
  ModelOutput output;
  // The channels are the third dimension from the end: before them may be frames.
  output.prediction = model_output.narrow(-3, 0, num_channels);
  if (model_output.size(-3) == 2 * num_channels) {
    output.variance = model_output.narrow(-3, num_channels, num_channels);
  }
  return output;
}

Denoised PredictDenoised(const Schedule& schedule, int i, const Tensor& x,
                         const Tensor& model_output, Prediction prediction) {
  const double alpha = schedule.alpha(i), sigma = schedule.sigma(i);
  const Tensor out = SplitModelOutput(model_output, x.size(-3)).prediction.to(x.scalar_type());
  switch (prediction) {
    case Prediction::kEpsilon:
      TORCH_CHECK(alpha > 0, "pure noise, predicted as noise, holds no x_0");
      return {.x0 = (x - sigma * out) / alpha, .epsilon = out};
    case Prediction::kV:
      return {.x0 = alpha * x - sigma * out, .epsilon = sigma * x + alpha * out};
    case Prediction::kX0:
      break;
  }
  return {.x0 = out, .epsilon = (x - alpha * out) / sigma};
}

Tensor PredictX0(const Schedule& schedule, int i, const Tensor& x, const Tensor& model_output,
                 Prediction prediction) {
  return PredictDenoised(schedule, i, x, model_output, prediction).x0;
}

Tensor DdimStep(const Schedule& schedule, int i, const Tensor& x, const Tensor& model_output,
                Prediction prediction, double eta, const Tensor& noise) {
  const auto [x0, epsilon] = PredictDenoised(schedule, i, x, model_output, prediction);
  if (i == 0) return x0;  // alpha_bar before step 0 is 1
  const double now = schedule.alphas_cumprod()[i], before = schedule.alphas_cumprod_prev()[i];
  const double sigma = eta * std::sqrt((1 - before) / (1 - now)) * std::sqrt(1 - now / before);
  const Tensor mean =
      std::sqrt(before) * x0 + std::sqrt(std::max(0.0, 1 - before - sigma * sigma)) * epsilon;
  return sigma > 0 ? mean + sigma * noise.to(x.scalar_type()) : mean;
}

Tensor DdimReverseStep(const Schedule& schedule, int i, const Tensor& x, const Tensor& model_output,
                       Prediction prediction) {
  const auto [x0, epsilon] = PredictDenoised(schedule, i, x, model_output, prediction);
  const double next = schedule.alphas_cumprod_next()[i];
  return std::sqrt(next) * x0 + std::sqrt(1 - next) * epsilon;
}

Tensor DpmSolverStep(const Schedule& schedule, int i, const Tensor& x, const Tensor& x0,
                     const Tensor& previous_x0) {
  if (i == 0) return x0;
  // Half the logarithm of the signal-to-noise ratio; minus infinity where there is no signal. The
  // formulas below have the right limits there: h is infinite or `ratio` is 0.
  const auto lambda = [&schedule](int k) {
    return std::log(schedule.alpha(k)) - std::log(schedule.sigma(k));
  };
  const double h = lambda(i - 1) - lambda(i);
  Tensor D = x0;
  if (previous_x0.defined() && i > 1) {
    // Extrapolated to the middle of the step: x0 + (h / 2) times its slope.
    const double ratio = h / (lambda(i) - lambda(i + 1));
    D = x0 + 0.5 * ratio * (x0 - previous_x0);
  }
  return schedule.sigma(i - 1) / schedule.sigma(i) * x - schedule.alpha(i - 1) * std::expm1(-h) * D;
}

Tensor DdpmStep(const Schedule& schedule, int i, const Tensor& x, const Tensor& model_output,
                Prediction prediction, const Tensor& noise, FixedVariance fixed_variance) {
  const Tensor x0 = PredictX0(schedule, i, x, model_output, prediction);
  const Tensor mean =
      schedule.posterior_mean_coef1()[i] * x0 + schedule.posterior_mean_coef2()[i] * x;
  if (i == 0) return mean;
  const double min_log = schedule.posterior_log_variance_clipped()[i];
  const double max_log = std::log(schedule.betas()[i]);
  const Tensor v = SplitModelOutput(model_output, x.size(-3)).variance;
  if (!v.defined()) {
    const double log_variance = fixed_variance == FixedVariance::kSmall ? min_log : max_log;
    return mean + std::exp(0.5 * log_variance) * noise.to(x.scalar_type());
  }
  const Tensor fraction = (v.to(x.scalar_type()) + 1) / 2;
  const Tensor log_variance = fraction * max_log + (1 - fraction) * min_log;
  return mean + torch::exp(0.5 * log_variance) * noise.to(x.scalar_type());
}

}  // namespace reenact
