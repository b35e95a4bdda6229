#include "pipeline/reenactor/strip_sheet.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace reenact {
namespace {

Image Plain(int width, int height, uint8_t red, uint8_t green, uint8_t blue) {
  Image image{width, height, {}};
  for (int i = 0; i < width * height; ++i) {
    image.rgb.insert(image.rgb.end(), {red, green, blue});
  }
  return image;
}

std::vector<uint8_t> At(const Image& image, int x, int y) {
  const uint8_t* pixel = image.row(y) + 3 * static_cast<size_t>(x);
  return {pixel, pixel + 3};
}

const std::vector<uint8_t> kRed = {255, 0, 0}, kGreen = {0, 255, 0}, kBlue = {0, 0, 255},
                           kWhite = {255, 255, 255};
const Image kRedPicture = Plain(40, 40, 255, 0, 0), kGreenPicture = Plain(20, 20, 0, 255, 0),
            kBluePicture = Plain(80, 40, 0, 0, 255);

TEST(StripSheetTest, VideosStandBelowEachOtherBesideTheirSource) {
  const auto strip = DrawStrip(
      kRedPicture, {{{}, "", {kGreenPicture, kGreenPicture}}, {{}, "", {kBluePicture}}}, 40);

  ASSERT_TRUE(strip.ok()) << strip.status();
  // The source, 12 pixels, two squares with 4 between them; the wide picture is 80.
  EXPECT_EQ(strip->width, 40 + 12 + 84);
  EXPECT_EQ(strip->height, 40 + 4 + 40);
  EXPECT_EQ(At(*strip, 20, 42), kRed);  // in the middle of both rows
  EXPECT_EQ(At(*strip, 20, 10), kWhite);
  EXPECT_EQ(At(*strip, 52, 0), kGreen);
  EXPECT_EQ(At(*strip, 93, 20), kWhite);
  EXPECT_EQ(At(*strip, 135, 39), kGreen);
  EXPECT_EQ(At(*strip, 52, 44), kBlue);
  EXPECT_EQ(At(*strip, 134, 60), kWhite);
}

TEST(StripSheetTest, ARowMayHaveItsOwnSource) {
  const auto strip =
      DrawStrip({}, {{{}, "", {kGreenPicture}}, {kRedPicture, "", {kBluePicture}}}, 40);

  ASSERT_TRUE(strip.ok()) << strip.status();
  EXPECT_EQ(strip->width, 40 + 12 + 80);
  EXPECT_EQ(At(*strip, 20, 20), kWhite);
  EXPECT_EQ(At(*strip, 20, 60), kRed);
  EXPECT_EQ(At(*strip, 60, 20), kGreen);
}

TEST(StripSheetTest, LabelsFitTheirPlaceHoweverLongTheyAre) {
  std::string label = "hair";
  for (int words = 1; words < 40; words = words * 2 + 1) {
    const auto strip = DrawStrip({}, {{{}, label, {kGreenPicture}}}, 128);
    ASSERT_TRUE(strip.ok()) << strip.status();
    ASSERT_EQ(strip->width, 128 + 12 + 128);
    int ink = 0, last = 0, lowest = 0;
    for (int y = 0; y < strip->height; ++y) {
      for (int x = 0; x < 128 + 12; ++x) {
        if (At(*strip, x, y)[0] > 128) continue;
        ++ink;
        last = std::max(last, x);
        lowest = std::max(lowest, y);
      }
    }
    EXPECT_GT(ink, 30) << label;
    EXPECT_LT(last, 128) << label;
    EXPECT_LT(lowest, 127) << label;  // nothing is cut off
    label += " and " + label;
  }
}

TEST(StripSheetTest, WhatCannotBeDrawnIsAnError) {
  for (const auto& status :
       {DrawStrip(kRedPicture, {}, 40).status(), DrawStrip({}, {{{}, "a label", {}}}, 40).status(),
        DrawStrip({}, {{{}, "", {kRedPicture}}}, 15).status(),
        DrawStrip({}, {{{}, "", {kRedPicture}}}, 1025).status()}) {
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  }
}

}  // namespace
}  // namespace reenact
