// AutoencoderKL of latent diffusion (Rombach et al. 2022) in the layout of Stable Diffusion 1.x
// (huggingface/diffusers, models/autoencoders/autoencoder_kl.py): pictures to latents and back.
//
// N pictures [N, in_channels, H, W] in [-1, 1]; latents [N, C, H/f, W/f], f = downscale(),
// unscaled: the caller multiplies by scaling_factor for the diffusion model and divides before
// decode(). Trainable. Thread-compatible.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "torch/torch.h"

namespace reenact {

struct AutoencoderKLConfig {
  int64_t in_channels = 3;
  int64_t latent_channels = 4;
  std::vector<int64_t> block_out_channels;
  int64_t layers_per_block = 2;
  int64_t norm_num_groups = 32;
  double scaling_factor = 0.18215;

  int64_t downscale() const {
    return block_out_channels.empty() ? 1 : int64_t{1} << (block_out_channels.size() - 1);
  }
};
// kInvalidArgument names the field.
absl::Status Validate(const AutoencoderKLConfig& config);

// The diagonal Gaussian of a picture's latents. logvar is clamped to [-30, 20].
struct Moments {
  torch::Tensor mean, logvar;  // [N, C, h, w]

  torch::Tensor std() const { return torch::exp(0.5 * logvar); }
  torch::Tensor sample(const torch::Tensor& noise) const { return mean + std() * noise; }
  // KL to N(0, 1), summed over all but N: [N].
  torch::Tensor kl() const;
};
// [N, 2C, h, w], mean and logvar, -> Moments.
Moments MomentsFrom(const torch::Tensor& moments);

class AutoencoderEncoderImpl;
class AutoencoderDecoderImpl;

class AutoencoderKLImpl : public torch::nn::Module {
 public:
  // `config` must be valid.
  explicit AutoencoderKLImpl(const AutoencoderKLConfig& config);

  // H and W must be multiples of downscale().
  Moments encode(const torch::Tensor& x);
  // Not clamped to [-1, 1].
  torch::Tensor decode(const torch::Tensor& z);

  // Names and outputs of the parts of the last-named path ("conv_in", "down.0", "mid_attn", "mid",
  // "up.0", "conv_out", "post_quant"), for tests.
  using Trace = std::vector<std::pair<std::string, torch::Tensor>>;
  Moments encode(const torch::Tensor& x, Trace* trace);
  torch::Tensor decode(const torch::Tensor& z, Trace* trace);

  const AutoencoderKLConfig& config() const { return config_; }

 private:
  const AutoencoderKLConfig config_;
  std::shared_ptr<AutoencoderEncoderImpl> encoder_;
  std::shared_ptr<AutoencoderDecoderImpl> decoder_;
  torch::nn::Conv2d quant_conv_{nullptr}, post_quant_conv_{nullptr};
};
TORCH_MODULE(AutoencoderKL);

// As torch's and diffusers' own: Kaiming-uniform convolutions and linear layers, unit norms. Draws
// from torch's default generator.
void InitializeWeights(AutoencoderKL& model);

}  // namespace reenact
