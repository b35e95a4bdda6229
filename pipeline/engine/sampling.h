// What a denoiser is told and what it gives: shared by those the engine runs (clip_denoiser.h) and
// the full-batch form (override_denoiser.h), which the trace form is tested against.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "pipeline/anchored/row_plan.h"
#include "pipeline/diffusion/samplers.h"
#include "pipeline/models/sdit.h"
#include "pipeline/types.h"
#include "torch/torch.h"

namespace reenact {

// "ddim", "ddpm", "dpm-solver++".
const char* SamplerName(Sampler sampler);
absl::StatusOr<Sampler> SamplerFromName(const std::string& name);

// What the network is told of K frames. D hidden size, S tokens of a frame.
struct FrameConditions {
  torch::Tensor C;             // [K, D], SDiT::map of (G, the frame's landmarks)
  torch::Tensor C_dropped;     // [K, D], of (null_clip, landmarks); only for guidance
  torch::Tensor landmark_map;  // [K, S, landmark_map_channels()]; only where networks read them
};

// Those of `frames`, in that order. Asked when a row begins, on the thread that denoises, so that
// nothing is kept for frames that wait or are done, and a clip may grow meanwhile.
using FrameConditionSource = std::function<FrameConditions(absl::Span<const int64_t> frames)>;

// What the network is told of a clip.
struct Conditions {
  FrameConditionSource frames;
  std::optional<torch::Tensor> source_latent;        // [C, h, w], scaled; none: a text source
  std::optional<torch::Tensor> source_C;             // [D]
  std::optional<torch::Tensor> source_landmark_map;  // [S, landmark_map_channels()]
};

// Rows of tensors made before: of N frames, undefined where FrameConditions may be.
FrameConditionSource FromTensors(const FrameConditions& all);

// [C, h, w] for a frame: step 0 is the initial noise, k >= 1 that of the k-th step. Must be pure.
using NoiseSource = std::function<torch::Tensor(int frame, int step)>;

// Guidance (scale s != 1) runs the network a second time per step without the appearance: the null
// vector in place of G, source tokens hidden; the landmarks stay. The prediction becomes
// without + s * (with - without), on the latent channels; a learned variance is taken from the run
// with it. Each run has its own anchor.
struct SamplingOptions {
  Prediction prediction = Prediction::kEpsilon;
  Sampler sampler = Sampler::kDdim;
  double ddim_eta = 0;
  double guidance_scale = 1;
  // Latent channels that guidance changes, from the first on; 0: all. DiT's published samples were
  // made with 3 of 4.
  int64_t guided_channels = 0;

  bool guided() const { return guidance_scale != 1; }
};

struct FinishedFrame {
  int frame = 0;
  torch::Tensor latent;  // [C, h, w], scaled, its own memory
};

// kInvalidArgument: the parts do not fit each other. A network of T frames takes rows of T; rows
// without an anchor may have fewer, and are then its first slots.
absl::Status CheckFit(const SDiTConfig& config, const Conditions& conditions);
absl::Status CheckFit(const SDiTConfig& config, const RowPlan& plan, const Conditions& conditions);

// `conditions.frames` of `frames`. Throws c10::Error if they do not fit the network.
FrameConditions ConditionsOf(const Conditions& conditions, absl::Span<const int64_t> frames,
                             const SDiTConfig& config, const SamplingOptions& options);

// The prediction of both runs as one, [..., out_channels, h, w] with the channels third from last.
torch::Tensor Guide(const torch::Tensor& with, const torch::Tensor& without, int64_t channels,
                    double scale);
// The same as the options say.
torch::Tensor Guide(const torch::Tensor& with, const torch::Tensor& without,
                    const SDiTConfig& config, const SamplingOptions& options);

// Latents on their way, and what a multistep sampler remembers of the step before.
struct SamplerState {
  torch::Tensor x;            // [..., C, h, w]
  torch::Tensor previous_x0;  // likewise; undefined before the first step and for other samplers
};

// x_i to x_{i-1} by the chosen update. `noise` is called only if the update draws any.
void SamplerStep(const Schedule& schedule, int i, const torch::Tensor& output,
                 const SamplingOptions& options, const std::function<torch::Tensor()>& noise,
                 SamplerState* state);

// kInternal if a latent is not finite.
absl::Status CheckFinite(const FinishedFrame& frame);

}  // namespace reenact
