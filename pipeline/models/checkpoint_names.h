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

// DiT: diffusers' names (q, k and v joined; of the embedders that it repeats in every block the
// first, if the others are equal). diffusers stores no position table, so the result then has none.
StateDictMap DiTNames(const StateDictMap& tensors);

// What an sDiT takes over from a DiT under DiT's names: all but the label table. An sDiT of one
// frame with a temporal table of zeros, whose condition is a row of that table, equals the DiT.
StateDictMap SDiTFromDiT(const StateDictMap& tensors);

}  // namespace reenact
