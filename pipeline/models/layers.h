// libtorch's layers, made without drawing values that are about to be replaced: for a large network
// these cost seconds, and a second copy of it in memory.
#pragma once

#include <cstdint>

#include "torch/torch.h"

namespace reenact {

// While one of these lives, the layers that this thread makes by the functions below have undefined
// values in memory that has not been touched. Every one of them must be loaded before it is used.
class ScopedUndefinedLayers {
 public:
  ScopedUndefinedLayers();
  ~ScopedUndefinedLayers();
  ScopedUndefinedLayers(const ScopedUndefinedLayers&) = delete;
  ScopedUndefinedLayers& operator=(const ScopedUndefinedLayers&) = delete;

 private:
  const bool before_;
};

torch::nn::Linear MakeLinear(int64_t in, int64_t out, bool bias = true);
torch::nn::Embedding MakeEmbedding(int64_t count, int64_t size);

}  // namespace reenact
