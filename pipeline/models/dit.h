// Class-conditional DiT (Peebles & Xie 2022; facebookresearch/DiT@ed81ce2, models.py).
// N pictures, C latent channels, h = w latent side. Thread-compatible.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "pipeline/models/dit_layers.h"
#include "torch/torch.h"

namespace reenact {

struct DiTConfig {
  int64_t latent_channels = 4;
  int64_t latent_size = 0;
  int64_t patch_size = 0;
  int64_t hidden_size = 0;
  int64_t depth = 0;
  int64_t num_heads = 0;
  int64_t num_classes = 0;
  bool learn_sigma = true;

  int64_t out_channels() const { return learn_sigma ? 2 * latent_channels : latent_channels; }
  int64_t tokens_side() const { return latent_size / patch_size; }
};
absl::Status Validate(const DiTConfig& config);

class DiTImpl : public torch::nn::Module {
 public:
  // `config` must be valid.
  explicit DiTImpl(const DiTConfig& config);
  // x [N, C, h, w], t [N] int64, y [N] int64 (num_classes is the null class) -> [N, out_channels,
  // h, w].
  torch::Tensor forward(const torch::Tensor& x, const torch::Tensor& t, const torch::Tensor& y);

  // The parts of forward. Tokens are [N, 1, S, D] and conditions [N, 1, D].
  torch::Tensor embed(const torch::Tensor& x);
  torch::Tensor condition(const torch::Tensor& t, const torch::Tensor& y);
  DiTBlock block(int64_t i) const { return blocks_[static_cast<size_t>(i)]; }
  FinalLayer final_layer() const { return final_layer_; }
  TimestepEmbedder t_embedder() const { return t_embedder_; }
  PatchEmbed x_embedder() const { return x_embedder_; }
  torch::Tensor label_embedding(const torch::Tensor& y) { return y_embedder_(y); }
  torch::Tensor label_table() const { return y_embedder_->weight; }

  const DiTConfig& config() const { return config_; }

 private:
  const DiTConfig config_;
  PatchEmbed x_embedder_{nullptr};
  TimestepEmbedder t_embedder_{nullptr};
  torch::nn::Embedding y_embedder_{nullptr};
  std::vector<DiTBlock> blocks_;
  FinalLayer final_layer_{nullptr};
  torch::Tensor pos_embed_;  // [1, S, D]
};
TORCH_MODULE(DiT);

// DiT's own classifier-free guidance, quirks included: the batch is [conditional | unconditional],
// the first half of x is used for both, and only the first three channels are guided.
torch::Tensor ForwardWithCfg(DiT& model, const torch::Tensor& x, const torch::Tensor& t,
                             const torch::Tensor& y, double scale);

void InitializeWeights(DiT& model);

}  // namespace reenact
