#include "pipeline/face/scene_cut.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <utility>
#include <vector>

#include "pipeline/face/crop.h"
#include "training/people/people.h"

namespace reenact {
namespace {

constexpr int kSize = 160;

std::vector<Image> Clip(uint64_t seed, int num_frames, double fps = 25) {
  const PersonRenderer person(MakePerson(seed));
  std::vector<Image> frames;
  for (const FaceState& state : MakeClip(seed + 1000, num_frames, fps)) {
    frames.push_back(person.Draw(state, kSize, 1).image);
  }
  return frames;
}

template <typename Level>
Image Mapped(Image image, Level level) {
  for (uint8_t& value : image.rgb) {
    value = static_cast<uint8_t>(std::clamp(level(static_cast<float>(value)), 0.0f, 255.0f));
  }
  return image;
}

Image Dissolved(const Image& a, const Image& b, float share_of_b) {
  Image mixed = a;
  for (size_t i = 0; i < mixed.rgb.size(); ++i) {
    mixed.rgb[i] = static_cast<uint8_t>(
        static_cast<float>(a.rgb[i]) +
        share_of_b * (static_cast<float>(b.rgb[i]) - static_cast<float>(a.rgb[i])) + 0.5f);
  }
  return mixed;
}

// Indices of the frames at which the detector sees a cut.
std::vector<int> Cuts(const std::vector<Image>& frames) {
  SceneCutDetector detector;
  std::vector<int> cuts;
  for (size_t i = 0; i < frames.size(); ++i) {
    if (detector.Next(frames[i])) cuts.push_back(static_cast<int>(i));
  }
  return cuts;
}

void Append(std::vector<Image>& to, std::vector<Image> frames) {
  for (Image& frame : frames) to.push_back(std::move(frame));
}

TEST(SceneCutTest, FindsHardCutsBetweenPeopleAtTheirFirstFrame) {
  std::vector<Image> frames;
  std::vector<int> truth;
  constexpr int kPeople = 60, kFrames = 4;
  for (int i = 0; i < kPeople; ++i) {
    if (i > 0) truth.push_back(static_cast<int>(frames.size()));
    Append(frames, Clip(300 + i, kFrames));
  }

  const std::vector<int> cuts = Cuts(frames);

  std::vector<int> both;
  std::set_intersection(truth.begin(), truth.end(), cuts.begin(), cuts.end(),
                        std::back_inserter(both));
  EXPECT_GE(both.size(), truth.size() * 97 / 100);
  EXPECT_EQ(cuts.size(), both.size()) << "false cuts";
}

TEST(SceneCutTest, MotionIsNoCut) {
  int frames = 0, cuts = 0;
  for (uint64_t seed = 400; seed < 430; ++seed) {
    // 6 frames a second: four times as fast as real motion at 25.
    const std::vector<Image> clip = Clip(seed, 40, 6);
    cuts += static_cast<int>(Cuts(clip).size());
    frames += 40;
  }
  // The rate that is promised is one in a thousand.
  EXPECT_LE(cuts, frames / 1000) << "of " << frames;
}

TEST(SceneCutTest, FastCameraMotionIsNoCut) {
  const std::vector<Image> clip = Clip(440, 24);
  for (const double step : {0.02, 0.05, 0.1}) {
    std::vector<Image> pan, shake, zoom;
    for (size_t i = 0; i < clip.size(); ++i) {
      // Forth and back over the picture, by this share of the view a frame.
      const double side = 0.7 * kSize;
      const double at = std::fmod(step * static_cast<double>(i), 0.8);
      const double off = (at < 0.4 ? at : 0.8 - at) - 0.2;
      pan.push_back(CropImage(clip[i], {kSize / 2.0 + off * side, kSize / 2.0, side}, kSize));
      const double sign = i % 2 == 0 ? 0.5 : -0.5;
      shake.push_back(CropImage(
          clip[i], {kSize / 2.0 + sign * step * side, kSize / 2.0 - sign * step * side, side},
          kSize));
      // In for eight frames, out for eight.
      const auto power = static_cast<double>(i % 16 < 8 ? i % 16 : 15 - i % 16);
      zoom.push_back(
          CropImage(clip[i], {kSize / 2.0, kSize / 2.0, kSize * std::pow(1 - step, power)}, kSize));
    }
    EXPECT_EQ(Cuts(pan), std::vector<int>{}) << step;
    EXPECT_EQ(Cuts(shake), std::vector<int>{}) << step;
    EXPECT_EQ(Cuts(zoom), std::vector<int>{}) << step;
  }
}

TEST(SceneCutTest, FlashesAreNoCutsButForOneInTenOfTheStrongest) {
  int mild = 0, strong = 0, strong_cuts = 0, mild_cuts = 0;
  for (uint64_t seed = 450; seed < 480; ++seed) {
    const std::vector<Image> clip = Clip(seed, 10);
    for (const float gain : {1.5f, 2.0f, 4.0f}) {
      std::vector<Image> frames = clip;
      // Two frames of flash, the second weaker.
      frames[5] = Mapped(frames[5], [gain](float v) { return v * gain + 20; });
      frames[6] = Mapped(frames[6], [gain](float v) { return v * std::sqrt(gain); });
      const int cuts = static_cast<int>(Cuts(frames).size());
      (gain > 3 ? strong : mild) += 1;
      (gain > 3 ? strong_cuts : mild_cuts) += std::min(cuts, 1);
    }
    // A lightning that leaves nothing to see.
    std::vector<Image> white = clip;
    white[5] = Mapped(white[5], [](float) { return 255.0f; });
    EXPECT_EQ(Cuts(white), std::vector<int>{}) << seed;
  }
  EXPECT_LE(mild_cuts, mild / 30);
  EXPECT_LE(strong_cuts, strong / 10);
}

TEST(SceneCutTest, FadesAndDissolvesAreNoCuts) {
  int fades = 0, dissolves = 0;
  constexpr int kCount = 20, kLength = 10;
  for (int seed = 480; seed < 480 + kCount; ++seed) {
    std::vector<Image> clip = Clip(seed, 3 * kLength);
    const std::vector<Image> other = Clip(seed + 50, 3 * kLength);
    std::vector<Image> fade = clip, dissolve = clip;
    for (int i = 0; i < kLength; ++i) {
      const float t = static_cast<float>(i + 1) / kLength;
      fade[kLength + i] = Mapped(clip[kLength + i], [t](float v) { return v * (1 - t); });
      fade[2 * kLength + i] = Mapped(clip[2 * kLength + i], [t](float v) { return v * t; });
      dissolve[kLength + i] = Dissolved(clip[kLength + i], other[i], t);
      dissolve[2 * kLength + i] = other[kLength + i];
    }
    fades += static_cast<int>(Cuts(fade).size());
    dissolves += static_cast<int>(Cuts(dissolve).size());
  }
  EXPECT_EQ(fades, 0);
  EXPECT_EQ(dissolves, 0);
}

TEST(SceneCutTest, ACutThroughBlackIsOneWhenTheNewSceneShows) {
  int found = 0;
  for (int seed = 500; seed < 510; ++seed) {
    std::vector<Image> frames = Clip(seed, 5);
    const Image black = Mapped(frames[0], [](float) { return 0.0f; });
    frames.insert(frames.end(), 3, black);
    Append(frames, Clip(seed + 50, 5));
    found += Cuts(frames) == std::vector<int>{8} ? 1 : 0;
  }
  EXPECT_GE(found, 9);
}

TEST(SceneCutTest, AnotherFramingOfTheSamePersonIsACut) {
  int found = 0;
  for (int seed = 520; seed < 540; ++seed) {
    const std::vector<Image> clip = Clip(seed, 12);
    std::vector<Image> frames(clip.begin(), clip.begin() + 6);
    for (int i = 6; i < 12; ++i) {
      frames.push_back(CropImage(clip[i], {kSize / 2.0, kSize * 0.45, kSize * 0.45}, kSize));
    }
    found += Cuts(frames) == std::vector<int>{6} ? 1 : 0;
  }
  EXPECT_GE(found, 18);
}

TEST(SceneCutTest, AShortInsertHasTwoCuts) {
  int found = 0, wrong = 0;
  for (int seed = 560; seed < 580; ++seed) {
    std::vector<Image> frames = Clip(seed, 10);
    const std::vector<Image> insert = Clip(seed + 30, 2);
    frames[4] = insert[0];
    frames[5] = insert[1];
    for (const int cut : Cuts(frames)) (cut == 4 || cut == 6 ? found : wrong) += 1;
  }
  // Of the 40 cuts a few lie between people who look much alike in shape and light.
  EXPECT_GE(found, 35);
  EXPECT_EQ(wrong, 0);
}

TEST(SceneCutTest, ScoresTellHowSure) {
  const std::vector<Image> one = Clip(541, 2), other = Clip(546, 1);
  SceneCutDetector detector;
  EXPECT_FALSE(detector.Next(one[0]));
  EXPECT_EQ(detector.score(), 0);
  detector.Next(one[1]);
  EXPECT_LT(detector.score(), 0.2);
  EXPECT_TRUE(detector.Next(other[0]));
  EXPECT_GT(detector.score(), 0.5);
}

TEST(SceneCutTest, FramesMayDifferInSizeAndBeTiny) {
  const Image frame = Clip(550, 1)[0];
  SceneCutDetector detector;
  EXPECT_FALSE(detector.Next(frame));
  EXPECT_FALSE(detector.Next(CropImage(frame, {kSize / 2.0, kSize / 2.0, kSize}, 300)));
  for (const int side : {1, 2, 7}) {
    EXPECT_FALSE(
        SceneCutDetector().Next(CropImage(frame, {kSize / 2.0, kSize / 2.0, kSize}, side)));
  }
  EXPECT_FALSE(detector.Next(Image{}));
  EXPECT_FALSE(detector.Next(Image{10, 10, std::vector<uint8_t>(5)}));
}

TEST(SceneCutTest, ResetMakesTheNextFrameTheFirst) {
  SceneCutDetector detector;
  detector.Next(Clip(541, 1)[0]);
  detector.Reset();
  EXPECT_FALSE(detector.Next(Clip(546, 1)[0]));
}

}  // namespace
}  // namespace reenact
