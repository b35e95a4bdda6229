// Convolutions and group norms for AVX-512, on pictures with the channels last: what the decoder of
// an autoencoder is made of.
//
// E is float or Bfloat16; sums are float32. As in cpu_kernels.h, every value is computed by the
// same operations in the same order wherever it is computed. Pure functions, thread-safe; only
// where HasAvx512<E>().
#pragma once

#include <cstdint>
#include <vector>

#include "pipeline/models/cpu_kernels.h"

namespace reenact {

// A picture with a border of one pixel of zeros: what a convolution reads. Channels are padded by
// zeros to whole words. Memory is reused from picture to picture.
template <typename E>
class BorderedPicture {
 public:
  // Of any contents but for the border and the padding channels, which are zero.
  void Reset(int64_t height, int64_t width, int64_t channels);

  int64_t height() const { return height_; }
  int64_t width() const { return width_; }
  int64_t channels() const { return channels_; }
  int64_t pixel_stride() const { return pixel_stride_; }
  int64_t row_stride() const { return (width_ + 2) * pixel_stride_; }
  // The pixel (y, x), each from -1 to the size.
  E* at(int64_t y, int64_t x) {
    return buffer_.data() + (y + 1) * row_stride() + (x + 1) * pixel_stride_;
  }
  const E* at(int64_t y, int64_t x) const {
    return buffer_.data() + (y + 1) * row_stride() + (x + 1) * pixel_stride_;
  }

 private:
  int64_t height_ = 0, width_ = 0, channels_ = 0, pixel_stride_ = 0;
  AlignedBuffer<E> buffer_;
};

// Weights of a convolution, stride 1, that reads the taps (dy, dx) of each pixel's surroundings.
template <typename E>
struct PackedConv {
  struct Tap {
    int64_t dy = 0, dx = 0;  // -1, 0 or 1
  };
  int64_t in = 0, out = 0;
  std::vector<Tap> taps;
  AlignedBuffer<E> weight;  // [panel of 64 outputs][tap][word of in][output]
  std::vector<float> bias;

  static constexpr int64_t kPanel = 64;
};
// weight [out, in, kernel, kernel] for kernel 1 or 3, centred.
template <typename E>
PackedConv<E> PackConv(const float* weight, const float* bias, int64_t out, int64_t in,
                       int64_t kernel);
// A convolution of 3 x 3 on a picture that was doubled by repeating pixels is four of 2 x 2 on the
// picture itself: -> those for the output pixels (2 y, 2 x), (2 y, 2 x + 1), (2 y + 1, 2 x) and
// (2 y + 1, 2 x + 1).
template <typename E>
std::vector<PackedConv<E>> PackDoublingConv(const float* weight, const float* bias, int64_t out,
                                            int64_t in);

// Sums over pixels for each channel: of the values and of their squares.
struct ChannelSums {
  std::vector<double> values, squares;

  explicit ChannelSums(int64_t channels)
      : values(static_cast<size_t>(channels)), squares(static_cast<size_t>(channels)) {}
};

// What becomes of the convolved y.
template <typename E>
struct ConvOutput {
  enum class Kind {
    kStore,  // to = y
    kFloat,  // to_float = y
    kAdd,    // to_float += y
  };
  Kind kind = Kind::kStore;
  E* to = nullptr;
  float* to_float = nullptr;
  int64_t pixel_stride = 0, row_stride = 0;  // elements, of `to` or `to_float`
  ChannelSums* sums = nullptr;               // of what is stored, before rounding; null: not wanted
};
template <typename E>
void Convolve(const PackedConv<E>& conv, const BorderedPicture<E>& x, const ConvOutput<E>& output);

// The sums of x [num_pixels, channels].
ChannelSums SumChannels(const float* x, int64_t num_pixels, int64_t channels);

// A group norm with parameters, eps 1e-6, as a factor and an offset per channel.
struct ChannelAffine {
  std::vector<float> factor, offset;
};
ChannelAffine GroupNormAffine(const ChannelSums& sums, int64_t num_pixels, int64_t num_groups,
                              const float* weight, const float* bias);

enum class PictureActivation { kNone, kSilu };
// to = activation(factor x + offset), x [height, width, channels] of X, which is E or float; `to`
// takes the size given.
template <typename E, typename X>
void AffineActivate(const X* x, int64_t height, int64_t width, int64_t channels,
                    const ChannelAffine& affine, PictureActivation activation,
                    BorderedPicture<E>* to);
// to = x.
template <typename E>
void CopyPicture(const float* x, int64_t height, int64_t width, int64_t channels,
                 BorderedPicture<E>* to);

}  // namespace reenact
