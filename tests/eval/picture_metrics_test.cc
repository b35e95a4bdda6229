#include "eval/picture_metrics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>

namespace reenact {
namespace {

Image Plain(int side, uint8_t red, uint8_t green, uint8_t blue) {
  Image image{side, side, {}};
  for (int i = 0; i < side * side; ++i) image.rgb.insert(image.rgb.end(), {red, green, blue});
  return image;
}

// Something with structure.
Image Pattern(int side, int step) {
  Image image{side, side, {}};
  for (int y = 0; y < side; ++y) {
    for (int x = 0; x < side; ++x) {
      const auto value = static_cast<uint8_t>((x * step + y * y) % 200);
      image.rgb.insert(image.rgb.end(), {value, value, value});
    }
  }
  return image;
}

TEST(PsnrTest, OfKnownErrors) {
  const Image grey = Plain(4, 100, 100, 100);

  EXPECT_TRUE(std::isinf(Psnr(grey, grey)));
  // Off by 255 everywhere: 0 dB; by 5: 10 log10(255^2 / 25).
  EXPECT_NEAR(Psnr(Plain(4, 0, 0, 0), Plain(4, 255, 255, 255)), 0, 1e-9);
  EXPECT_NEAR(Psnr(grey, Plain(4, 105, 105, 105)), 34.151404, 1e-5);
  // One channel of three off by 5: a third of the error.
  EXPECT_NEAR(Psnr(grey, Plain(4, 105, 100, 100)), 34.151404 + 10 * std::log10(3), 1e-5);
}

TEST(PsnrTest, OfAMaskSeesOnlyTheMask) {
  const Image grey = Plain(2, 100, 100, 100);
  Image other = grey;
  for (size_t c = 0; c < 3; ++c) other.rgb[c] = 105, other.rgb[3 + c] = 255;

  EXPECT_NEAR(*MaskedPsnr(grey, other, {1, 0, 0, 0}), 34.151404, 1e-5);
  EXPECT_TRUE(std::isinf(*MaskedPsnr(grey, other, {0, 0, 1, 1})));
  EXPECT_FALSE(MaskedPsnr(grey, other, {0, 0, 0, 0}).has_value());
}

TEST(SsimTest, OfEqualPicturesIsOne) {
  const Image pattern = Pattern(24, 13);

  EXPECT_NEAR(Ssim(pattern, pattern), 1, 1e-12);
}

TEST(SsimTest, OfPlainPicturesIsTheLuminanceTerm) {
  // No variance: (2 a b + C1) / (a^2 + b^2 + C1) with C1 = 6.5025.
  const double expected = (2.0 * 50 * 100 + 6.5025) / (50.0 * 50 + 100.0 * 100 + 6.5025);

  EXPECT_NEAR(Ssim(Plain(16, 50, 50, 50), Plain(16, 100, 100, 100)), expected, 1e-9);
}

TEST(SsimTest, OfAnInvertedPictureIsNegative) {
  const Image pattern = Pattern(24, 13);
  Image inverted = pattern;
  for (uint8_t& value : inverted.rgb) value = static_cast<uint8_t>(200 - value);

  EXPECT_LT(Ssim(pattern, inverted), -0.5);
}

TEST(MeanDifferenceTest, CountsLevels) {
  EXPECT_DOUBLE_EQ(MeanDifference(Plain(3, 10, 20, 30), Plain(3, 16, 20, 27)), 3);
}

TEST(ColourErrorTest, ComparesMeansWithinTheMask) {
  Image truth = Plain(8, 100, 100, 100), generated = truth;
  // Two pixels that err in opposite directions have the right mean; a third does not.
  generated.rgb[0] = 110;
  generated.rgb[3] = 90;
  generated.rgb[6] = 130;
  std::vector<uint8_t> mask(64, 0);
  mask[0] = mask[1] = 1;

  EXPECT_DOUBLE_EQ(*ColourError(generated, truth, mask, 1), 0);
  mask[2] = 1;
  // Red is off by 30 in one of three pixels, the other channels not at all.
  EXPECT_NEAR(*ColourError(generated, truth, mask, 1), 10.0 / 3, 1e-12);
  EXPECT_FALSE(ColourError(generated, truth, mask, 4).has_value());
}

}  // namespace
}  // namespace reenact
