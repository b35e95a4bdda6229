// The machine's speed at matrix products: what the engine's is compared with.
#pragma once

#include <string>

#include "torch/torch.h"

namespace reenact::bench {

struct GemmPeak {
  double gflop_per_s = 0;
  std::string kernel;  // "at::matmul", "at::linear" or "oneDNN" (weights reordered beforehand)
};

// Best of repeated products [2048, 1152] x [1152, 4608] by each kernel, for about `seconds` in all.
// Seconds are those of Elapsed::Seconds.
GemmPeak MeasureGemm(torch::Dtype dtype, double seconds, int threads);

}  // namespace reenact::bench
