#include "pipeline/models/layers.h"

namespace reenact {
namespace {

namespace nn = torch::nn;

thread_local bool undefined_layers = false;

}  // namespace

ScopedUndefinedLayers::ScopedUndefinedLayers() : before_(undefined_layers) {
  undefined_layers = true;
}

ScopedUndefinedLayers::~ScopedUndefinedLayers() { undefined_layers = before_; }

nn::Linear MakeLinear(int64_t in, int64_t out, bool bias) {
  if (!undefined_layers) return nn::Linear(nn::LinearOptions(in, out).bias(bias));
  // libtorch has no layer without values: a small one is given larger memory.
  nn::Linear linear(nn::LinearOptions(1, 1).bias(bias));
  linear->options.in_features(in).out_features(out);
  linear->weight.set_data(torch::empty({out, in}));
  if (bias) linear->bias.set_data(torch::empty({out}));
  return linear;
}

nn::Embedding MakeEmbedding(int64_t count, int64_t size) {
  nn::EmbeddingOptions options(count, size);
  if (undefined_layers) options._weight(torch::empty({count, size}));
  return nn::Embedding(options);
}

}  // namespace reenact
