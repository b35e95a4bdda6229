// Lets networks go on with more latent channels than they were trained with, without forgetting.
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

// The same for an sDiT of configuration `from`: what is predicted of the first channels stays what
// it was, whatever is in the others; of those 0.
TensorMap WidenSdit(TensorMap weights, const SDiTConfig& from, int64_t to);

}  // namespace reenact
