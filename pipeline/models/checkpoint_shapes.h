// What a checkpoint under our names (checkpoint_names.h) says about its network, and the names and
// shapes that a configuration calls for. Nothing here makes a whole network. Thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "pipeline/models/autoencoder_kl.h"
#include "pipeline/models/clip.h"
#include "pipeline/models/dit.h"
#include "pipeline/models/sdit.h"
#include "torch/torch.h"

namespace reenact {

using TensorShapes = std::map<std::string, std::vector<int64_t>>;

// The configuration that the tensors' names and shapes imply. What they cannot say comes from
// `config_json`, the config.json of diffusers or transformers ("" if there is none), else from the
// argument behind it, else is what the public models have. kInvalidArgument names the tensor that
// is missing or has no such shape, or the field that has to be given.

// num_heads: of D = 384, 768, 1024 and 1152 those of DiT-S, B, L and XL. latent_size: from
// pos_embed, else sample_size. 0: not given.
absl::StatusOr<DiTConfig> DiTConfigFrom(const std::map<std::string, torch::Tensor>& tensors,
                                        const std::string& config_json, int64_t num_heads = 0,
                                        int64_t latent_size = 0);
// Of our own networks. Source tokens count as kSelf.
absl::StatusOr<SDiTConfig> SDiTConfigFrom(const std::map<std::string, torch::Tensor>& tensors,
                                          int64_t num_heads = 0);
// norm_num_groups (32) and scaling_factor (0.18215) are in config.json alone.
absl::StatusOr<AutoencoderKLConfig> AutoencoderKLConfigFrom(
    const std::map<std::string, torch::Tensor>& tensors, const std::string& config_json);
// Heads: hidden_size / 64. Start and end of a text: the last two tokens of the vocabulary.
absl::StatusOr<ClipConfig> ClipConfigFrom(const std::map<std::string, torch::Tensor>& tensors,
                                          const std::string& config_json);

// Names and shapes of a network's parameters and buffers. `config` must be valid.
TensorShapes ShapesOf(const SDiTConfig& config);
TensorShapes ShapesOf(const AutoencoderKLConfig& config);
TensorShapes ShapesOf(const ClipConfig& config);

// The same network with as little depth as has a block of every kind; and the name in it of a
// tensor that stands for `name`: that of the same tensor in the first block.
SDiTConfig ShallowConfig(SDiTConfig config);
ClipConfig ShallowConfig(ClipConfig config);
std::string NameInFirstBlock(const std::string& name);

}  // namespace reenact
