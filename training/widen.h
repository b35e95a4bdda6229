// Lets networks go on with more latent channels or landmark features than they were trained with,
// without forgetting.
#pragma once

#include <torch/torch.h>

#include <cstdint>

#include "pipeline/models/sdit.h"
#include "training/optimizer.h"

namespace reenact {

// `weights` of an AutoencoderKL of `from` latent channels for one of `to` >= `from`. The first
// `from` channels and the reconstructions stay what they were; the others are random readings of
// the same features, as large, and the decoder does not look at them yet.
TensorMap WidenAutoencoder(TensorMap weights, int64_t from, int64_t to);

// The same for an sDiT: what is predicted of the first channels stays what it was, whatever is in
// the others; of those 0. Landmark features that `from` did not have are not looked at yet. All
// else of the two is the same.
TensorMap WidenSdit(TensorMap weights, const SDiTConfig& from, const SDiTConfig& to);

}  // namespace reenact
