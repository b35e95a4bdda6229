#include "pipeline/source/source_video.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "pipeline/media/resize.h"
#include "pipeline/media/video_writer.h"
#include "pipeline/output/composer.h"
#include "tests/support/encode_clip.h"
#include "tests/support/face_models.h"
#include "training/people/people.h"

namespace reenact {
namespace {

constexpr int kWidth = 320, kHeight = 240, kSide = 200;

class SourceVideoTest : public testing::FaceModelTest {
 protected:
  static Image Empty() {
    return {kWidth, kHeight, std::vector<uint8_t>(size_t{kWidth} * kHeight * 3, 90)};
  }
  // A person in a picture, with the left upper corner of his square at (x, y).
  static Image With(const Image& person, int x, int y) {
    Image frame = Empty();
    for (int row = std::max(0, -y); row < std::min(person.height, kHeight - y); ++row) {
      for (int column = std::max(0, -x); column < std::min(person.width, kWidth - x); ++column) {
        std::copy_n(person.row(row) + 3 * column, 3, frame.row(y + row) + 3 * (x + column));
      }
    }
    return frame;
  }

  static std::string Clip(const std::vector<Image>& frames) {
    VideoWriter::Options options;
    options.codec = VideoCodec::kLossless;
    options.time_base_den = 25;
    return testing::EncodeClip(std::move(options), frames, testing::EvenTimes(frames.size(), 1));
  }

  std::unique_ptr<SourceVideo> Read(const std::vector<Image>& frames, bool keeps_places) {
    auto landmarker = FaceLandmarker::Create(models_);
    EXPECT_TRUE(landmarker.ok()) << landmarker.status();
    auto video = SourceVideo::Open(Clip(frames), {.limits = {}, .keeps_places = keeps_places},
                                   *std::move(landmarker));
    EXPECT_TRUE(video.ok()) << video.status();
    while (true) {
      const auto more = (*video)->ReadFrame();
      EXPECT_TRUE(more.ok()) << more.status();
      if (!more.ok() || !*more) return *std::move(video);
    }
  }

  const PersonRenderer person_{MakePerson(40)};
};

TEST_F(SourceVideoTest, TheBestFrameIsFrontalCalmAndSharp) {
  FaceState calm, aside, talking, asleep;
  aside.pose.yaw = 25;
  talking.expression.jaw_drop = 0.8f;
  asleep.expression.eye_close_left = asleep.expression.eye_close_right = 1;
  const Image good = person_.Draw(calm, kSide).image;
  const Image blurred = ResizeImage(ResizeImage(good, 40, 40), kSide, kSide);
  std::vector<Image> frames;
  for (const Image& image :
       {person_.Draw(aside, kSide).image, blurred, person_.Draw(talking, kSide).image, good,
        person_.Draw(asleep, kSide).image, ResizeImage(good, 110, 110)}) {
    frames.push_back(With(image, 60, 20));
  }
  const auto video = Read(frames, /*keeps_places=*/false);

  ASSERT_TRUE(video->best(0).has_value());
  EXPECT_EQ(video->best(0)->index, 3);
  EXPECT_DOUBLE_EQ(video->best(0)->seconds, 3 / 25.0);
  EXPECT_EQ(video->best(0)->image.rgb, frames[3].rgb);
  ASSERT_EQ(video->Notes().size(), 1u);
  EXPECT_EQ(video->Notes()[0],
            "the source is taken from frame 3 of the source video, at 0.12 s, which shows the face "
            "best");
}

TEST_F(SourceVideoTest, WithoutAFaceThereIsNoBestFrame) {
  const auto video = Read({Empty(), Empty()}, /*keeps_places=*/true);
  EXPECT_FALSE(video->best(0).has_value());
}

// A head that wanders through the picture, unseen for some frames.
TEST_F(SourceVideoTest, TheSquareFollowsTheHeadAndNothingElseChanges) {
  constexpr int kFrames = 16;
  const Image person = person_.Draw({}, kSide).image;
  std::vector<Image> frames;
  for (int i = 0; i < kFrames; ++i) frames.push_back(With(person, 20 + 4 * i, 10 + i));
  frames[6] = Empty();
  const auto video = Read(frames, /*keeps_places=*/true);
  ASSERT_TRUE(video->best(0).has_value());
  const int best = video->best(0)->index;
  const CropBox box = FaceCrop({video->best(0)->landmarks}, kWidth, kHeight);
  const auto clip = video->TakeClip({box});
  for (int i = 0; i < kFrames; ++i) {
    const auto place = clip->path(0).place(i);
    ASSERT_TRUE(place.has_value()) << i;
    EXPECT_NEAR(place->box.center_x, box.center_x + 4 * (i - best), 5) << i;
    EXPECT_NEAR(place->box.center_y, box.center_y + (i - best), 5) << i;
    EXPECT_NEAR(place->box.side / box.side, 1, 0.06) << i;
  }

  const Composer::Options options = {.paste_back = {}, .matte = true, .square_size = 64};
  Composer composer(options, {{box, std::nullopt}}, *clip);
  EXPECT_EQ(composer.width(), kWidth);
  EXPECT_EQ(composer.height(), kHeight);
  const Image square{64, 64, std::vector<uint8_t>(64 * 64 * 3, 200)};
  // To the end and back again.
  for (int i = 0; i < 2 * kFrames; ++i) {
    const int shown = i < kFrames ? i : 2 * kFrames - 1 - i;
    const Landmarks face = clip->path(0).landmarks(shown);
    OutputPicture picture;
    ASSERT_TRUE(composer.Compose((i + 0.5) / 25, {{square, face}}, &picture).ok());
    ASSERT_EQ(picture.image.rgb.size(), frames[shown].rgb.size());
    int num_changed = 0;
    for (size_t at = 0; at < picture.matte.size(); ++at) {
      const bool same = std::equal(&picture.image.rgb[3 * at], &picture.image.rgb[3 * at] + 3,
                                   &frames[shown].rgb[3 * at]);
      if (!same) ++num_changed;
      if (picture.matte[at] == 0) {
        ASSERT_TRUE(same) << "frame " << i << ", pixel " << at;
      }
      const double x =
          static_cast<double>(at % kWidth) + 0.5 - clip->path(0).place(shown)->box.center_x;
      if (std::abs(x) > box.side * 0.8) {
        ASSERT_EQ(picture.matte[at], 0);
      }
    }
    EXPECT_GT(num_changed, 1000) << i;
  }
}

TEST_F(SourceVideoTest, ASceneWithoutTheFaceIsShownAsItIs) {
  const Image person = person_.Draw({}, kSide).image;
  std::vector<Image> frames(6, With(person, 60, 20));
  Image other = Empty();
  for (size_t i = 0; i < other.rgb.size(); ++i) other.rgb[i] = static_cast<uint8_t>(i / 960);
  frames.resize(12, other);
  const auto video = Read(frames, /*keeps_places=*/true);
  const CropBox box = FaceCrop({video->best(0)->landmarks}, kWidth, kHeight);
  const auto clip = video->TakeClip({box});
  EXPECT_EQ(clip->path(0).num_without(), 6);
  Composer composer({.paste_back = {}, .matte = true, .square_size = 64}, {{box, std::nullopt}},
                    *clip);
  const Image square{64, 64, std::vector<uint8_t>(64 * 64 * 3, 200)};
  OutputPicture picture;
  ASSERT_TRUE(composer.Compose(8 / 25.0, {{square, clip->path(0).landmarks(0)}}, &picture).ok());
  EXPECT_EQ(picture.image.rgb, other.rgb);
  EXPECT_EQ(*std::max_element(picture.matte.begin(), picture.matte.end()), 0);
  EXPECT_EQ(video->Notes().back(),
            "no face found in the scenes of 6 frames of the source video, which stay as they are");
}

TEST_F(SourceVideoTest, WhatIsNoVideoIsToldAtOnce) {
  auto landmarker = FaceLandmarker::Create(models_);
  ASSERT_TRUE(landmarker.ok());
  EXPECT_EQ(SourceVideo::Open("no video", {}, *std::move(landmarker)).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace reenact
