// A small autoencoder in training, on TinyData().
#pragma once

#include <memory>
#include <stdexcept>

#include "tests/training/tiny_data.h"
#include "training/autoencoder_trainer.h"

namespace reenact::testing {

inline AutoencoderTrainingOptions TinyAutoencoderOptions() {
  AutoencoderTrainingOptions options;
  options.block_out_channels = {8, 16};
  options.norm_num_groups = 4;
  options.crop = 16;
  options.batch = 4;
  options.warmup_steps = 5;
  options.ema = 0.9;
  return options;
}

inline std::unique_ptr<AutoencoderTrainee> MakeTinyAutoencoder(
    const AutoencoderTrainingOptions& options) {
  auto trainee = AutoencoderTrainee::Create(options, TinyData(), &TinyData());
  if (!trainee.ok()) throw std::runtime_error(trainee.status().ToString());
  return *std::move(trainee);
}

}  // namespace reenact::testing
