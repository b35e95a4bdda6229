#include "pipeline/engine/source_edit.h"

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "pipeline/diffusion/noise.h"
#include "pipeline/engine/sampling.h"

namespace reenact {
namespace {

using torch::Tensor;

// The noise that edits begin with: any will do, as long as it is always the same.
constexpr uint64_t kNoiseSeed = 0;

}  // namespace

absl::StatusOr<Tensor> EditSourceLatent(SDiT sdit, const SourceEdit& edit,
                                        const SourceEditOptions& options) {
  const auto schedule =
      Schedule::Create(options.schedule, options.num_train_steps, absl::StrCat(options.num_steps));
  if (!schedule.ok()) return schedule.status();
  const c10::InferenceMode inference;
  const SDiTConfig& config = sdit->config();
  const int64_t T = config.num_frames;

  // Four rows: G before and after, and both without it.
  const Tensor dropped = sdit->null_clip();
  const Tensor G = torch::stack({edit.G_before, edit.G_after, dropped, dropped});
  const int64_t rows = G.size(0);
  SDiTInput input;
  input.C = sdit->map(G, edit.landmarks.expand({rows, T, -1}));
  if (config.landmark_map) {
    input.landmark_map = edit.landmark_map.value().expand({rows, T, -1, -1});
  }
  if (config.source != SourceTokens::kNone) {
    input.source_latent = edit.latent.unsqueeze(0);
    input.source_C = input.C.select(1, 0).narrow(0, 0, 1);
    if (config.landmark_map) input.source_landmark_map = edit.landmark_map->unsqueeze(0);
    input.source_mask = torch::zeros({rows}, torch::kBool);
  }

  std::vector<Tensor> noise;
  for (int64_t k = 0; k < T; ++k) {
    noise.push_back(FrameNoise(kNoiseSeed, static_cast<uint64_t>(k), 0, edit.latent.sizes()));
  }
  const SamplingOptions sampling = {.prediction = options.prediction};
  SamplerState state = {.x = torch::stack(noise).expand({2, -1, -1, -1, -1}), .previous_x0 = {}};
  for (int i = schedule->size() - 1; i >= 0; --i) {
    input.x = torch::cat({state.x, state.x});
    input.t = torch::full({rows}, schedule->timestep(i), torch::kInt64);
    const std::vector<Tensor> halves = sdit->forward(input).chunk(2);
    const Tensor output =
        Guide(halves[0], halves[1], config.latent_channels, options.guidance_scale);
    SamplerStep(*schedule, i, output, sampling, nullptr, &state);
  }
  return edit.latent + (state.x[1] - state.x[0]).mean(0);
}

}  // namespace reenact
