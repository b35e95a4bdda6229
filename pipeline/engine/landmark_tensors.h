// Landmarks as an sDiT's input.
//
// Pure functions, on the CPU.
#pragma once

#include <torch/torch.h>

#include "absl/types/span.h"
#include "pipeline/face/landmarks.h"
#include "pipeline/models/sdit.h"

namespace reenact {

// NormalizeLandmarks() of n faces: [n, 3 * kNumLandmarks] float32.
torch::Tensor LandmarkTensor(absl::Span<const Landmarks> faces);

// LandmarkMap(), and OpeningMap() behind it where the network reads openings:
// [S, config.landmark_map_channels()] float32.
torch::Tensor LandmarkMapTensor(const Landmarks& face, const SDiTConfig& config);

}  // namespace reenact
