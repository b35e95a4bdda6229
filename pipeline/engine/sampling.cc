#include "pipeline/engine/sampling.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace reenact {

const char* SamplerName(Sampler sampler) {
  switch (sampler) {
    case Sampler::kDdim:
      return "ddim";
    case Sampler::kDdpm:
      return "ddpm";
    case Sampler::kDpmSolverPp:
      return "dpm-solver++";
  }
  return "";
}

absl::StatusOr<Sampler> SamplerFromName(const std::string& name) {
  for (const auto s : {Sampler::kDdim, Sampler::kDdpm, Sampler::kDpmSolverPp}) {
    if (name == SamplerName(s)) return s;
  }
  return absl::InvalidArgumentError(absl::StrCat("must be ddim, ddpm or dpm-solver++, is ", name));
}

FrameConditionSource FromTensors(const FrameConditions& all) {
  return [all](absl::Span<const int64_t> frames) {
    const torch::Tensor index =
        torch::tensor(std::vector<int64_t>(frames.begin(), frames.end()), torch::kInt64);
    const auto of_frames = [&index](const torch::Tensor& tensor) {
      return tensor.defined() ? tensor.index_select(0, index) : tensor;
    };
    return FrameConditions{of_frames(all.C), of_frames(all.C_dropped), of_frames(all.landmark_map)};
  };
}

namespace {

absl::Status Unfit(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("denoiser: ", what));
}

}  // namespace

absl::Status CheckFit(const SDiTConfig& config, const Conditions& conditions) {
  if (!conditions.frames) return Unfit("the frames' conditions are missing");
  if (conditions.source_latent.has_value() && config.source != SourceTokens::kNone) {
    if (!conditions.source_C.has_value()) return Unfit("source_C is missing");
    if (config.landmark_map && !conditions.source_landmark_map.has_value()) {
      return Unfit("source_landmark_map is missing");
    }
  }
  return absl::OkStatus();
}

absl::Status CheckFit(const SDiTConfig& config, const RowPlan& plan, const Conditions& conditions) {
  const bool fits = plan.anchor_slot.has_value() ? plan.frames_per_row == config.num_frames
                                                 : plan.frames_per_row <= config.num_frames;
  if (!fits) {
    return Unfit(absl::StrCat("rows of ", plan.frames_per_row, " frames for a network of ",
                              config.num_frames));
  }
  return CheckFit(config, conditions);
}

FrameConditions ConditionsOf(const Conditions& conditions, absl::Span<const int64_t> frames,
                             const SDiTConfig& config, const SamplingOptions& options) {
  FrameConditions of_frames = conditions.frames(frames);
  const auto check = [](const char* name, const torch::Tensor& tensor,
                        const std::vector<int64_t>& shape) {
    TORCH_CHECK(tensor.defined() && tensor.sizes() == shape, "condition ", name, " is not ", shape);
  };
  const auto count = static_cast<int64_t>(frames.size());
  check("C", of_frames.C, {count, config.hidden_size});
  if (options.guided()) check("C_dropped", of_frames.C_dropped, {count, config.hidden_size});
  if (config.landmark_map) {
    const int64_t tokens = config.tokens_side() * config.tokens_side();
    check("landmark_map", of_frames.landmark_map, {count, tokens, config.landmark_map_channels()});
  }
  return of_frames;
}

torch::Tensor Guide(const torch::Tensor& with, const torch::Tensor& without, int64_t channels,
                    double scale) {
  torch::Tensor guided = with.clone();
  guided.narrow(-3, 0, channels)
      .copy_(torch::lerp(without.narrow(-3, 0, channels), with.narrow(-3, 0, channels), scale));
  return guided;
}

torch::Tensor Guide(const torch::Tensor& with, const torch::Tensor& without,
                    const SDiTConfig& config, const SamplingOptions& options) {
  const int64_t channels = options.guided_channels > 0
                               ? std::min(options.guided_channels, config.latent_channels)
                               : config.latent_channels;
  return Guide(with, without, channels, options.guidance_scale);
}

void SamplerStep(const Schedule& schedule, int i, const torch::Tensor& output,
                 const SamplingOptions& options, const std::function<torch::Tensor()>& noise,
                 SamplerState* state) {
  torch::Tensor& x = state->x;
  switch (options.sampler) {
    case Sampler::kDdim: {
      const bool noisy = i > 0 && options.ddim_eta != 0;
      x = DdimStep(schedule, i, x, output, options.prediction, options.ddim_eta,
                   noisy ? noise() : torch::Tensor());
      return;
    }
    case Sampler::kDdpm:
      x = DdpmStep(schedule, i, x, output, options.prediction, i > 0 ? noise() : torch::Tensor());
      return;
    case Sampler::kDpmSolverPp: {
      const torch::Tensor x0 = PredictX0(schedule, i, x, output, options.prediction);
      x = DpmSolverStep(schedule, i, x, x0, state->previous_x0);
      state->previous_x0 = x0;
      return;
    }
  }
}

absl::Status CheckFinite(const FinishedFrame& frame) {
  if (torch::isfinite(frame.latent).all().item<bool>()) return absl::OkStatus();
  return absl::InternalError(
      absl::StrCat("denoising frame ", frame.frame, " gave values that are not finite"));
}

}  // namespace reenact
