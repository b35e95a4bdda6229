// How alike two pictures are, pixel by pixel and region by region. Pure functions, thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "pipeline/image.h"

namespace reenact {

// Peak signal-to-noise ratio in dB over all three channels, peak 255; infinite for equal pictures.
// Both pictures have one size and are not empty.
double Psnr(const Image& a, const Image& b);
// The same over the pixels where `mask` (width * height, row-major) is not 0. No value: none is.
std::optional<double> MaskedPsnr(const Image& a, const Image& b, const std::vector<uint8_t>& mask);

// Structural similarity (Wang, Bovik, Sheikh and Simoncelli 2004) of the luminance (BT.601): means
// in Gaussian windows of 11 x 11 pixels, sigma 1.5, K1 0.01, K2 0.03, L 255, averaged over the
// windows that lie inside. -1..1. One size, both sides 11 or more.
double Ssim(const Image& a, const Image& b);

// Mean absolute difference of two pictures in levels (0..255).
double MeanDifference(const Image& a, const Image& b);

// How far a region's mean colour is from the truth's: the mean over the three channels of
// |mean of `generated` - mean of `truth`|, in levels, over the pixels where `mask` (width * height,
// row-major) is not 0. No value: fewer than `min_pixels` are.
std::optional<double> ColourError(const Image& generated, const Image& truth,
                                  const std::vector<uint8_t>& mask, int min_pixels = 30);

}  // namespace reenact
