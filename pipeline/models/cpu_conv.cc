#include "pipeline/models/cpu_conv.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "pipeline/models/cpu_words.h"

#if defined(__x86_64__)
#include "pipeline/models/cpu_simd.h"
#endif

namespace reenact {
namespace {

// weight(n, i, tap): of output n, input i.
template <typename E, typename Weight>
PackedConv<E> Pack(int64_t out, int64_t in, std::vector<typename PackedConv<E>::Tap> taps,
                   const float* bias, const Weight& weight) {
  constexpr int64_t kPanel = PackedConv<E>::kPanel;
  const int64_t panels = (out + kPanel - 1) / kPanel, padded_in = WholeWords<E>(in);
  const auto num_taps = static_cast<int64_t>(taps.size());
  PackedConv<E> packed;
  packed.in = in;
  packed.out = out;
  packed.taps = std::move(taps);
  packed.bias.assign(static_cast<size_t>(panels * kPanel), 0.0f);
  std::copy(bias, bias + out, packed.bias.begin());
  packed.weight.Reserve(panels * kPanel * num_taps * padded_in);
  E* to = packed.weight.data();
  for (int64_t panel = 0; panel < panels; ++panel) {
    for (int64_t tap = 0; tap < num_taps; ++tap) {
      for (int64_t k = 0; k < padded_in; k += kPerWord<E>) {
        for (int64_t n = panel * kPanel; n < (panel + 1) * kPanel; ++n) {
          for (int64_t i = k; i < k + kPerWord<E>; ++i) {
            *to++ = ToElement<E>(n < out && i < in ? weight(n, i, tap) : 0.0f);
          }
        }
      }
    }
  }
  return packed;
}

}  // namespace

template <typename E>
void BorderedPicture<E>::Reset(int64_t height, int64_t width, int64_t channels) {
  height_ = height;
  width_ = width;
  channels_ = channels;
  pixel_stride_ = WholeWords<E>(channels);
  buffer_.Reserve((height + 2) * row_stride());
  const auto clear = [](E* from, const E* to) {
    std::memset(static_cast<void*>(from), 0, static_cast<size_t>(to - from) * sizeof(E));
  };
  if (pixel_stride_ != channels) return clear(at(-1, -1), at(height, width) + pixel_stride_);
  clear(at(-1, -1), at(0, 0));
  for (int64_t y = 0; y < height; ++y) clear(at(y, width), at(y + 1, 0));  // right, then left
  clear(at(height, 0), at(height, width) + pixel_stride_);
}

template <typename E>
PackedConv<E> PackConv(const float* weight, const float* bias, int64_t out, int64_t in,
                       int64_t kernel) {
  std::vector<typename PackedConv<E>::Tap> taps;
  const int64_t reach = kernel / 2;
  for (int64_t dy = -reach; dy <= reach; ++dy) {
    for (int64_t dx = -reach; dx <= reach; ++dx) taps.push_back({dy, dx});
  }
  return Pack<E>(out, in, std::move(taps), bias, [&](int64_t n, int64_t i, int64_t tap) {
    return weight[(n * in + i) * kernel * kernel + tap];
  });
}

template <typename E>
std::vector<PackedConv<E>> PackDoublingConv(const float* weight, const float* bias, int64_t out,
                                            int64_t in) {
  // In one dimension, the even output 2 y sees the doubled pixels 2 y - 1, 2 y and 2 y + 1, which
  // are y - 1, y and y; the odd output sees y, y and y + 1.
  const auto sees = [](int64_t parity, int64_t tap, int64_t k) {
    return parity == 0 ? (tap == 0) == (k == 0) : (tap == 1) == (k == 2);
  };
  std::vector<PackedConv<E>> convs;
  for (int64_t a = 0; a < 2; ++a) {
    for (int64_t b = 0; b < 2; ++b) {
      std::vector<typename PackedConv<E>::Tap> taps;
      for (int64_t i = 0; i < 2; ++i) {
        for (int64_t j = 0; j < 2; ++j) taps.push_back({a - 1 + i, b - 1 + j});
      }
      convs.push_back(
          Pack<E>(out, in, std::move(taps), bias, [&](int64_t n, int64_t c, int64_t tap) {
            float sum = 0;
            for (int64_t ky = 0; ky < 3; ++ky) {
              for (int64_t kx = 0; kx < 3; ++kx) {
                if (sees(a, tap / 2, ky) && sees(b, tap % 2, kx)) {
                  sum += weight[((n * in + c) * 3 + ky) * 3 + kx];
                }
              }
            }
            return sum;
          }));
    }
  }
  return convs;
}

ChannelAffine GroupNormAffine(const ChannelSums& sums, int64_t num_pixels, int64_t num_groups,
                              const float* weight, const float* bias) {
  constexpr double kEpsilon = 1e-6;
  const size_t channels = sums.values.size(), width = channels / static_cast<size_t>(num_groups);
  const double count = static_cast<double>(num_pixels) * static_cast<double>(width);
  ChannelAffine affine;
  affine.factor.resize(channels);
  affine.offset.resize(channels);
  for (size_t begin = 0; begin < channels; begin += width) {
    double sum = 0, squares = 0;
    for (size_t c = begin; c < begin + width; ++c) {
      sum += sums.values[c];
      squares += sums.squares[c];
    }
    const double mean = sum / count, variance = std::max(squares / count - mean * mean, 0.0);
    const double factor = 1 / std::sqrt(variance + kEpsilon);
    for (size_t c = begin; c < begin + width; ++c) {
      affine.factor[c] = static_cast<float>(factor * weight[c]);
      affine.offset[c] = static_cast<float>(bias[c] - mean * factor * weight[c]);
    }
  }
  return affine;
}

template class BorderedPicture<float>;
template class BorderedPicture<Bfloat16>;
template PackedConv<float> PackConv<float>(const float*, const float*, int64_t, int64_t, int64_t);
template PackedConv<Bfloat16> PackConv<Bfloat16>(const float*, const float*, int64_t, int64_t,
                                                 int64_t);
template std::vector<PackedConv<float>> PackDoublingConv<float>(const float*, const float*, int64_t,
                                                                int64_t);
template std::vector<PackedConv<Bfloat16>> PackDoublingConv<Bfloat16>(const float*, const float*,
                                                                      int64_t, int64_t);

#if defined(__x86_64__)

namespace {

using simd::FirstLanes;
using simd::kLanes;

template <typename E>
using Kind = typename ConvOutput<E>::Kind;

// Sums of a row of pixels, C vectors of channels.
struct RowSums {
  float values[PackedConv<float>::kPanel];
  float squares[PackedConv<float>::kPanel];
};

// R pixels of a row times C vectors of outputs. `x` is the first pixel, `offsets` where its taps
// are from there.
template <typename E, int R, int C, Kind<E> kKind>
REENACT_AVX512_INLINE void ConvTile(const E* x, int64_t pixel_stride, const int64_t* offsets,
                                    int64_t num_taps, int64_t num_words, const E* weight,
                                    const float* bias, int64_t num_outputs, int64_t at,
                                    const ConvOutput<E>& output, RowSums* row_sums) {
  constexpr int64_t kPanel = PackedConv<E>::kPanel;
  __m512 sums[R][C];
  REENACT_UNROLL
  for (int r = 0; r < R; ++r) {
    REENACT_UNROLL
    for (int c = 0; c < C; ++c) sums[r][c] = _mm512_loadu_ps(bias + c * kLanes);
  }
  for (int64_t tap = 0; tap < num_taps; ++tap) {
    const E* from = x + offsets[tap];
    for (int64_t k = 0; k < num_words; ++k) {
      __m512i w[C];
      REENACT_UNROLL
      for (int c = 0; c < C; ++c) w[c] = _mm512_load_si512(weight + c * kLanes * kPerWord<E>);
      weight += kPanel * kPerWord<E>;
      REENACT_UNROLL
      for (int r = 0; r < R; ++r) {
        const __m512i a = simd::BroadcastWord(from + r * pixel_stride + k * kPerWord<E>);
        REENACT_UNROLL
        for (int c = 0; c < C; ++c) sums[r][c] = simd::MultiplyAdd<E>(sums[r][c], a, w[c]);
      }
    }
  }
  REENACT_UNROLL
  for (int c = 0; c < C; ++c) {
    const __mmask16 mask = FirstLanes(num_outputs - c * kLanes);
    __m512 total = _mm512_load_ps(row_sums->values + c * kLanes);
    __m512 squares = _mm512_load_ps(row_sums->squares + c * kLanes);
    REENACT_UNROLL
    for (int r = 0; r < R; ++r) {
      const int64_t to = at + r * output.pixel_stride + c * kLanes;
      __m512 y = sums[r][c];
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
    _mm512_store_ps(row_sums->values + c * kLanes, total);
    _mm512_store_ps(row_sums->squares + c * kLanes, squares);
  }
}

// One panel of C vectors of outputs, all pixels.
template <typename E, int C, Kind<E> kKind>
REENACT_AVX512 void ConvPanel(const PackedConv<E>& conv, const BorderedPicture<E>& x,
                              int64_t column, const ConvOutput<E>& output) {
  constexpr int kMany = C <= 2 ? 12 : 6;  // rows that fill the registers with sums
  constexpr int kSome = 4;
  const int64_t num_words = x.pixel_stride() / kPerWord<E>, stride = x.pixel_stride();
  const auto num_taps = static_cast<int64_t>(conv.taps.size());
  const int64_t num_outputs = std::min(PackedConv<E>::kPanel, conv.out - column);
  const E* weight = conv.weight.data() + column * num_taps * stride;
  const float* bias = conv.bias.data() + column;
  int64_t offsets[9];
  for (int64_t tap = 0; tap < num_taps; ++tap) {
    const auto& t = conv.taps[static_cast<size_t>(tap)];
    offsets[tap] = t.dy * x.row_stride() + t.dx * stride;
  }
  // As many tiles of kMany pixels as leave whole tiles of kSome, if there are such.
  int64_t many = x.width() / kMany;
  while (many > 0 && (x.width() - many * kMany) % kSome != 0 && kMany % kSome != 0) --many;
  if ((x.width() - many * kMany) % kSome != 0) many = x.width() / kMany;
  for (int64_t y = 0; y < x.height(); ++y) {
    alignas(64) RowSums row_sums = {};
    const E* from = x.at(y, 0);
    int64_t at = y * output.row_stride + column, i = 0;
    const auto advance = [&](int64_t pixels) {
      i += pixels;
      from += pixels * stride;
      at += pixels * output.pixel_stride;
    };
    while (i < many * kMany) {
      ConvTile<E, kMany, C, kKind>(from, stride, offsets, num_taps, num_words, weight, bias,
                                   num_outputs, at, output, &row_sums);
      advance(kMany);
    }
    while (i + kSome <= x.width()) {
      ConvTile<E, kSome, C, kKind>(from, stride, offsets, num_taps, num_words, weight, bias,
                                   num_outputs, at, output, &row_sums);
      advance(kSome);
    }
    while (i < x.width()) {
      ConvTile<E, 1, C, kKind>(from, stride, offsets, num_taps, num_words, weight, bias,
                               num_outputs, at, output, &row_sums);
      advance(1);
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
void ConvolveOfKind(const PackedConv<E>& conv, const BorderedPicture<E>& x,
                    const ConvOutput<E>& output) {
  for (int64_t column = 0; column < conv.out; column += PackedConv<E>::kPanel) {
    const int64_t num_outputs = std::min(PackedConv<E>::kPanel, conv.out - column);
    switch ((num_outputs + kLanes - 1) / kLanes) {
      case 1:
        ConvPanel<E, 1, kKind>(conv, x, column, output);
        break;
      case 2:
        ConvPanel<E, 2, kKind>(conv, x, column, output);
        break;
      case 3:
        ConvPanel<E, 3, kKind>(conv, x, column, output);
        break;
      default:
        ConvPanel<E, 4, kKind>(conv, x, column, output);
        break;
    }
  }
}

template <typename E, typename X, bool kSilu>
REENACT_AVX512 void AffinePicture(const X* x, const ChannelAffine& affine, BorderedPicture<E>* to) {
  const int64_t channels = to->channels();
  const float* factor = affine.factor.data();
  const float* offset = affine.offset.data();
  for (int64_t row = 0; row < to->height(); ++row) {
    E* pixel = to->at(row, 0);
    for (int64_t i = 0; i < to->width(); ++i) {
      for (int64_t c = 0; c < channels; c += kLanes) {
        const __mmask16 mask = FirstLanes(channels - c);
        __m512 y = _mm512_fmadd_ps(simd::Load(x + c, mask), simd::Load(factor + c, mask),
                                   simd::Load(offset + c, mask));
        if constexpr (kSilu) y = simd::Silu<E>(y);
        simd::Store(pixel + c, mask, y);
      }
      x += channels;
      pixel += to->pixel_stride();
    }
  }
}

template <typename E>
REENACT_AVX512 void CopyRows(const float* x, BorderedPicture<E>* to) {
  const int64_t channels = to->channels();
  for (int64_t row = 0; row < to->height(); ++row) {
    for (int64_t i = 0; i < to->width(); ++i) {
      for (int64_t c = 0; c < channels; c += kLanes) {
        const __mmask16 mask = FirstLanes(channels - c);
        simd::Store(to->at(row, i) + c, mask, simd::Load(x + c, mask));
      }
      x += channels;
    }
  }
}

REENACT_AVX512 void AddSums(const float* x, int64_t num_pixels, int64_t channels,
                            ChannelSums* sums) {
  for (int64_t c = 0; c < channels; c += kLanes) {
    const __mmask16 mask = FirstLanes(channels - c);
    __m512d values[2] = {_mm512_setzero_pd(), _mm512_setzero_pd()};
    __m512d squares[2] = {_mm512_setzero_pd(), _mm512_setzero_pd()};
    for (int64_t i = 0; i < num_pixels; ++i) {
      const __m512 v = simd::Load(x + i * channels + c, mask);
      const __m512d halves[2] = {_mm512_cvtps_pd(_mm512_castps512_ps256(v)),
                                 _mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1))};
      for (int h = 0; h < 2; ++h) {
        values[h] = _mm512_add_pd(values[h], halves[h]);
        squares[h] = _mm512_fmadd_pd(halves[h], halves[h], squares[h]);
      }
    }
    for (int h = 0; h < 2; ++h) {
      const auto half = static_cast<__mmask8>(mask >> (8 * h));
      const int64_t at = c + 8 * h;
      if (half == 0) continue;
      _mm512_mask_storeu_pd(sums->values.data() + at, half, values[h]);
      _mm512_mask_storeu_pd(sums->squares.data() + at, half, squares[h]);
    }
  }
}

}  // namespace

template <typename E>
void Convolve(const PackedConv<E>& conv, const BorderedPicture<E>& x, const ConvOutput<E>& output) {
  switch (output.kind) {
    case Kind<E>::kStore:
      return ConvolveOfKind<E, Kind<E>::kStore>(conv, x, output);
    case Kind<E>::kFloat:
      return ConvolveOfKind<E, Kind<E>::kFloat>(conv, x, output);
    case Kind<E>::kAdd:
      return ConvolveOfKind<E, Kind<E>::kAdd>(conv, x, output);
  }
}

ChannelSums SumChannels(const float* x, int64_t num_pixels, int64_t channels) {
  ChannelSums sums(channels);
  AddSums(x, num_pixels, channels, &sums);
  return sums;
}

template <typename E, typename X>
void AffineActivate(const X* x, int64_t height, int64_t width, int64_t channels,
                    const ChannelAffine& affine, PictureActivation activation,
                    BorderedPicture<E>* to) {
  to->Reset(height, width, channels);
  if (activation == PictureActivation::kSilu) {
    AffinePicture<E, X, true>(x, affine, to);
  } else {
    AffinePicture<E, X, false>(x, affine, to);
  }
}

template <typename E>
void CopyPicture(const float* x, int64_t height, int64_t width, int64_t channels,
                 BorderedPicture<E>* to) {
  to->Reset(height, width, channels);
  CopyRows(x, to);
}

template void Convolve<float>(const PackedConv<float>&, const BorderedPicture<float>&,
                              const ConvOutput<float>&);
template void Convolve<Bfloat16>(const PackedConv<Bfloat16>&, const BorderedPicture<Bfloat16>&,
                                 const ConvOutput<Bfloat16>&);
template void AffineActivate<float, float>(const float*, int64_t, int64_t, int64_t,
                                           const ChannelAffine&, PictureActivation,
                                           BorderedPicture<float>*);
template void AffineActivate<Bfloat16, float>(const float*, int64_t, int64_t, int64_t,
                                              const ChannelAffine&, PictureActivation,
                                              BorderedPicture<Bfloat16>*);
template void AffineActivate<Bfloat16, Bfloat16>(const Bfloat16*, int64_t, int64_t, int64_t,
                                                 const ChannelAffine&, PictureActivation,
                                                 BorderedPicture<Bfloat16>*);
template void CopyPicture<float>(const float*, int64_t, int64_t, int64_t, BorderedPicture<float>*);
template void CopyPicture<Bfloat16>(const float*, int64_t, int64_t, int64_t,
                                    BorderedPicture<Bfloat16>*);

#endif

}  // namespace reenact
