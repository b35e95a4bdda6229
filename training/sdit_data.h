// From pictures and captions to what the sDiT is trained on.
#pragma once

#include <torch/torch.h>

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "training/data_cache.h"
#include "training/sdit_trainer.h"
#include "training/trained_parts.h"

namespace reenact {

// Latent means of every frame of `data`, unscaled, to a safetensors file: float16 "latents"
// [P,F,C,h,h] and int64 "seeds" [P].
absl::Status WriteLatents(const std::string& path, TrainedAutoencoder& autoencoder,
                          const DataCache& data, bool bfloat16);

struct CachedLatents {
  torch::Tensor latents;      // float32 [P,F,C,h,h], unscaled
  double scaling_factor = 1;  // 1 / the standard deviation of all numbers in the file
};
// Those of `data` from such a file, which may hold more people. kInvalidArgument if it was made
// from others.
absl::StatusOr<CachedLatents> ReadLatents(const std::string& path, const DataCache& data);

// The latents become `scaling_factor` times as large, which need not be their own factor. `data`
// must outlive the result.
absl::StatusOr<SditData> PrepareSditData(const DataCache& data, const CachedLatents& latents,
                                         double scaling_factor, TrainedClip& clip);

}  // namespace reenact
