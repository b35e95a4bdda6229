#include "pipeline/diffusion/losses.h"

#include <cmath>
#include <numbers>

namespace reenact {

using torch::Tensor;

namespace {

Tensor MeanOverSample(const Tensor& x) { return x.flatten(1).mean(1); }

std::vector<double> Map(const std::vector<double>& table, double (*f)(double)) {
  std::vector<double> result;
  for (double value : table) result.push_back(f(value));
  return result;
}

double Sqrt(double x) { return std::sqrt(x); }
double SqrtOfRest(double x) { return std::sqrt(1.0 - x); }
double Log(double x) { return std::log(x); }

// Page's approximation of the standard normal distribution function, which the reference uses.
Tensor ApproximateCdf(const Tensor& x) {
  return 0.5 *
         (1.0 + torch::tanh(std::sqrt(2.0 / std::numbers::pi) * (x + 0.044715 * torch::pow(x, 3))));
}

}  // namespace

Tensor Gather(const std::vector<double>& table, const Tensor& t, int64_t num_dims) {
  const Tensor values =
      torch::tensor(table, torch::kFloat64).to(torch::kFloat32).to(t.device()).index_select(0, t);
  std::vector<int64_t> shape(num_dims, 1);
  shape[0] = t.size(0);
  return values.view(shape);
}

Tensor AddNoise(const Schedule& schedule, const Tensor& x0, const Tensor& t, const Tensor& noise) {
  const auto alpha = Gather(Map(schedule.alphas_cumprod(), Sqrt), t, x0.dim());
  const auto sigma = Gather(Map(schedule.alphas_cumprod(), SqrtOfRest), t, x0.dim());
  return alpha * x0 + sigma * noise;
}

Tensor PredictionTarget(const Schedule& schedule, const Tensor& x0, const Tensor& t,
                        const Tensor& noise, Prediction prediction) {
  switch (prediction) {
    case Prediction::kEpsilon:
      return noise;
    case Prediction::kX0:
      return x0;
    case Prediction::kV:
      break;
  }
  const auto alpha = Gather(Map(schedule.alphas_cumprod(), Sqrt), t, x0.dim());
  const auto sigma = Gather(Map(schedule.alphas_cumprod(), SqrtOfRest), t, x0.dim());
  return alpha * noise - sigma * x0;
}

Tensor NormalKl(const Tensor& mean1, const Tensor& logvar1, const Tensor& mean2,
                const Tensor& logvar2) {
  return 0.5 * (-1.0 + logvar2 - logvar1 + torch::exp(logvar1 - logvar2) +
                (mean1 - mean2).square() * torch::exp(-logvar2));
}

Tensor DiscretizedGaussianLogLikelihood(const Tensor& x, const Tensor& mean,
                                        const Tensor& log_scale) {
  constexpr double kHalfBin = 1.0 / 255.0, kEdge = 0.999, kSmallest = 1e-12;
  const auto centered = x - mean;
  const auto inverse_scale = torch::exp(-log_scale);
  const auto below_upper = ApproximateCdf(inverse_scale * (centered + kHalfBin));
  const auto below_lower = ApproximateCdf(inverse_scale * (centered - kHalfBin));
  const auto log = [](const Tensor& p) { return torch::log(p.clamp_min(kSmallest)); };
  return torch::where(
      x < -kEdge, log(below_upper),
      torch::where(x > kEdge, log(1.0 - below_lower), log(below_upper - below_lower)));
}

namespace {

// The variational bound's term of step t, in bits per dimension, [N]. The mean gets no gradient.
Tensor VariationalBound(const Schedule& schedule, Prediction prediction, const Tensor& x0,
                        const Tensor& x_t, const Tensor& t, const ModelOutput& output) {
  const auto gather = [&](const std::vector<double>& table) { return Gather(table, t, x0.dim()); };
  const auto alpha = gather(Map(schedule.alphas_cumprod(), Sqrt));
  const auto sigma = gather(Map(schedule.alphas_cumprod(), SqrtOfRest));
  const auto coef1 = gather(schedule.posterior_mean_coef1());
  const auto coef2 = gather(schedule.posterior_mean_coef2());
  const auto min_log = gather(schedule.posterior_log_variance_clipped());
  const auto max_log = gather(Map(schedule.betas(), Log));

  const auto out = output.prediction.detach();
  const auto predicted_x0 = prediction == Prediction::kX0  ? out
                            : prediction == Prediction::kV ? alpha * x_t - sigma * out
                                                           : (x_t - sigma * out) / alpha;
  const auto fraction = (output.variance + 1) / 2;
  const auto log_variance = fraction * max_log + (1 - fraction) * min_log;
  const auto mean = coef1 * predicted_x0 + coef2 * x_t;
  const auto true_mean = coef1 * x0 + coef2 * x_t;

  const auto kl = MeanOverSample(NormalKl(true_mean, min_log, mean, log_variance));
  const auto nll = -MeanOverSample(DiscretizedGaussianLogLikelihood(x0, mean, 0.5 * log_variance));
  return torch::where(t == 0, nll, kl) / std::numbers::ln2;
}

}  // namespace

DiffusionLoss ComputeDiffusionLoss(const Schedule& schedule, Prediction prediction,
                                   const Tensor& x0, const Tensor& x_t, const Tensor& t,
                                   const Tensor& noise, const Tensor& model_output,
                                   const Tensor& weight) {
  ModelOutput output = SplitModelOutput(model_output, x0.size(-3));
  output.prediction = output.prediction.to(x0.scalar_type());
  const auto target = PredictionTarget(schedule, x0, t, noise, prediction);
  const auto error = (target - output.prediction).square();

  DiffusionLoss loss;
  loss.mse = MeanOverSample(weight.defined() ? weight * error : error);
  loss.vb = torch::zeros_like(loss.mse);
  if (output.variance.defined()) {
    output.variance = output.variance.to(x0.scalar_type());
    loss.vb = VariationalBound(schedule, prediction, x0, x_t, t, output);
  }
  loss.loss = loss.mse + loss.vb;
  return loss;
}

}  // namespace reenact
