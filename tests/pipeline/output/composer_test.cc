#include "pipeline/output/composer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "pipeline/compose/face_matte.h"
#include "pipeline/face/canonical_mesh.h"
#include "pipeline/media/video_writer.h"

namespace reenact {
namespace {

constexpr int kSize = 48;

Image Plain(int width, int height, uint8_t level) {
  return {width, height, std::vector<uint8_t>(static_cast<size_t>(width) * height * 3, level)};
}

// The canonical face in the middle of a square, `height` of it high.
Landmarks Face(float height) {
  Landmarks face;
  float low = 1e9f, high = -1e9f;
  for (const auto& p : kCanonicalVertices) low = std::min(low, p[1]), high = std::max(high, p[1]);
  const float unit = height / (high - low);
  for (size_t i = 0; i < face.size(); ++i) {
    const auto& p = kCanonicalVertices[std::min(i, kCanonicalVertices.size() - 1)];
    face[i] = {0.5f + unit * p[0], 0.5f - unit * (p[1] - (low + high) / 2), -unit * p[2]};
  }
  return face;
}

TEST(ComposerTest, SquaresStandSideBySide) {
  Composer composer({.paste_back = {}, .matte = true, .square_size = kSize}, 2);
  EXPECT_EQ(composer.width(), 2 * kSize);
  EXPECT_EQ(composer.height(), kSize);
  EXPECT_TRUE(composer.needs_landmarks());
  OutputPicture picture;
  // The first is brought to the size.
  ASSERT_TRUE(
      composer
          .Compose(0, {{Plain(32, 32, 10), Face(0.5f)}, {Plain(kSize, kSize, 200), Face(0.3f)}},
                   &picture)
          .ok());
  ASSERT_EQ(picture.image.width, 2 * kSize);
  ASSERT_EQ(picture.image.height, kSize);
  const PasteBackOptions options;
  const auto left = FaceMatte({Face(0.5f)}, options.area, options.border, kSize);
  const auto right = FaceMatte({Face(0.3f)}, options.area, options.border, kSize);
  for (int y = 0; y < kSize; ++y) {
    for (int x = 0; x < 2 * kSize; ++x) {
      ASSERT_EQ(picture.image.row(y)[3 * x + 1], x < kSize ? 10 : 200);
      ASSERT_EQ(picture.matte[static_cast<size_t>(y) * 2 * kSize + x],
                (x < kSize ? left : right)[static_cast<size_t>(y) * kSize + x % kSize]);
    }
  }
}

TEST(ComposerTest, WithoutAMatteLandmarksAreNotAskedFor) {
  Composer composer({.paste_back = {}, .matte = false, .square_size = kSize}, 1);
  EXPECT_FALSE(composer.needs_landmarks());
  OutputPicture picture;
  ASSERT_TRUE(composer.Compose(0, {{Plain(kSize, kSize, 7), {}}}, &picture).ok());
  EXPECT_EQ(picture.image.rgb, Plain(kSize, kSize, 7).rgb);
  EXPECT_TRUE(picture.matte.empty());
}

TEST(ComposerTest, SeveralFacesGoBackIntoOnePicture) {
  const Image whole = Plain(200, 100, 100);
  const CropBox left = {50, 50, 80}, right = {150, 50, 60};
  Composer composer({.paste_back = {.follow = 0, .colour_match = 0}, .matte = true},
                    {{left, Face(0.5f)}, {right, Face(0.5f)}}, whole);
  EXPECT_EQ(composer.width(), 200);
  EXPECT_EQ(composer.height(), 100);
  for (int i = 0; i < 2; ++i) {  // the memory of the first is used again
    OutputPicture picture = {Plain(3, 3, 1), {1, 2, 3}};
    ASSERT_TRUE(composer
                    .Compose(0, {{Plain(64, 64, 110), Face(0.5f)}, {Plain(64, 64, 90), Face(0.5f)}},
                             &picture)
                    .ok());
    EXPECT_EQ(picture.image.row(50)[3 * 50], 110);
    EXPECT_EQ(picture.image.row(50)[3 * 150], 90);
    EXPECT_EQ(picture.image.row(50)[3 * 100], 100);
    EXPECT_EQ(picture.matte[50 * 200 + 50], 255);
    EXPECT_EQ(picture.matte[50 * 200 + 150], 255);
    EXPECT_EQ(picture.matte[50 * 200 + 100], 0);
  }
}

TEST(ComposerTest, AClipWhoseFaceIsGoneIsShownAsItIs) {
  VideoWriter::Options options;
  options.codec = VideoCodec::kLossless;
  options.width = options.height = 64;
  options.time_base_den = 10;
  auto writer = VideoWriter::Create(std::move(options));
  ASSERT_TRUE(writer.ok()) << writer.status();
  std::string bytes;
  FacePath path(64, 64);
  for (int i = 0; i < 4; ++i) {
    const auto pieces = (*writer)->Write(Plain(64, 64, static_cast<uint8_t>(50 * i)), i, 1);
    ASSERT_TRUE(pieces.ok());
    for (const auto& piece : *pieces) bytes += piece.data;
    path.Add(i < 2 ? std::optional(Face(0.4f)) : std::nullopt, i == 2, 0.1 * i);
  }
  const auto last = (*writer)->Finish();
  ASSERT_TRUE(last.ok());
  for (const auto& piece : *last) bytes += piece.data;
  path.Settle(0, {32, 32, 40});
  SourceClip clip(SourceFrames(bytes, {0, 0.1, 0.2, 0.3}, 0.4, {}), {path}, 64, 64);
  Composer composer({.paste_back = {.follow = 0, .colour_match = 0}, .matte = true},
                    {{{32, 32, 40}, std::nullopt}}, clip);
  EXPECT_EQ(composer.width(), 64);
  for (int i = 0; i < 4; ++i) {
    OutputPicture picture;
    ASSERT_TRUE(
        composer.Compose(0.1 * i + 0.05, {{Plain(40, 40, 255), Face(0.6f)}}, &picture).ok());
    const Image shown = Plain(64, 64, static_cast<uint8_t>(50 * i));
    EXPECT_EQ(picture.image.row(0)[0], 50 * i);
    if (i < 2) {
      EXPECT_EQ(picture.image.row(32)[3 * 32], 255);
      EXPECT_EQ(picture.matte[32 * 64 + 32], 255);
    } else {
      EXPECT_EQ(picture.image.rgb, shown.rgb);
      EXPECT_EQ(*std::max_element(picture.matte.begin(), picture.matte.end()), 0);
    }
  }
}

}  // namespace
}  // namespace reenact
