// `reenact-train --config`: a whole recipe in one process.
#pragma once

#include <torch/torch.h>

#include <atomic>
#include <string>

#include "absl/status/status.h"

namespace reenact {

struct RecipeFlags {
  std::string config;      // recipe.h says what it holds
  std::string work = ".";  // where everything is written; created if absent
  bool smoke = false;
  int threads = 1;
  const std::atomic<bool>* stop = nullptr;
  torch::Device device = torch::kCPU;
};

// Checks every stage's options before the first one runs (kInvalidArgument naming stage and
// option), then runs what is not finished. Afterwards the bundles must be readable and, in a smoke
// run, the loss of every training must have fallen (kInternal). Changes the process's current
// folder.
absl::Status RunRecipeFile(const RecipeFlags& flags);

}  // namespace reenact
