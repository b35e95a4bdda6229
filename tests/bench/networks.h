// Networks to measure: a named shape with random weights, or a bundle's.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "pipeline/diffusion/samplers.h"
#include "pipeline/engine/sampling.h"
#include "pipeline/models/autoencoder_kl.h"
#include "pipeline/models/sdit.h"
#include "torch/torch.h"

namespace reenact::bench {

struct NetworkShape {
  SDiTConfig sdit;
  AutoencoderKLConfig autoencoder;
};

// "demo", "S/2", "B/2", "XL/2".
const std::vector<std::string>& ShapeNames();
// `num_slots` T of a row; 0: the shape's own (demo 8, the others 4). kInvalidArgument: unknown
// name, or a shape that cannot be.
absl::StatusOr<NetworkShape> FindShape(const std::string& name, int num_slots);

struct Networks {
  std::string name;
  Prediction prediction = Prediction::kEpsilon;
  SDiT sdit{nullptr};
  AutoencoderKL autoencoder{nullptr};
};

// Random weights, no layer zero: every input has an effect. Sets torch's default generator. The
// sDiT or the autoencoder is left out (null) unless asked for.
Networks MakeNetworks(const std::string& name, const NetworkShape& shape, uint64_t seed,
                      bool with_sdit, bool with_autoencoder);
SDiT MakeSdit(const SDiTConfig& config, uint64_t seed);

// As ReadBundle, errors with --bundle before them.
absl::StatusOr<Networks> ReadNetworks(const std::string& folder);

// Conditions of `num_frames` frames from random landmarks, source and maps. Sets torch's default
// generator.
Conditions RandomConditions(SDiT sdit, int num_frames, uint64_t seed);

}  // namespace reenact::bench
