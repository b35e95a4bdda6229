#include "training/people/raster.h"

#include <gtest/gtest.h>

#include "training/people/noise.h"

namespace reenact {
namespace {

constexpr int kSide = 16;

Seen At(const Raster& raster, int x, int y) {
  return raster.pixels()[static_cast<size_t>(y * kSide + x)];
}

TEST(RasterTest, NeighboursCoverASquareOnceAndWithoutCracks) {
  const std::vector<Vec3> corners = {{2, 2, 1}, {12, 2, 1}, {12, 12, 1}, {2, 12, 1}};
  Raster raster(kSide);
  raster.Draw(corners, {{{0, 1, 2}, Material::kSkin}, {{0, 2, 3}, Material::kSkin}});
  for (int y = 0; y < kSide; ++y) {
    for (int x = 0; x < kSide; ++x) {
      const bool inside = x >= 2 && x < 12 && y >= 2 && y < 12;
      EXPECT_EQ(At(raster, x, y).triangle >= 0, inside) << x << " " << y;
    }
  }
}

TEST(RasterTest, NearerWinsWhateverTheOrderAndTheSide) {
  const std::vector<Vec3> near_far = {{0, 0, 1}, {16, 0, 1}, {0, 16, 1},
                                      {0, 0, 2}, {16, 0, 2}, {0, 16, 2}};
  Raster raster(kSide);
  raster.Draw(
      near_far,
      {{{3, 5, 4}, Material::kSkin}, {{0, 1, 2}, Material::kSkin}, {{3, 4, 5}, Material::kSkin}});
  EXPECT_EQ(At(raster, 3, 3).triangle, 1);
  EXPECT_FLOAT_EQ(At(raster, 3, 3).depth, 1);
  EXPECT_EQ(At(raster, 15, 15).triangle, -1);
}

TEST(RasterTest, WeightsInterpolateAndDepthFollows) {
  const std::vector<Vec3> triangle = {{0, 0, 0}, {16, 0, 16}, {0, 16, 32}};
  Raster raster(kSide);
  raster.Draw(triangle, {{{0, 1, 2}, Material::kSkin}});
  const Seen seen = At(raster, 3, 7);  // centre (3.5, 7.5)
  EXPECT_NEAR(seen.weight1, 3.5f / 16, 1e-5f);
  EXPECT_NEAR(1 - seen.weight0 - seen.weight1, 7.5f / 16, 1e-5f);
  EXPECT_NEAR(seen.depth, 3.5f + 15, 1e-4f);
}

TEST(RasterTest, WhatLiesOutsideIsCut) {
  const std::vector<Vec3> huge = {{-100, -100, 1}, {200, -100, 1}, {-100, 200, 1}};
  const std::vector<Vec3> beside = {{20, 2, 1}, {30, 2, 1}, {20, 12, 1}};
  Raster raster(kSide);
  raster.Draw(beside, {{{0, 1, 2}, Material::kSkin}});
  for (const Seen& seen : raster.pixels()) EXPECT_EQ(seen.triangle, -1);
  raster.Draw(huge, {{{0, 1, 2}, Material::kSkin}});
  for (const Seen& seen : raster.pixels()) EXPECT_EQ(seen.triangle, 0);
}

TEST(RasterTest, MarksOnlyWhatIsInFront) {
  const std::vector<Vec3> both = {{0, 0, 2}, {8, 0, 2},  {8, 16, 2},  {0, 16, 2},
                                  {0, 0, 1}, {16, 0, 3}, {16, 16, 3}, {0, 16, 1}};
  Raster raster(kSide);
  raster.Draw(both, {{{0, 1, 2}, Material::kSkin}, {{0, 2, 3}, Material::kSkin}});
  std::vector<uint8_t> mask(kSide * kSide);
  // A plane from depth 1 at the left to 3 at the right cuts the wall at x = 8; beyond it is
  // nothing.
  raster.MarkInFront(both, {{{4, 5, 6}, Material::kGlasses}, {{4, 6, 7}, Material::kGlasses}},
                     mask);
  EXPECT_EQ(mask[8 * kSide + 2], 1);
  EXPECT_EQ(mask[8 * kSide + 12], 1);
  EXPECT_EQ(At(raster, 12, 8).triangle, -1) << "marking covers nothing";
}

TEST(NoiseTest, IsSmoothStandardAndPeriodic) {
  double sum = 0, squares = 0;
  for (int i = 0; i < 256 * 256; ++i) {
    const float value = Noise(static_cast<float>(i % 256), static_cast<float>(i / 256));
    sum += value;
    squares += value * value;
  }
  EXPECT_NEAR(sum / 65536, 0, 0.01);
  EXPECT_NEAR(squares / 65536, 1, 0.01);
  EXPECT_FLOAT_EQ(Noise(3.5f, -7.25f), Noise(3.5f + 256, -7.25f + 256));
  EXPECT_LT(std::abs(Noise(10.0f, 20.0f) - Noise(10.05f, 20.0f)), 0.2f);
}

}  // namespace
}  // namespace reenact
