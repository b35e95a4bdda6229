#include "pipeline/models/cpu_attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "pipeline/models/cpu_words.h"

#if defined(__x86_64__)
#include "pipeline/models/cpu_simd.h"
#endif

namespace reenact {
namespace {

constexpr int64_t kTokenPadding = 16;

int64_t Padded(int64_t num_tokens) {
  return (num_tokens + kTokenPadding - 1) / kTokenPadding * kTokenPadding;
}

}  // namespace

int64_t PackedKeyValuesSize(const HeadShape& shape, int64_t num_tokens) {
  return 2 * shape.num_heads * shape.head_size * Padded(num_tokens);
}

#if defined(__x86_64__)

namespace {

using simd::FirstLanes;
using simd::kLanes;

// Queries that are computed together.
constexpr int kQueries = 12;
// Keys whose scores are in flight: 12 rows of 656 float32 are 31 KiB of a first-level cache of 48.
constexpr int64_t kBlockKeys = 640;
// Not a multiple of 4 KiB, so that the rows do not fall into the same cache sets.
constexpr int64_t kScoreStride = kBlockKeys + 16;

// Row i becomes column i.
REENACT_AVX512_INLINE void Transpose(__m512i (&x)[16]) {
  __m512i y[16];
  REENACT_UNROLL
  for (int i = 0; i < 16; i += 2) {
    y[i] = _mm512_unpacklo_epi32(x[i], x[i + 1]);
    y[i + 1] = _mm512_unpackhi_epi32(x[i], x[i + 1]);
  }
  REENACT_UNROLL
  for (int i = 0; i < 16; i += 4) {
    x[i] = _mm512_unpacklo_epi64(y[i], y[i + 2]);
    x[i + 1] = _mm512_unpackhi_epi64(y[i], y[i + 2]);
    x[i + 2] = _mm512_unpacklo_epi64(y[i + 1], y[i + 3]);
    x[i + 3] = _mm512_unpackhi_epi64(y[i + 1], y[i + 3]);
  }
  // x[4 g + j] holds, in its 128-bit part p, column 4 p + j of rows 4 g to 4 g + 3.
  REENACT_UNROLL
  for (int j = 0; j < 4; ++j) {
    const __m512i a = _mm512_shuffle_i32x4(x[j], x[4 + j], 0x88);       // parts 0, 2
    const __m512i b = _mm512_shuffle_i32x4(x[j], x[4 + j], 0xdd);       // parts 1, 3
    const __m512i c = _mm512_shuffle_i32x4(x[8 + j], x[12 + j], 0x88);  // the same of rows 8 to 15
    const __m512i d = _mm512_shuffle_i32x4(x[8 + j], x[12 + j], 0xdd);
    y[j] = _mm512_shuffle_i32x4(a, c, 0x88);
    y[8 + j] = _mm512_shuffle_i32x4(a, c, 0xdd);
    y[4 + j] = _mm512_shuffle_i32x4(b, d, 0x88);
    y[12 + j] = _mm512_shuffle_i32x4(b, d, 0xdd);
  }
  REENACT_UNROLL
  for (int i = 0; i < 16; ++i) x[i] = y[i];
}

// [num_tokens, head_size] -> [word][padded tokens].
template <typename E>
REENACT_AVX512 void PackKeys(const E* k, int64_t stride, int64_t num_tokens, int64_t head_size,
                             E* packed) {
  const int64_t num_words = head_size / kPerWord<E>, padded = Padded(num_tokens);
  for (int64_t token = 0; token < padded; token += kLanes) {
    for (int64_t word = 0; word < num_words; word += kLanes) {
      const __mmask16 mask = FirstLanes(num_words - word);
      __m512i x[16];
      REENACT_UNROLL
      for (int i = 0; i < 16; ++i) {
        x[i] = token + i < num_tokens
                   ? _mm512_maskz_loadu_epi32(mask, k + (token + i) * stride + word * kPerWord<E>)
                   : _mm512_setzero_si512();
      }
      Transpose(x);
      REENACT_UNROLL
      for (int i = 0; i < 16; ++i) {
        if (word + i < num_words) {
          _mm512_storeu_si512(packed + ((word + i) * padded + token) * kPerWord<E>, x[i]);
        }
      }
    }
  }
}

// [num_tokens, head_size] -> [word of padded tokens][head_size].
template <typename E>
REENACT_AVX512 void PackValues(const E* v, int64_t stride, int64_t num_tokens, int64_t head_size,
                               E* packed) {
  const int64_t padded = Padded(num_tokens);
  for (int64_t token = 0; token < padded; token += kPerWord<E>) {
    for (int64_t i = 0; i < head_size; i += kLanes) {
      const __mmask16 mask = FirstLanes(head_size - i);
      const auto load = [&](int64_t t) REENACT_AVX512 {
        const __mmask16 present = t < num_tokens ? mask : __mmask16{0};
        if constexpr (std::is_same_v<E, float>) {
          return _mm512_maskz_loadu_epi32(present, v + t * stride + i);
        } else {
          return _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(present, v + t * stride + i));
        }
      };
      __m512i x = load(token);
      if constexpr (kPerWord<E> == 2) {
        x = _mm512_or_si512(x, _mm512_slli_epi32(load(token + 1), 16));
      }
      _mm512_mask_storeu_epi32(packed + token * head_size + i * kPerWord<E>, mask, x);
    }
  }
}

// scores = q k^T for R queries and C vectors of keys; `k_stride` words between words of a key.
template <typename E, int R, int C>
REENACT_AVX512_INLINE void ScoreTile(const E* q, int64_t q_stride, const E* k, int64_t k_stride,
                                     int64_t num_words, float* scores) {
  __m512 sums[R][C];
  REENACT_UNROLL
  for (int r = 0; r < R; ++r) {
    REENACT_UNROLL
    for (int c = 0; c < C; ++c) sums[r][c] = _mm512_setzero_ps();
  }
  for (int64_t w = 0; w < num_words; ++w) {
    __m512i keys[C];
    REENACT_UNROLL
    for (int c = 0; c < C; ++c) {
      keys[c] = _mm512_loadu_si512(k + (w * k_stride + c * kLanes) * kPerWord<E>);
    }
    REENACT_UNROLL
    for (int r = 0; r < R; ++r) {
      const __m512i a = simd::BroadcastWord(q + r * q_stride + w * kPerWord<E>);
      REENACT_UNROLL
      for (int c = 0; c < C; ++c) sums[r][c] = simd::MultiplyAdd<E>(sums[r][c], a, keys[c]);
    }
  }
  REENACT_UNROLL
  for (int r = 0; r < R; ++r) {
    REENACT_UNROLL
    for (int c = 0; c < C; ++c) {
      _mm512_store_ps(scores + r * kScoreStride + c * kLanes, sums[r][c]);
    }
  }
}

// sums = first ? weights v : sums factors + weights v, for R queries and C vectors of a head; the
// last vector has the lanes `mask`. Weights are in rows of kScoreStride float32.
template <typename E, int R, int C>
REENACT_AVX512_INLINE void ValueTile(const E* weights, const E* v, int64_t head_size,
                                     int64_t num_words, __mmask16 mask, const float* factors,
                                     bool first, float* sums, int64_t sums_stride) {
  constexpr int64_t kWeightStride = kScoreStride * kPerWord<E>;
  __m512 acc[R][C];
  REENACT_UNROLL
  for (int r = 0; r < R; ++r) {
    REENACT_UNROLL
    for (int c = 0; c < C; ++c) {
      acc[r][c] = first ? _mm512_setzero_ps()
                        : _mm512_mul_ps(_mm512_set1_ps(factors[r]),
                                        _mm512_load_ps(sums + r * sums_stride + c * kLanes));
    }
  }
  for (int64_t w = 0; w < num_words; ++w) {
    __m512i values[C];
    REENACT_UNROLL
    for (int c = 0; c < C; ++c) {
      values[c] = _mm512_maskz_loadu_epi32(c + 1 == C ? mask : __mmask16{0xffff},
                                           v + (w * head_size + c * kLanes) * kPerWord<E>);
    }
    REENACT_UNROLL
    for (int r = 0; r < R; ++r) {
      const __m512i a = simd::BroadcastWord(weights + r * kWeightStride + w * kPerWord<E>);
      REENACT_UNROLL
      for (int c = 0; c < C; ++c) acc[r][c] = simd::MultiplyAdd<E>(acc[r][c], a, values[c]);
    }
  }
  REENACT_UNROLL
  for (int r = 0; r < R; ++r) {
    REENACT_UNROLL
    for (int c = 0; c < C; ++c) {
      _mm512_store_ps(sums + r * sums_stride + c * kLanes, acc[r][c]);
    }
  }
}

// Keys of one part within a block: where they are and where their scores are.
struct Piece {
  size_t part = 0;
  int64_t begin = 0, count = 0;  // tokens
  int64_t column = 0;            // of the scores
};
struct Block {
  std::vector<Piece> pieces;
  int64_t columns = 0;
};

// Divides the keys of all parts into blocks.
template <typename E>
std::vector<Block> Blocks(std::span<const PackedKeyValues<E>> parts) {
  std::vector<Block> blocks(1);
  for (size_t i = 0; i < parts.size(); ++i) {
    int64_t begin = 0;
    while (begin < parts[i].num_tokens) {
      if (blocks.back().columns == kBlockKeys) blocks.emplace_back();
      Block& block = blocks.back();
      const int64_t count = std::min(parts[i].num_tokens - begin, kBlockKeys - block.columns);
      block.pieces.push_back({.part = i, .begin = begin, .count = count, .column = block.columns});
      block.columns += Padded(count);
      begin += count;
    }
  }
  return blocks;
}

// The softmax of one query so far.
struct Running {
  float max = -std::numeric_limits<float>::infinity();
  float sum = 0;
};

// Scores of a query -> weights exp(scale (score - max)), in their place; returns what the sums so
// far must be multiplied by. `scale` includes log2(e).
template <typename E>
REENACT_AVX512_INLINE float Weigh(float* scores, int64_t columns, float scale, Running* running) {
  __m512 top = _mm512_set1_ps(-std::numeric_limits<float>::infinity());
  for (int64_t i = 0; i < columns; i += kLanes)
    top = _mm512_max_ps(top, _mm512_load_ps(scores + i));
  const float max = std::max(running->max, _mm512_reduce_max_ps(top));
  const __m512 factor = _mm512_set1_ps(scale), offset = _mm512_set1_ps(-max * scale);
  __m512 sum = _mm512_setzero_ps();
  E* weights = reinterpret_cast<E*>(scores);
  for (int64_t i = 0; i < columns; i += kLanes) {
    const __m512 w = simd::Exp2<E>(_mm512_fmadd_ps(_mm512_load_ps(scores + i), factor, offset));
    sum = _mm512_add_ps(sum, w);
    simd::Store<E>(weights + i, 0xffff, w);
  }
  const float correction =
      _mm512_cvtss_f32(simd::Exp2<float>(_mm512_set1_ps((running->max - max) * scale)));
  running->max = max;
  running->sum = running->sum * correction + _mm512_reduce_add_ps(sum);
  return correction;
}

// R queries of one head.
template <typename E, int R>
REENACT_AVX512 void AttendQueries(const HeadShape& shape, int64_t head, const E* q,
                                  int64_t q_stride, std::span<const PackedKeyValues<E>> parts,
                                  const std::vector<Block>& blocks, E* out, int64_t out_stride,
                                  float* scratch) {
  const int64_t d = shape.head_size, num_words = d / kPerWord<E>;
  const int64_t sums_stride = (d + kLanes - 1) / kLanes * kLanes;
  float* scores = scratch;
  float* sums = scratch + kQueries * kScoreStride;
  const float scale = 1.4426950408889634f / std::sqrt(static_cast<float>(d));  // log2(e) / sqrt(d)
  Running running[R];
  bool first = true;
  for (const Block& block : blocks) {
    for (const Piece& piece : block.pieces) {
      const PackedKeyValues<E>& part = parts[piece.part];
      const int64_t padded = Padded(part.num_tokens);
      const E* k = part.data + head * d * padded + piece.begin * kPerWord<E>;
      float* to = scores + piece.column;
      const int64_t columns = Padded(piece.count);
      int64_t i = 0;
      for (; i + 2 * kLanes <= columns; i += 2 * kLanes) {
        ScoreTile<E, R, 2>(q, q_stride, k + i * kPerWord<E>, padded, num_words, to + i);
      }
      if (i < columns) {
        ScoreTile<E, R, 1>(q, q_stride, k + i * kPerWord<E>, padded, num_words, to + i);
      }
      if (piece.count < columns) {  // what pads the part is not a key
        const auto nobody = static_cast<__mmask16>(~FirstLanes(piece.count % kLanes));
        for (int r = 0; r < R; ++r) {
          _mm512_mask_store_ps(to + r * kScoreStride + columns - kLanes, nobody,
                               _mm512_set1_ps(-std::numeric_limits<float>::infinity()));
        }
      }
    }
    float factors[R];
    for (int r = 0; r < R; ++r) {
      factors[r] = Weigh<E>(scores + r * kScoreStride, block.columns, scale, &running[r]);
    }
    for (const Piece& piece : block.pieces) {
      const PackedKeyValues<E>& part = parts[piece.part];
      const int64_t padded = Padded(part.num_tokens);
      const E* v = part.data + (shape.num_heads + head) * d * padded + piece.begin * d;
      const E* weights = reinterpret_cast<const E*>(scores) + piece.column;
      const int64_t words = (piece.count + kPerWord<E> - 1) / kPerWord<E>;
      for (int64_t i = 0; i < d; i += 2 * kLanes) {
        if (d - i > kLanes) {
          ValueTile<E, R, 2>(weights, v + i * kPerWord<E>, d, words, FirstLanes(d - i - kLanes),
                             factors, first, sums + i, sums_stride);
        } else {
          ValueTile<E, R, 1>(weights, v + i * kPerWord<E>, d, words, FirstLanes(d - i), factors,
                             first, sums + i, sums_stride);
        }
      }
      first = false;
      std::fill(factors, factors + R, 1.0f);
    }
  }
  for (int r = 0; r < R; ++r) {
    const __m512 factor = _mm512_set1_ps(1.0f / running[r].sum);
    for (int64_t i = 0; i < d; i += kLanes) {
      simd::Store(out + r * out_stride + i, FirstLanes(d - i),
                  _mm512_mul_ps(_mm512_load_ps(sums + r * sums_stride + i), factor));
    }
  }
}

}  // namespace

template <typename E>
void PackKeyValues(const HeadShape& shape, const E* k, const E* v, int64_t stride,
                   int64_t num_tokens, int64_t begin, int64_t end, E* packed) {
  const int64_t d = shape.head_size, size = d * Padded(num_tokens);
  for (int64_t head = begin; head < end; ++head) {
    PackKeys(k + head * d, stride, num_tokens, d, packed + head * size);
    PackValues(v + head * d, stride, num_tokens, d, packed + (shape.num_heads + head) * size);
  }
}

template <typename E>
void Attend(const HeadShape& shape, const E* q, int64_t q_stride, int64_t num_queries,
            std::span<const PackedKeyValues<E>> parts, E* out, int64_t out_stride,
            AlignedBuffer<float>* scratch) {
  const int64_t d = shape.head_size;
  scratch->Reserve(kQueries * (kScoreStride + (d + kLanes - 1) / kLanes * kLanes));
  const std::vector<Block> blocks = Blocks(parts);
  for (int64_t head = 0; head < shape.num_heads; ++head) {
    int64_t i = 0;
    const auto run = [&](auto queries, int64_t count) {
      queries(shape, head, q + i * q_stride + head * d, q_stride, parts, blocks,
              out + i * out_stride + head * d, out_stride, scratch->data());
      i += count;
    };
    while (i + 12 <= num_queries) run(AttendQueries<E, 12>, 12);
    while (i + 4 <= num_queries) run(AttendQueries<E, 4>, 4);
    while (i < num_queries) run(AttendQueries<E, 1>, 1);
  }
}

template void PackKeyValues<float>(const HeadShape&, const float*, const float*, int64_t, int64_t,
                                   int64_t, int64_t, float*);
template void PackKeyValues<Bfloat16>(const HeadShape&, const Bfloat16*, const Bfloat16*, int64_t,
                                      int64_t, int64_t, int64_t, Bfloat16*);
template void Attend<float>(const HeadShape&, const float*, int64_t, int64_t,
                            std::span<const PackedKeyValues<float>>, float*, int64_t,
                            AlignedBuffer<float>*);
template void Attend<Bfloat16>(const HeadShape&, const Bfloat16*, int64_t, int64_t,
                               std::span<const PackedKeyValues<Bfloat16>>, Bfloat16*, int64_t,
                               AlignedBuffer<float>*);

#endif

}  // namespace reenact
