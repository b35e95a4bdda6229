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

// The unscaled latents of `data` from such a file. kInvalidArgument if it was made from other
// people.
absl::StatusOr<torch::Tensor> ReadLatents(const std::string& path, const DataCache& data);

// `latents` as ReadLatents() gives them; `data` must outlive the result.
absl::StatusOr<SditData> PrepareSditData(const DataCache& data, const torch::Tensor& latents,
                                         double scaling_factor, TrainedClip& clip);

// 1 / the standard deviation of all latent numbers.
double ScalingFactor(const torch::Tensor& latents);

}  // namespace reenact
