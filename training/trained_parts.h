// The results of the trainings on disk: each a safetensors file whose metadata holds the network's
// configuration, so that a later stage needs nothing but the folder. A bundle is read as such a
// folder too, so that a training can go on from one.
#pragma once

#include <torch/torch.h>

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"
#include "pipeline/diffusion/samplers.h"
#include "pipeline/models/autoencoder_kl.h"
#include "pipeline/models/clip.h"
#include "pipeline/models/clip_tokenizer.h"
#include "pipeline/models/sdit.h"
#include "training/training_run.h"

namespace reenact {

// <folder>/autoencoder.safetensors.
absl::Status WriteAutoencoder(const std::string& folder, const AutoencoderKLConfig& config,
                              AutoencoderKL& autoencoder, const RunSummary& summary);
struct TrainedAutoencoder {
  AutoencoderKLConfig config;
  AutoencoderKL network{nullptr};  // evaluation mode, no gradients
  nlohmann::json training;         // steps and minutes
};
absl::StatusOr<TrainedAutoencoder> ReadAutoencoder(const std::string& folder);

// <folder>/clip.safetensors and <folder>/merges.txt.
absl::Status WriteClip(const std::string& folder, const ClipConfig& config, Clip& clip,
                       const std::string& merges, const RunSummary& summary);
struct TrainedClip {
  ClipConfig config;
  Clip network{nullptr};
  std::string merges;
  nlohmann::json training;
};
absl::StatusOr<TrainedClip> ReadClip(const std::string& folder);

// What an sDiT was trained to undo.
struct DiffusionProcess {
  Prediction prediction = Prediction::kV;
  std::string schedule = "linear";  // Schedule::Create's name
  double scaling_factor = 1;        // multiplies the autoencoder's latents
};

// <folder>/sdit.safetensors: the averaged weights, with the landmark whitening folded in.
absl::Status WriteSdit(const std::string& folder, const SDiTConfig& config, SDiT& sdit,
                       const DiffusionProcess& process, const RunSummary& summary);
struct TrainedSdit {
  SDiTConfig config;
  SDiT network{nullptr};
  DiffusionProcess process;
  nlohmann::json training;
};
// Without a schedule the file is from before there were two: "linear".
absl::StatusOr<TrainedSdit> ReadSdit(const std::string& folder);

}  // namespace reenact
