// Whitened inputs. What matters is a small part of some of them: expressions are 1 to 3 % of the
// amplitude of raw landmarks, so a network sees them late. Training reads
// y = (x - mean) V / max(deviation, floor) with the first principal directions V; afterwards the
// change of variables is folded into the network's first layer, which then takes raw numbers.
#pragma once

#include <torch/torch.h>

#include <cstdint>

namespace reenact {

struct Whitening {
  torch::Tensor mean;   // float32 [n]
  torch::Tensor basis;  // float32 [n, components]: V / max(deviation, floor)

  // [..., n] -> [..., components].
  torch::Tensor Apply(const torch::Tensor& x) const;
};

// Of samples [N, n], float32. Deviations below `floor` times the largest are raised to it.
Whitening ComputeWhitening(const torch::Tensor& samples, int64_t components, double floor);

// Sets `target` (n -> D) to what `whitened` (components -> D) makes of whitened numbers.
void FoldWhitening(const Whitening& whitening, const torch::nn::Linear& whitened,
                   torch::nn::Linear target);

// The reverse: sets `target` (components -> D) to what makes of whitened numbers what `raw` (n ->
// D) makes of raw ones, in the directions that the whitening keeps.
void UnfoldWhitening(const Whitening& whitening, const torch::nn::Linear& raw,
                     torch::nn::Linear target);

}  // namespace reenact
