// The machine's speed at matrix products: what the engine's is compared with.
#pragma once

#include <string>
#include <vector>

#include "pipeline/models/device.h"
#include "torch/torch.h"

namespace reenact::bench {

struct GemmSpeed {
  std::string kernel;  // "at::matmul", "at::linear", "oneDNN" (weights reordered), "own" (packed)
  double gflop_per_s = 0;
};

// Of a CPU: each kernel's best of repeated products [2048, 1152] x [1152, 4608], for about
// `seconds` in all. Seconds are those of Elapsed::Seconds. "own", the engine's, only where this
// processor has it.
std::vector<GemmSpeed> MeasureGemm(torch::Dtype dtype, double seconds, int threads);
// Of a GPU: at::matmul of [16384, 1152] x [1152, 4608], by the wall clock.
std::vector<GemmSpeed> MeasureGemm(torch::Dtype dtype, double seconds, DeviceLane& lane);

// The fastest; of libraries alone, the engine's own left out.
GemmSpeed Fastest(const std::vector<GemmSpeed>& speeds);
GemmSpeed FastestLibrary(const std::vector<GemmSpeed>& speeds);

// Keeps the better speed of each kernel.
void Merge(const std::vector<GemmSpeed>& from, std::vector<GemmSpeed>& into);

}  // namespace reenact::bench
