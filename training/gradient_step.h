// The gradient of one training step from several micro-batches and several processes.
//
// Micro-batch k of step s in process r of n has the number (s n + r) K + k, with K micro-batches a
// step and process. Trainees draw their rows by that number, so K micro-batches of B rows, K
// processes of B rows, and one batch of K B rows see the same rows and have the same gradient.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "training/optimizer.h"
#include "training/processes.h"

namespace reenact {

struct GradientOptions {
  int64_t accumulate = 1;          // K, 1 or more
  double clip_norm = 1;            // of the gradient over all parameters; 0: no clipping
  Processes* processes = nullptr;  // null: this one alone. Must outlive its users
};

struct MicroBatch {
  torch::Tensor loss;           // a number with its graph
  std::vector<uint64_t> seeds;  // the people in it
};

struct Gradient {
  double loss = 0;              // mean over micro-batches and processes
  std::vector<uint64_t> seeds;  // of this process
};

// Leaves the mean gradient in `parameters`, which had none. `loss_of` computes micro-batch
// `number`. kUnavailable: another process is gone.
absl::StatusOr<Gradient> ComputeGradient(const GradientOptions& options, int64_t step,
                                         const std::vector<NamedParameter>& parameters,
                                         const std::function<MicroBatch(int64_t number)>& loss_of);

}  // namespace reenact
