// Whitened landmarks: expressions are 1 to 3 % of the amplitude of raw landmarks, so a network sees
// them late. Training reads y = (l - mean) V / max(deviation, floor) with the first principal
// directions V; afterwards the change of variables is folded into the network's first layer, which
// then takes raw landmarks as always.
#pragma once

#include <torch/torch.h>

#include <cstdint>

namespace reenact {

struct LandmarkWhitening {
  torch::Tensor mean;   // float32 [n]
  torch::Tensor basis;  // float32 [n, components]: V / max(deviation, floor)

  // [..., n] -> [..., components].
  torch::Tensor Apply(const torch::Tensor& landmarks) const;
};

// Of samples [N, n], float32. Deviations below `floor` times the largest are raised to it.
LandmarkWhitening ComputeWhitening(const torch::Tensor& samples, int64_t components, double floor);

// Sets `target` (n -> D) to what `whitened` (components -> D) makes of whitened landmarks.
void FoldWhitening(const LandmarkWhitening& whitening, const torch::nn::Linear& whitened,
                   torch::nn::Linear target);

}  // namespace reenact
