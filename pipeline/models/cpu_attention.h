// Scaled dot-product attention for AVX-512: the queries of a row to keys and values in several
// packed parts (the row's own, an anchor trace, source tokens), so that nothing is concatenated.
// Scores of a few queries stay in the first-level cache; the softmax is that of float32, online
// over blocks of keys; of Bfloat16, its weights are rounded to bfloat16 before they meet the
// values.
//
// E is float or Bfloat16. As in cpu_kernels.h, a query's result does not depend on what it is
// computed with. Pure functions, thread-safe; only where HasAvx512<E>().
#pragma once

#include <cstdint>
#include <span>

#include "pipeline/models/cpu_kernels.h"

namespace reenact {

struct HeadShape {
  int64_t num_heads = 0;
  int64_t head_size = 0;  // must be even for Bfloat16
};

// Keys and values of all heads, packed: for each head K [word][token][element of word], then for
// each head V [word of tokens][head_size][element of word], tokens padded to a multiple of 16 by
// zeros.
template <typename E>
struct PackedKeyValues {
  const E* data = nullptr;
  int64_t num_tokens = 0;
};

// Elements of a PackedKeyValues.
int64_t PackedKeyValuesSize(const HeadShape& shape, int64_t num_tokens);

// Packs k and v [num_tokens, num_heads * head_size], `stride` apart, for heads [begin, end) of the
// PackedKeyValues at `packed`.
template <typename E>
void PackKeyValues(const HeadShape& shape, const E* k, const E* v, int64_t stride,
                   int64_t num_tokens, int64_t begin, int64_t end, E* packed);

// out = softmax(q k^T / sqrt(head_size)) v for q and out [num_queries, num_heads * head_size],
// `q_stride` and `out_stride` apart. `parts` must hold a token. `scratch` grows to what is needed.
template <typename E>
void Attend(const HeadShape& shape, const E* q, int64_t q_stride, int64_t num_queries,
            std::span<const PackedKeyValues<E>> parts, E* out, int64_t out_stride,
            AlignedBuffer<float>* scratch);

}  // namespace reenact
