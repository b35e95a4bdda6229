#include "training/curation/curator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>

#include "pipeline/media/image_codec.h"
#include "pipeline/media/video_writer.h"
#include "tests/support/face_models.h"
#include "training/curation/still_clip.h"
#include "training/people/people.h"

namespace reenact {
namespace {

// Frames of a film, 25 a second.
std::string Film(const std::vector<Image>& frames) {
  VideoWriter::Options options;
  options.width = frames[0].width;
  options.height = frames[0].height;
  options.time_base_num = 1;
  options.time_base_den = 25;
  options.frame_rate_num = 25;
  auto writer = VideoWriter::Create(std::move(options));
  EXPECT_TRUE(writer.ok()) << writer.status();
  std::string bytes;
  for (size_t i = 0; i < frames.size(); ++i) {
    const auto pieces = (*writer)->Write(frames[i], static_cast<int64_t>(i), 1);
    EXPECT_TRUE(pieces.ok()) << pieces.status();
    for (const auto& piece : *pieces) bytes += piece.data;
  }
  const auto pieces = (*writer)->Finish();
  EXPECT_TRUE(pieces.ok()) << pieces.status();
  for (const auto& piece : *pieces) bytes += piece.data;
  return bytes;
}

constexpr int kSide = 192;

void AppendPerson(std::vector<Image>& frames, uint64_t seed, int count) {
  const PersonRenderer renderer(MakePerson(seed));
  for (const FaceState& state : MakeClip(seed, count, 25)) {
    FaceState centred = state;
    centred.view = {};
    frames.push_back(renderer.Draw(centred, kSide, 1).image);
  }
}

CurationOptions Options() {
  CurationOptions options;
  options.rules.min_face = 60;
  options.frames = 5;
  options.size = 64;
  return options;
}

using CuratorTest = testing::FaceModelTest;

TEST_F(CuratorTest, TwoPeopleAndACutAreTwoClips) {
  std::vector<Image> frames;
  AppendPerson(frames, 12, 60);
  AppendPerson(frames, 29, 55);
  AppendPerson(frames, 31, 20);  // less than two seconds

  const auto video = CurateVideo(Film(frames), *landmarker_, nullptr, Options());

  ASSERT_TRUE(video.ok()) << video.status();
  EXPECT_EQ(video->num_frames, 135);
  EXPECT_EQ(video->num_cuts, 2);
  EXPECT_GT(video->frames_with_face, 130);
  ASSERT_EQ(video->clips.size(), 2u);
  EXPECT_EQ(video->discarded.at("end"), 1);
  for (const CuratedClip& clip : video->clips) {
    EXPECT_EQ(clip.frames.size(), 5u);
    EXPECT_EQ(clip.landmarks.size(), 5u);
    EXPECT_EQ(clip.frames[0].width, 64);
    EXPECT_GT(clip.seconds, 2);
    EXPECT_NEAR(clip.face_height_ratio, 0.53, 0.01);  // as the crop is made
    EXPECT_GT(clip.sharpness, 10);
    // The landmarks lie on the face of the cropped picture: the network finds it there.
    const auto again = landmarker_->Detect(clip.frames[0]);
    ASSERT_TRUE(again.ok() && again->has_value());
    EXPECT_NEAR((*again)->landmarks[4].x, clip.landmarks[0][4].x, 0.04);
    EXPECT_NEAR((*again)->landmarks[4].y, clip.landmarks[0][4].y, 0.04);
  }
  EXPECT_NEAR(video->clips[1].begin, 60 / 25.0, 0.05);
}

TEST_F(CuratorTest, ASegmentWhoseFaceBecomesAnotherIsDiscarded) {
  std::vector<Image> frames;
  AppendPerson(frames, 12, 60);
  int calls = 0;
  const auto drifting = [&calls](const Image&) -> absl::StatusOr<std::vector<float>> {
    return std::vector<float>{1, calls++ == 3 ? 2.0f : 0.0f};
  };
  const auto steady = [](const Image&) -> absl::StatusOr<std::vector<float>> {
    return std::vector<float>{1, 0.1f};
  };

  const auto discarded = CurateVideo(Film(frames), *landmarker_, drifting, Options());
  const auto kept = CurateVideo(Film(frames), *landmarker_, steady, Options());

  ASSERT_TRUE(discarded.ok() && kept.ok());
  EXPECT_TRUE(discarded->clips.empty());
  EXPECT_EQ(discarded->discarded.at("drift"), 1);
  ASSERT_EQ(kept->clips.size(), 1u);
  EXPECT_NEAR(kept->clips[0].drift, 0, 1e-6);
}

TEST_F(CuratorTest, NoFaceAtAllIsNoError) {
  const std::vector<Image> frames(60,
                                  Image{kSide, kSide, std::vector<uint8_t>(3 * kSide * kSide, 90)});

  const auto video = CurateVideo(Film(frames), *landmarker_, nullptr, Options());

  ASSERT_TRUE(video.ok()) << video.status();
  EXPECT_TRUE(video->clips.empty());
  EXPECT_EQ(video->frames_with_face, 0);
}

TEST_F(CuratorTest, WhatIsNoVideoIsRefused) {
  EXPECT_EQ(CurateVideo("not a video", *landmarker_, nullptr, Options()).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(CuratorTest, AStillBecomesAClip) {
  const auto png = EncodePng(PersonRenderer(MakePerson(12)).Draw({}, kSide).image);
  ASSERT_TRUE(png.ok());

  const auto still = CurateStill(*png, *landmarker_, Options());

  ASSERT_TRUE(still.ok()) << still.status();
  ASSERT_EQ(still->clips.size(), 1u);
  EXPECT_EQ(still->clips[0].frames.size(), 5u);
  EXPECT_NE(still->clips[0].frames[0].rgb, still->clips[0].frames[4].rgb);
}

TEST(AnimateStillTest, LandmarksMoveWithThePicture) {
  const PersonRenderer renderer(MakePerson(12));
  const Render render = renderer.Draw({}, kSide);
  const CropBox box{kSide / 2.0, kSide / 2.0, 0.8 * kSide};
  // A mark of one colour on the nose's tip.
  Image marked = render.image;
  const Point3 nose = render.landmarks[4];
  for (int dy = -4; dy <= 4; ++dy) {
    for (int dx = -4; dx <= 4; ++dx) {
      uint8_t* pixel = marked.row(static_cast<int>(nose.y * kSide) + dy) +
                       3 * (static_cast<int>(nose.x * kSide) + dx);
      pixel[0] = 0;
      pixel[1] = 255;
      pixel[2] = 0;
    }
  }

  const auto frames = AnimateStill(marked, render.landmarks, box, 6, 96, 5);

  ASSERT_EQ(frames.size(), 6u);
  for (const StillFrame& frame : frames) {
    double x = 0, y = 0, count = 0;
    for (int py = 0; py < 96; ++py) {
      for (int px = 0; px < 96; ++px) {
        const uint8_t* pixel = frame.image.row(py) + 3 * px;
        if (pixel[1] < 200 || pixel[0] > 60 || pixel[2] > 60) continue;
        x += px + 0.5;
        y += py + 0.5;
        ++count;
      }
    }
    ASSERT_GT(count, 5);
    EXPECT_NEAR(x / count / 96, frame.landmarks[4].x, 0.012);
    EXPECT_NEAR(y / count / 96, frame.landmarks[4].y, 0.012);
  }
}

TEST(AnimateStillTest, IsAFunctionOfTheSeed) {
  const Render render = PersonRenderer(MakePerson(12)).Draw({}, kSide);
  const CropBox box{kSide / 2.0, kSide / 2.0, 0.8 * kSide};
  const auto once = AnimateStill(render.image, render.landmarks, box, 3, 48, 5),
             again = AnimateStill(render.image, render.landmarks, box, 3, 48, 5),
             other = AnimateStill(render.image, render.landmarks, box, 3, 48, 6);

  EXPECT_EQ(once[2].image.rgb, again[2].image.rgb);
  EXPECT_NE(once[2].image.rgb, other[2].image.rgb);
}

TEST(SharpnessTest, FallsWithBlur) {
  const Image sharp = PersonRenderer(MakePerson(12)).Draw({}, 96).image;
  const Image blurred = CropImage(CropImage(sharp, {48, 48, 96}, 24), {12, 12, 24}, 96);

  EXPECT_GT(Sharpness(sharp), 4 * Sharpness(blurred));
}

TEST(IdentityDistanceTest, IsOneMinusTheCosine) {
  EXPECT_NEAR(IdentityDistance({1, 0}, {2, 0}), 0, 1e-9);
  EXPECT_NEAR(IdentityDistance({1, 0}, {0, 3}), 1, 1e-9);
  EXPECT_NEAR(IdentityDistance({1, 0}, {-1, 0}), 2, 1e-9);
}

}  // namespace
}  // namespace reenact
