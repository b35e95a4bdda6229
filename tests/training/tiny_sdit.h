// A small sDiT and what it is trained on.
#pragma once

#include <torch/torch.h>

#include <memory>
#include <stdexcept>

#include "tests/training/tiny_data.h"
#include "training/sdit_trainer.h"

namespace reenact::testing {

inline constexpr int64_t kTinyClipDim = 8, kTinySide = 4;

// Latents that follow from the pictures: block means of the three colours and of their sum.
inline SditData MakeTinySditData() {
  const DataCache& cache = TinyData();
  torch::manual_seed(3);
  const int64_t P = cache.num_people(), F = cache.num_frames();
  const torch::Tensor pictures =
      cache.frames.view({P * F, 3, cache.size(), cache.size()}).to(torch::kFloat32) / 127.5 - 1;
  const torch::Tensor means = torch::avg_pool2d(pictures, cache.size() / kTinySide);
  const torch::Tensor latents = torch::cat({means, means.sum(1, true) / 3}, 1);
  const auto unit = [](const torch::Tensor& x) { return x / x.norm(2, -1, true); };
  return {.latents = latents.view({P, F, 4, kTinySide, kTinySide}),
          .scaling_factor = 1,
          .expressive = ExpressiveShare(cache, kTinySide),
          .image_identity = unit(torch::randn({P, F, kTinyClipDim})),
          .text_identity = unit(torch::randn({P, 2, kTinyClipDim})),
          .people = &cache};
}

// Made once per test program.
inline const SditData& TinySditData() {
  static const SditData* const kData = new SditData(MakeTinySditData());
  return *kData;
}

inline SditTrainingOptions TinySditOptions() {
  SditTrainingOptions options;
  options.hidden_size = 32;
  options.depth = 2;
  options.num_heads = 2;
  options.num_frames = 2;
  options.mapping_blocks = 1;
  options.clips = 4;
  options.whitened_components = 24;
  options.warmup_steps = 10;
  options.learning_rate = 3e-3;
  options.ema = 0.9;
  return options;
}

inline std::unique_ptr<SditTrainee> MakeTinySdit(const SditTrainingOptions& options) {
  auto trainee =
      SditTrainee::Create(options, TinySditData(), &TinySditData(), AutoencoderKL(nullptr));
  if (!trainee.ok()) throw std::runtime_error(trainee.status().ToString());
  return *std::move(trainee);
}

}  // namespace reenact::testing
