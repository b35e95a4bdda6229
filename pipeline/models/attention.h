// Scaled dot-product attention. Pure functions, thread-safe.
#pragma once

#include "torch/torch.h"

namespace reenact {

// q [N, heads, Q, d], k and v [N, heads, K, d] -> [N, heads, Q, d]: softmax(q k^T / sqrt(d)) v.
// `mask`, if defined, is bool, broadcastable to [N, heads, Q, K]; false forbids. `causal`: query i
// sees keys 0..i; not together with a mask.
torch::Tensor FusedAttention(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v,
                             const torch::Tensor& mask = {}, bool causal = false);

// The same by the formula, softmax in float32: what FusedAttention is tested against.
torch::Tensor ReferenceAttention(const torch::Tensor& q, const torch::Tensor& k,
                                 const torch::Tensor& v, const torch::Tensor& mask = {},
                                 bool causal = false);

// [N, S, heads * d] <-> [N, heads, S, d].
torch::Tensor SplitHeads(const torch::Tensor& x, int64_t num_heads);
torch::Tensor MergeHeads(const torch::Tensor& x);

}  // namespace reenact
