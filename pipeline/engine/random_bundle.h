// A small bundle with random weights: it makes noise, not faces, but takes every path a trained one
// takes. For tests and for trying out an installation.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "pipeline/engine/bundle.h"

namespace reenact {

// 64 x 64 pixels, T = 4, source tokens and landmark maps, v prediction; under a megabyte.
BundleConfig SmallBundleConfig();

// Weights as the networks' initialisers draw them, except that layers which begin at zero get small
// random values, so that every input has an effect. `config.clip.text` must be SmallBundleConfig's:
// its merges are written. Sets the seed of torch's default generator. Errors as WriteBundle.
absl::Status WriteRandomBundle(const std::string& folder, const BundleConfig& config,
                               uint64_t seed);

}  // namespace reenact
