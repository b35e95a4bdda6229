#include "pipeline/models/attention.h"

#include <cmath>
#include <limits>
#include <optional>

namespace reenact {

using torch::Tensor;

Tensor FusedAttention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& mask,
                      bool causal) {
  const auto optional_mask = mask.defined() ? std::optional<Tensor>(mask) : std::nullopt;
  return at::scaled_dot_product_attention(q, k, v, optional_mask, /*dropout_p=*/0.0, causal);
}

Tensor ReferenceAttention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& mask,
                          bool causal) {
  const double scale = 1.0 / std::sqrt(static_cast<double>(q.size(-1)));
  constexpr double kNever = -std::numeric_limits<double>::infinity();
  Tensor scores = torch::matmul(q.to(torch::kFloat32), k.to(torch::kFloat32).transpose(-2, -1));
  scores = scores * scale;
  if (mask.defined()) scores = scores.masked_fill(mask.logical_not(), kNever);
  if (causal) {
    const Tensor future = torch::ones_like(scores, torch::kBool).triu(1);
    scores = scores.masked_fill(future, kNever);
  }
  return torch::matmul(torch::softmax(scores, -1), v.to(torch::kFloat32)).to(q.scalar_type());
}

Tensor SplitHeads(const Tensor& x, int64_t num_heads) {
  return x.unflatten(-1, {num_heads, -1}).transpose(1, 2);
}

Tensor MergeHeads(const Tensor& x) { return x.transpose(1, 2).flatten(2); }

}  // namespace reenact
