#include "pipeline/models/cpu_kernels.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "pipeline/models/cpu_words.h"

#if defined(__x86_64__)
#include "pipeline/models/cpu_simd.h"
#endif

namespace reenact {

Bfloat16 ToBfloat16(float x) {
  const auto bits = std::bit_cast<uint32_t>(x);
  if (std::isnan(x)) return {static_cast<uint16_t>((bits >> 16) | 0x40)};
  return {static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16)};
}

float ToFloat(Bfloat16 x) { return std::bit_cast<float>(static_cast<uint32_t>(x.bits) << 16); }

template <typename E>
PackedLinear<E> PackLinear(const float* weight, const float* bias, int64_t out, int64_t in) {
  constexpr int64_t kPanel = PackedLinear<E>::kPanel;
  const int64_t panels = (out + kPanel - 1) / kPanel;
  PackedLinear<E> packed;
  packed.in = in;
  packed.out = out;
  packed.weight.Reserve(panels * kPanel * in);
  packed.bias.assign(static_cast<size_t>(panels * kPanel), 0.0f);
  std::copy(bias, bias + out, packed.bias.begin());
  E* to = packed.weight.data();
  for (int64_t panel = 0; panel < panels; ++panel) {
    for (int64_t k = 0; k < in; k += kPerWord<E>) {
      for (int64_t n = panel * kPanel; n < (panel + 1) * kPanel; ++n) {
        for (int64_t i = k; i < k + kPerWord<E>; ++i) {
          *to++ = ToElement<E>(n < out ? weight[n * in + i] : 0.0f);
        }
      }
    }
  }
  return packed;
}

template PackedLinear<float> PackLinear<float>(const float*, const float*, int64_t, int64_t);
template PackedLinear<Bfloat16> PackLinear<Bfloat16>(const float*, const float*, int64_t, int64_t);

#if defined(__x86_64__)

namespace {

using simd::FirstLanes;
using simd::kLanes;

template <typename E>
using Kind = typename LinearOutput<E>::Kind;

// x / (1 + exp(-2 sqrt(2/pi) (x + 0.044715 x^3))), which is 0.5 x (1 + tanh(...)).
template <typename E>
REENACT_AVX512_INLINE __m512 TanhGelu(__m512 x) {
  constexpr double kFactor = -2 * 0.7978845608028654 * 1.4426950408889634;  // sqrt(2/pi), log2(e)
  const __m512 square = _mm512_mul_ps(x, x);
  const __m512 inner =
      _mm512_fmadd_ps(square, _mm512_set1_ps(static_cast<float>(kFactor * 0.044715)),
                      _mm512_set1_ps(static_cast<float>(kFactor)));
  const __m512 e = simd::Exp2<E>(_mm512_mul_ps(x, inner));
  return simd::Divide<E>(x, _mm512_add_ps(e, _mm512_set1_ps(1.0f)));
}

// R rows times C vectors of outputs, in registers.
template <typename E, int R, int C, Kind<E> kKind>
REENACT_AVX512_INLINE void LinearTile(const E* x, int64_t stride, const E* weight,
                                      const float* bias, int64_t num_words, int64_t num_outputs,
                                      int64_t row, int64_t column, const LinearOutput<E>& output) {
  constexpr int64_t kPanel = PackedLinear<E>::kPanel;
  __m512 sums[R][C];
  REENACT_UNROLL
  for (int r = 0; r < R; ++r) {
    REENACT_UNROLL
    for (int c = 0; c < C; ++c) sums[r][c] = _mm512_setzero_ps();
  }
  for (int64_t k = 0; k < num_words; ++k) {
    __m512i w[C];
    REENACT_UNROLL
    for (int c = 0; c < C; ++c) {
      w[c] = _mm512_load_si512(weight + (k * kPanel + c * kLanes) * kPerWord<E>);
    }
    REENACT_UNROLL
    for (int r = 0; r < R; ++r) {
      const __m512i a = simd::BroadcastWord(x + r * stride + k * kPerWord<E>);
      REENACT_UNROLL
      for (int c = 0; c < C; ++c) sums[r][c] = simd::MultiplyAdd<E>(sums[r][c], a, w[c]);
    }
  }
  REENACT_UNROLL
  for (int c = 0; c < C; ++c) {
    const __mmask16 mask = FirstLanes(num_outputs - c * kLanes);
    const __m512 b = _mm512_loadu_ps(bias + c * kLanes);
    REENACT_UNROLL
    for (int r = 0; r < R; ++r) {
      const int64_t at = (row + r) * output.stride + column + c * kLanes;
      __m512 y = _mm512_add_ps(sums[r][c], b);
      if constexpr (kKind == Kind<E>::kStore) {
        simd::Store(output.to + at, mask, y);
      } else if constexpr (kKind == Kind<E>::kTanhGelu) {
        simd::Store(output.to + at, mask, TanhGelu<E>(y));
      } else if constexpr (kKind == Kind<E>::kFloat) {
        _mm512_mask_storeu_ps(output.to_float + at, mask, y);
      } else {
        const float* gate = output.gates.at(row + r);
        const __m512 old = _mm512_maskz_loadu_ps(mask, output.to_float + at);
        const __m512 g = _mm512_maskz_loadu_ps(mask, gate + column + c * kLanes);
        _mm512_mask_storeu_ps(output.to_float + at, mask, _mm512_fmadd_ps(g, y, old));
      }
    }
  }
}

// All rows of one panel of C vectors.
template <typename E, int C, Kind<E> kKind>
REENACT_AVX512 void LinearPanel(const E* x, int64_t stride, const E* weight, const float* bias,
                                int64_t num_words, int64_t num_outputs, int64_t num_rows,
                                int64_t column, const LinearOutput<E>& output) {
  // 6 x 4 sums, 4 weights and 1 input: 29 of the 32 registers.
  int64_t row = 0;
  for (; row + 6 <= num_rows; row += 6) {
    LinearTile<E, 6, C, kKind>(x + row * stride, stride, weight, bias, num_words, num_outputs, row,
                               column, output);
  }
  for (; row + 2 <= num_rows; row += 2) {
    LinearTile<E, 2, C, kKind>(x + row * stride, stride, weight, bias, num_words, num_outputs, row,
                               column, output);
  }
  if (row < num_rows) {
    LinearTile<E, 1, C, kKind>(x + row * stride, stride, weight, bias, num_words, num_outputs, row,
                               column, output);
  }
}

template <typename E, Kind<E> kKind>
void LinearOfKind(const PackedLinear<E>& layer, const E* x, int64_t stride, int64_t num_rows,
                  const LinearOutput<E>& output) {
  constexpr int64_t kPanel = PackedLinear<E>::kPanel;
  const int64_t num_words = layer.in / kPerWord<E>;
  for (int64_t column = 0; column < layer.out; column += kPanel) {
    const E* weight = layer.weight.data() + column * layer.in;
    const float* bias = layer.bias.data() + column;
    const int64_t num_outputs = std::min(kPanel, layer.out - column);
    const auto run = [&](auto panel) {
      panel(x, stride, weight, bias, num_words, num_outputs, num_rows, column, output);
    };
    switch ((num_outputs + kLanes - 1) / kLanes) {
      case 1:
        run(LinearPanel<E, 1, kKind>);
        break;
      case 2:
        run(LinearPanel<E, 2, kKind>);
        break;
      case 3:
        run(LinearPanel<E, 3, kKind>);
        break;
      default:
        run(LinearPanel<E, 4, kKind>);
        break;
    }
  }
}

}  // namespace

template <typename E>
bool HasAvx512() {
  static const bool has = [] {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("fma") &&
           (std::is_same_v<E, float> || __builtin_cpu_supports("avx512bf16"));
  }();
  return has;
}

template <typename E>
void Linear(const PackedLinear<E>& layer, const E* x, int64_t stride, int64_t num_rows,
            const LinearOutput<E>& output) {
  switch (output.kind) {
    case Kind<E>::kStore:
      return LinearOfKind<E, Kind<E>::kStore>(layer, x, stride, num_rows, output);
    case Kind<E>::kTanhGelu:
      return LinearOfKind<E, Kind<E>::kTanhGelu>(layer, x, stride, num_rows, output);
    case Kind<E>::kFloat:
      return LinearOfKind<E, Kind<E>::kFloat>(layer, x, stride, num_rows, output);
    case Kind<E>::kGatedAdd:
      return LinearOfKind<E, Kind<E>::kGatedAdd>(layer, x, stride, num_rows, output);
  }
}

namespace {

template <typename E>
REENACT_AVX512 void NormModulateRows(const float* x, int64_t size, int64_t num_rows,
                                     const RowVectors& shift, const float* scale, E* out) {
  constexpr float kEpsilon = 1e-6f;
  const float inverse_size = 1.0f / static_cast<float>(size);
  for (int64_t row = 0; row < num_rows; ++row) {
    const float* from = x + row * size;
    const float* row_shift = shift.at(row);
    const float* row_scale = scale + (row_shift - shift.data);
    __m512 sum = _mm512_setzero_ps();
    for (int64_t i = 0; i < size; i += kLanes) {
      sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(FirstLanes(size - i), from + i));
    }
    const __m512 mean = _mm512_set1_ps(_mm512_reduce_add_ps(sum) * inverse_size);
    __m512 squares = _mm512_setzero_ps();
    for (int64_t i = 0; i < size; i += kLanes) {
      const __mmask16 mask = FirstLanes(size - i);
      const __m512 d = _mm512_maskz_sub_ps(mask, _mm512_maskz_loadu_ps(mask, from + i), mean);
      squares = _mm512_fmadd_ps(d, d, squares);
    }
    const __m512 factor =
        _mm512_set1_ps(1.0f / std::sqrt(_mm512_reduce_add_ps(squares) * inverse_size + kEpsilon));
    for (int64_t i = 0; i < size; i += kLanes) {
      const __mmask16 mask = FirstLanes(size - i);
      const __m512 d = _mm512_sub_ps(_mm512_maskz_loadu_ps(mask, from + i), mean);
      const __m512 n = _mm512_mul_ps(d, factor);
      const __m512 m = _mm512_maskz_loadu_ps(mask, row_scale + i);
      const __m512 s = _mm512_maskz_loadu_ps(mask, row_shift + i);
      simd::Store(out + row * size + i, mask, _mm512_add_ps(_mm512_fmadd_ps(n, m, n), s));
    }
  }
}

}  // namespace

template <typename E>
void NormModulate(const float* x, int64_t size, int64_t num_rows, const RowVectors& shift,
                  const float* scale, E* out) {
  NormModulateRows(x, size, num_rows, shift, scale, out);
}

template bool HasAvx512<float>();
template bool HasAvx512<Bfloat16>();
template void Linear<float>(const PackedLinear<float>&, const float*, int64_t, int64_t,
                            const LinearOutput<float>&);
template void Linear<Bfloat16>(const PackedLinear<Bfloat16>&, const Bfloat16*, int64_t, int64_t,
                               const LinearOutput<Bfloat16>&);
template void NormModulate<float>(const float*, int64_t, int64_t, const RowVectors&, const float*,
                                  float*);
template void NormModulate<Bfloat16>(const float*, int64_t, int64_t, const RowVectors&,
                                     const float*, Bfloat16*);

#endif

}  // namespace reenact
