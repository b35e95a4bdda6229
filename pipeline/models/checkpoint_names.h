// Public checkpoints come under several naming schemes; these functions bring a state dict to the
// names of our modules (diffusers' and transformers'). Names that no scheme knows pass unchanged,
// so that LoadWeights reports them. Tensors may be reshaped views. Thread-safe.
#pragma once

#include <map>
#include <string>

#include "torch/torch.h"

namespace reenact {

using StateDictMap = std::map<std::string, torch::Tensor>;

// AutoencoderKL: the original latent-diffusion names (with or without "first_stage_model."; the
// rest of a full checkpoint and the training loss are dropped), and diffusers' old attention names.
StateDictMap AutoencoderKLNames(const StateDictMap& tensors);

// Clip: openai/CLIP's names (projections transposed, q, k and v separated); transformers' with
// stored position ids.
StateDictMap ClipNames(const StateDictMap& tensors);

}  // namespace reenact
