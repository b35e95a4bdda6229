#include "pipeline/models/cpu_winograd.h"

#include <algorithm>
#include <cstring>

#include "pipeline/models/cpu_words.h"

#if defined(__x86_64__)
#include "pipeline/models/cpu_simd.h"
#endif

namespace reenact {
namespace {

// Combination j of a row of a kernel.
float Combine(const float* g, int64_t j) {
  switch (j) {
    case 0:
      return g[0];
    case 1:
      return (g[0] + g[1] + g[2]) / 2;
    case 2:
      return (g[0] - g[1] + g[2]) / 2;
    default:
      return g[2];
  }
}

}  // namespace

template <typename E>
void PairedPicture<E>::Reset(int64_t height, int64_t width, int64_t channels) {
  height_ = height;
  width_ = width;
  channels_ = channels;
  stride_ = WholeWords<E>(channels);
  buffer_.Reserve((height + 2) * row_stride());
  pixels_.Reserve((2 * num_pairs() + 2) * channels);
  const auto clear = [&](int64_t first_row, int64_t num_rows) {
    std::memset(static_cast<void*>(row(first_row)), 0,
                static_cast<size_t>(num_rows * row_stride()) * sizeof(E));
  };
  if (stride_ != channels) return clear(-1, height + 2);
  clear(-1, 1);
  clear(height, 1);
}

template <typename E>
PackedWinogradConv<E> PackWinogradConv(const float* weight, const float* bias, int64_t out,
                                       int64_t in) {
  constexpr int64_t kPanel = PackedWinogradConv<E>::kPanel;
  constexpr int64_t kPairs[2][2] = {{0, 3}, {1, 2}};
  const int64_t panels = (out + kPanel - 1) / kPanel, padded_in = WholeWords<E>(in);
  PackedWinogradConv<E> packed;
  packed.in = in;
  packed.out = out;
  packed.bias.assign(static_cast<size_t>(panels * kPanel), 0.0f);
  std::copy(bias, bias + out, packed.bias.begin());
  packed.weight.Reserve(panels * kPanel * 12 * padded_in);
  E* to = packed.weight.data();
  for (int64_t panel = 0; panel < panels; ++panel) {
    for (const auto& pair : kPairs) {
      for (int64_t dy = 0; dy < 3; ++dy) {
        for (int64_t k = 0; k < padded_in; k += kPerWord<E>) {
          for (const int64_t j : pair) {
            for (int64_t n = panel * kPanel; n < (panel + 1) * kPanel; ++n) {
              for (int64_t i = k; i < k + kPerWord<E>; ++i) {
                const bool present = n < out && i < in;
                *to++ =
                    ToElement<E>(present ? Combine(weight + ((n * in + i) * 3 + dy) * 3, j) : 0);
              }
            }
          }
        }
      }
    }
  }
  return packed;
}

template class PairedPicture<float>;
template class PairedPicture<Bfloat16>;
template PackedWinogradConv<float> PackWinogradConv<float>(const float*, const float*, int64_t,
                                                           int64_t);
template PackedWinogradConv<Bfloat16> PackWinogradConv<Bfloat16>(const float*, const float*,
                                                                 int64_t, int64_t);

#if defined(__x86_64__)

namespace {

using simd::FirstLanes;
using simd::kLanes;

template <typename E>
using Kind = typename ConvOutput<E>::Kind;

// Sums of a row of pixels.
struct RowSums {
  float values[PackedWinogradConv<float>::kPanel];
  float squares[PackedWinogradConv<float>::kPanel];
};

// The products of two of the combinations for R pairs of pixels and C vectors of outputs:
// sums[j][r][c]. `x` is combination 0 of the first pair in the row above.
template <typename E, int R, int C>
REENACT_AVX512_INLINE void Products(const E* x, int64_t stride, int64_t row_stride,
                                    int64_t num_words, int64_t first, int64_t second,
                                    const E* weight, __m512 (&sums)[2][R][C]) {
  constexpr int64_t kPanel = PackedWinogradConv<E>::kPanel;
  REENACT_UNROLL
  for (int r = 0; r < R; ++r) {
    REENACT_UNROLL
    for (int c = 0; c < C; ++c) sums[0][r][c] = sums[1][r][c] = _mm512_setzero_ps();
  }
  for (int dy = 0; dy < 3; ++dy) {
    const E* from[2] = {x + dy * row_stride + first * stride,
                        x + dy * row_stride + second * stride};
    for (int64_t k = 0; k < num_words; ++k) {
      REENACT_UNROLL
      for (int j = 0; j < 2; ++j) {
        __m512i w[C];
        REENACT_UNROLL
        for (int c = 0; c < C; ++c) {
          w[c] = _mm512_load_si512(weight + (j * kPanel + c * kLanes) * kPerWord<E>);
        }
        REENACT_UNROLL
        for (int r = 0; r < R; ++r) {
          const __m512i a = simd::BroadcastWord(from[j] + r * 4 * stride + k * kPerWord<E>);
          REENACT_UNROLL
          for (int c = 0; c < C; ++c) sums[j][r][c] = simd::MultiplyAdd<E>(sums[j][r][c], a, w[c]);
        }
      }
      weight += 2 * kPanel * kPerWord<E>;
    }
  }
}

// R pairs of pixels of a row times C vectors of outputs; `num_pixels` of them are in the picture.
template <typename E, int R, int C, Kind<E> kKind>
REENACT_AVX512_INLINE void PairTile(const E* x, int64_t stride, int64_t row_stride,
                                    int64_t num_words, const E* weight, const float* bias,
                                    int64_t num_outputs, int64_t num_pixels, int64_t at,
                                    const ConvOutput<E>& output, RowSums* row_sums) {
  constexpr int64_t kPanel = PackedWinogradConv<E>::kPanel;
  alignas(64) float outer[2][R][C][kLanes];  // of combinations 0 and 3
  __m512 sums[2][R][C];
  Products<E, R, C>(x, stride, row_stride, num_words, 0, 3, weight, sums);
  REENACT_UNROLL
  for (int r = 0; r < R; ++r) {
    REENACT_UNROLL
    for (int c = 0; c < C; ++c) {
      _mm512_store_ps(outer[0][r][c], sums[0][r][c]);
      _mm512_store_ps(outer[1][r][c], sums[1][r][c]);
    }
  }
  Products<E, R, C>(x, stride, row_stride, num_words, 1, 2,
                    weight + 6 * num_words * kPanel * kPerWord<E>, sums);
  REENACT_UNROLL
  for (int c = 0; c < C; ++c) {
    const __mmask16 mask = FirstLanes(num_outputs - c * kLanes);
    const __m512 b = _mm512_loadu_ps(bias + c * kLanes);
    __m512 total = _mm512_load_ps(row_sums->values + c * kLanes);
    __m512 squares = _mm512_load_ps(row_sums->squares + c * kLanes);
    REENACT_UNROLL
    for (int r = 0; r < R; ++r) {
      const __m512 even = _mm512_add_ps(sums[0][r][c], sums[1][r][c]);
      const __m512 odd = _mm512_sub_ps(sums[0][r][c], sums[1][r][c]);
      const __m512 pair[2] = {_mm512_add_ps(even, _mm512_load_ps(outer[0][r][c])),
                              _mm512_sub_ps(odd, _mm512_load_ps(outer[1][r][c]))};
      REENACT_UNROLL
      for (int i = 0; i < 2; ++i) {
        if (2 * r + i >= num_pixels) continue;
        const int64_t to = at + (2 * r + i) * output.pixel_stride + c * kLanes;
        __m512 y = _mm512_add_ps(pair[i], b);
        if constexpr (kKind == Kind<E>::kStore) {
          simd::Store(output.to + to, mask, y);
        } else {
          if constexpr (kKind == Kind<E>::kAdd) {
            y = _mm512_add_ps(y, _mm512_maskz_loadu_ps(mask, output.to_float + to));
          }
          _mm512_mask_storeu_ps(output.to_float + to, mask, y);
        }
        total = _mm512_add_ps(total, y);
        squares = _mm512_fmadd_ps(y, y, squares);
      }
    }
    _mm512_store_ps(row_sums->values + c * kLanes, total);
    _mm512_store_ps(row_sums->squares + c * kLanes, squares);
  }
}

// One panel of C vectors of outputs, all pixels.
template <typename E, int C, Kind<E> kKind>
REENACT_AVX512 void PairPanel(const PackedWinogradConv<E>& conv, const PairedPicture<E>& x,
                              int64_t column, const ConvOutput<E>& output) {
  constexpr int kMany = 6;  // times 2 combinations and 2 vectors: 24 of the 32 registers
  constexpr int kSome = 4;
  const int64_t stride = x.stride(), num_words = stride / kPerWord<E>, pairs = x.num_pairs();
  const int64_t num_outputs = std::min(PackedWinogradConv<E>::kPanel, conv.out - column);
  const E* weight = conv.weight.data() + column * 12 * stride;
  const float* bias = conv.bias.data() + column;
  // As many tiles of kMany pairs as leave whole tiles of kSome, if there are such.
  int64_t many = pairs / kMany;
  while (many > 0 && (pairs - many * kMany) % kSome != 0) --many;
  if ((pairs - many * kMany) % kSome != 0) many = pairs / kMany;
  for (int64_t y = 0; y < x.height(); ++y) {
    alignas(64) RowSums row_sums = {};
    int64_t i = 0;
    while (i < pairs) {
      const E* from = x.row(y - 1) + i * 4 * stride;
      const int64_t at = y * output.row_stride + 2 * i * output.pixel_stride + column;
      const int64_t num_pixels = x.width() - 2 * i;
      if (i < many * kMany) {
        PairTile<E, kMany, C, kKind>(from, stride, x.row_stride(), num_words, weight, bias,
                                     num_outputs, num_pixels, at, output, &row_sums);
        i += kMany;
      } else if (i + kSome <= pairs) {
        PairTile<E, kSome, C, kKind>(from, stride, x.row_stride(), num_words, weight, bias,
                                     num_outputs, num_pixels, at, output, &row_sums);
        i += kSome;
      } else {
        PairTile<E, 1, C, kKind>(from, stride, x.row_stride(), num_words, weight, bias, num_outputs,
                                 num_pixels, at, output, &row_sums);
        i += 1;
      }
    }
    if (output.sums == nullptr) continue;
    for (int64_t n = 0; n < num_outputs; ++n) {
      const auto channel = static_cast<size_t>(column + n);
      output.sums->values[channel] += static_cast<double>(row_sums.values[n]);
      output.sums->squares[channel] += static_cast<double>(row_sums.squares[n]);
    }
  }
}

template <typename E, Kind<E> kKind>
void ConvolveOfKind(const PackedWinogradConv<E>& conv, const PairedPicture<E>& x,
                    const ConvOutput<E>& output) {
  for (int64_t column = 0; column < conv.out; column += PackedWinogradConv<E>::kPanel) {
    if (conv.out - column > kLanes) {
      PairPanel<E, 2, kKind>(conv, x, column, output);
    } else {
      PairPanel<E, 1, kKind>(conv, x, column, output);
    }
  }
}

template <typename E, typename X, bool kSilu>
REENACT_AVX512 void AffinePairs(const X* x, const ChannelAffine& affine, PairedPicture<E>* to) {
  const int64_t channels = to->channels(), width = to->width(), stride = to->stride();
  float* pixels = to->pixels();  // from pixel -1
  std::fill(pixels, pixels + channels, 0.0f);
  std::fill(pixels + (width + 1) * channels, pixels + (2 * to->num_pairs() + 2) * channels, 0.0f);
  for (int64_t row = 0; row < to->height(); ++row) {
    for (int64_t i = 1; i <= width; ++i) {
      for (int64_t c = 0; c < channels; c += kLanes) {
        const __mmask16 mask = FirstLanes(channels - c);
        __m512 y =
            _mm512_fmadd_ps(simd::Load(x + c, mask), simd::Load(affine.factor.data() + c, mask),
                            simd::Load(affine.offset.data() + c, mask));
        if constexpr (kSilu) y = simd::Silu<E>(y);
        _mm512_mask_storeu_ps(pixels + i * channels + c, mask, y);
      }
      x += channels;
    }
    E* pair = to->row(row);
    for (int64_t p = 0; p < to->num_pairs(); ++p) {
      for (int64_t c = 0; c < channels; c += kLanes) {
        const __mmask16 mask = FirstLanes(channels - c);
        __m512 d[4];
        REENACT_UNROLL
        for (int i = 0; i < 4; ++i) d[i] = simd::Load(pixels + (2 * p + i) * channels + c, mask);
        simd::Store(pair + c, mask, _mm512_sub_ps(d[0], d[2]));
        simd::Store(pair + stride + c, mask, _mm512_add_ps(d[1], d[2]));
        simd::Store(pair + 2 * stride + c, mask, _mm512_sub_ps(d[2], d[1]));
        simd::Store(pair + 3 * stride + c, mask, _mm512_sub_ps(d[1], d[3]));
      }
      pair += 4 * stride;
    }
  }
}

}  // namespace

template <typename E>
void Convolve(const PackedWinogradConv<E>& conv, const PairedPicture<E>& x,
              const ConvOutput<E>& output) {
  switch (output.kind) {
    case Kind<E>::kStore:
      return ConvolveOfKind<E, Kind<E>::kStore>(conv, x, output);
    case Kind<E>::kFloat:
      return ConvolveOfKind<E, Kind<E>::kFloat>(conv, x, output);
    case Kind<E>::kAdd:
      return ConvolveOfKind<E, Kind<E>::kAdd>(conv, x, output);
  }
}

template <typename E, typename X>
void AffineActivate(const X* x, int64_t height, int64_t width, int64_t channels,
                    const ChannelAffine& affine, PictureActivation activation,
                    PairedPicture<E>* to) {
  to->Reset(height, width, channels);
  if (activation == PictureActivation::kSilu) {
    AffinePairs<E, X, true>(x, affine, to);
  } else {
    AffinePairs<E, X, false>(x, affine, to);
  }
}

template void Convolve<float>(const PackedWinogradConv<float>&, const PairedPicture<float>&,
                              const ConvOutput<float>&);
template void Convolve<Bfloat16>(const PackedWinogradConv<Bfloat16>&,
                                 const PairedPicture<Bfloat16>&, const ConvOutput<Bfloat16>&);
template void AffineActivate<float, float>(const float*, int64_t, int64_t, int64_t,
                                           const ChannelAffine&, PictureActivation,
                                           PairedPicture<float>*);
template void AffineActivate<Bfloat16, float>(const float*, int64_t, int64_t, int64_t,
                                              const ChannelAffine&, PictureActivation,
                                              PairedPicture<Bfloat16>*);
template void AffineActivate<Bfloat16, Bfloat16>(const Bfloat16*, int64_t, int64_t, int64_t,
                                                 const ChannelAffine&, PictureActivation,
                                                 PairedPicture<Bfloat16>*);

#endif

}  // namespace reenact
