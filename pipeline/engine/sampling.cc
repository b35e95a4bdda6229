#include "pipeline/engine/sampling.h"

#include <cstdint>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace reenact {

absl::Status CheckFit(const SDiTConfig& config, const RowPlan& plan, const Conditions& conditions,
                      const SamplingOptions& options) {
  const auto wrong = [](absl::string_view what) {
    return absl::InvalidArgumentError(absl::StrCat("denoiser: ", what));
  };
  if (plan.frames_per_row != config.num_frames) {
    return wrong(absl::StrCat("rows of ", plan.frames_per_row, " frames for a network of ",
                              config.num_frames));
  }
  const std::vector<int64_t> shape = {plan.num_frames, config.hidden_size};
  if (!conditions.C.defined() || conditions.C.sizes() != shape) {
    return wrong("C is not [frames, hidden size]");
  }
  if (options.guided() &&
      (!conditions.C_dropped.defined() || conditions.C_dropped.sizes() != shape)) {
    return wrong("guidance needs C_dropped of [frames, hidden size]");
  }
  if (config.landmark_map && !conditions.landmark_map) return wrong("landmark maps are missing");
  if (conditions.source_latent.has_value() && config.source != SourceTokens::kNone) {
    if (!conditions.source_C.has_value()) return wrong("source_C is missing");
    if (config.landmark_map && !conditions.source_landmark_map.has_value()) {
      return wrong("source_landmark_map is missing");
    }
  }
  return absl::OkStatus();
}

torch::Tensor Guide(const torch::Tensor& with, const torch::Tensor& without, int64_t channels,
                    double scale) {
  torch::Tensor guided = with.clone();
  guided.narrow(-3, 0, channels)
      .copy_(torch::lerp(without.narrow(-3, 0, channels), with.narrow(-3, 0, channels), scale));
  return guided;
}

torch::Tensor SamplerStep(const Schedule& schedule, int i, const torch::Tensor& x,
                          const torch::Tensor& output, const SamplingOptions& options,
                          const std::function<torch::Tensor()>& noise) {
  const bool ddim = options.sampler == Sampler::kDdim;
  const bool noisy = i > 0 && !(ddim && options.ddim_eta == 0);
  const torch::Tensor z = noisy ? noise() : torch::Tensor();
  return ddim ? DdimStep(schedule, i, x, output, options.prediction, options.ddim_eta, z)
              : DdpmStep(schedule, i, x, output, options.prediction, z);
}

absl::Status CheckFinite(const FinishedFrame& frame) {
  if (torch::isfinite(frame.latent).all().item<bool>()) return absl::OkStatus();
  return absl::InternalError(
      absl::StrCat("denoising frame ", frame.frame, " gave values that are not finite"));
}

}  // namespace reenact
