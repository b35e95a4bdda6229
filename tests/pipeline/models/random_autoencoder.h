// An autoencoder with random weights: the tests of every decoder.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "pipeline/models/autoencoder_kl.h"

namespace reenact::testing {

inline AutoencoderKL RandomAutoencoder(std::vector<int64_t> widths, int64_t groups,
                                       int64_t latent_channels = 4, int64_t layers = 1) {
  AutoencoderKLConfig config;
  config.block_out_channels = std::move(widths);
  config.norm_num_groups = groups;
  config.latent_channels = latent_channels;
  config.layers_per_block = layers;
  torch::manual_seed(11);
  AutoencoderKL autoencoder(config);
  InitializeWeights(autoencoder);
  // Norms that do something.
  const torch::NoGradGuard no_grad;
  for (auto& item : autoencoder->named_parameters()) {
    if (item.key().find("norm") != std::string::npos)
      item.value() += 0.3 * torch::randn_like(item.value());
  }
  autoencoder->eval();
  return autoencoder;
}

}  // namespace reenact::testing
