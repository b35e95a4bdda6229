// Convolutions of 3 x 3 in two thirds of the multiplications: Winograd's F(2, 3) (Lavin & Gray
// 2016, "Fast Algorithms for Convolutional Neural Networks") along the rows of a picture. Two
// neighbouring outputs need four products of transformed inputs and weights instead of six. In one
// dimension only, so that in bfloat16 the transforms cost little precision.
//
// E is float or Bfloat16; sums are float32. As in cpu_kernels.h, every value is computed by the
// same operations in the same order wherever it is computed. Pure functions, thread-safe; only
// where HasAvx512<E>().
#pragma once

#include <cstdint>
#include <vector>

#include "pipeline/models/cpu_conv.h"

namespace reenact {

// A picture as the convolution reads it, with a border of a row of zeros above and below: for each
// pair of pixels 2 p and 2 p + 1, the four combinations of the pixels 2 p - 1 to 2 p + 2. Channels
// are padded by zeros to whole words. Memory is reused from picture to picture.
template <typename E>
class PairedPicture {
 public:
  // Of any contents but for the border and the padding channels, which are zero.
  void Reset(int64_t height, int64_t width, int64_t channels);

  int64_t height() const { return height_; }
  int64_t width() const { return width_; }
  int64_t channels() const { return channels_; }
  int64_t num_pairs() const { return (width_ + 1) / 2; }
  int64_t stride() const { return stride_; }  // between combinations
  int64_t row_stride() const { return num_pairs() * 4 * stride_; }
  // The first combination of a row's first pair; y from -1 to the height.
  E* row(int64_t y) { return buffer_.data() + (y + 1) * row_stride(); }
  const E* row(int64_t y) const { return buffer_.data() + (y + 1) * row_stride(); }
  // Memory for a row of pixels, from -1 to 2 num_pairs(), float32.
  float* pixels() { return pixels_.data(); }

 private:
  int64_t height_ = 0, width_ = 0, channels_ = 0, stride_ = 0;
  AlignedBuffer<E> buffer_;
  AlignedBuffer<float> pixels_;
};

template <typename E>
struct PackedWinogradConv {
  int64_t in = 0, out = 0;
  // [panel of 32 outputs][combinations 0 and 3, 1 and 2][dy][word of in][of the two][output]
  AlignedBuffer<E> weight;
  std::vector<float> bias;

  static constexpr int64_t kPanel = 32;
};
// weight [out, in, 3, 3].
template <typename E>
PackedWinogradConv<E> PackWinogradConv(const float* weight, const float* bias, int64_t out,
                                       int64_t in);

template <typename E>
void Convolve(const PackedWinogradConv<E>& conv, const PairedPicture<E>& x,
              const ConvOutput<E>& output);

// As for BorderedPicture in cpu_conv.h.
template <typename E, typename X>
void AffineActivate(const X* x, int64_t height, int64_t width, int64_t channels,
                    const ChannelAffine& affine, PictureActivation activation,
                    PairedPicture<E>* to);

}  // namespace reenact
