// From people to numbers, without a bundle.
#include "eval/summary.h"

#include <algorithm>
#include <cstddef>
#include <map>
#include <string>

#include "absl/status/status.h"
#include "eval/clip_truth.h"
#include "eval/held_out_clip.h"
#include "eval/protocol.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "pipeline/media/image_codec.h"
#include "pipeline/media/video_reader.h"

namespace reenact {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::map<std::string, std::optional<double>> Values(const std::vector<ClipMeasures>& clips,
                                                    bool aligned = true) {
  std::map<std::string, std::optional<double>> values;
  for (const Metric& metric : Summarise(clips, aligned)) values[metric.key] = metric.value;
  return values;
}

// A clip whose face is found `offset` degrees beside the truth, in frames with these true yaws.
ClipMeasures Clip(const std::vector<double>& yaws, double offset) {
  ClipMeasures clip;
  for (const double yaw : yaws) {
    FrameMeasures frame;
    frame.truth.angles.yaw = yaw;
    frame.found = frame.truth;
    frame.found->angles.yaw += offset;
    clip.frames.push_back(frame);
  }
  return clip;
}

TEST(SummaryTest, CountsFramesWithAFace) {
  ClipMeasures clip = Clip({1, 2, 3, 4}, 0);
  clip.frames[2].found.reset();

  EXPECT_DOUBLE_EQ(*Values({clip})["found"], 75);
}

TEST(SummaryTest, GivesLmseInBothUnits) {
  ClipMeasures clip = Clip({1, 2, 3}, 0);
  clip.frames[0].lmse = 2.0 / (256 * 256);
  clip.frames[1].lmse = 4.0 / (256 * 256);

  auto values = Values({clip});
  EXPECT_NEAR(*values["lmse_256"], 3, 1e-9);
  EXPECT_NEAR(*values["lmse"], 3e6 / (256 * 256), 1e-6);
  EXPECT_FALSE(values["expressive_lmse"].has_value());
}

TEST(SummaryTest, AMotionFromAnotherStartIsFollowedOnlyWithinTheClip) {
  const std::vector<ClipMeasures> clips = {Clip({0, 1, 2}, 0), Clip({0, 1, 2}, 30)};

  EXPECT_LT(*Values(clips, true)["yaw"], 0.2);
  EXPECT_NEAR(*Values(clips, false)["yaw"], 1, 1e-9);
}

TEST(SummaryTest, CountsSourcesAboveAlmostAllOthers) {
  std::vector<ClipMeasures> clips(4);
  clips[0].less_alike = 1;
  clips[1].less_alike = 0.99;
  clips[2].less_alike = 0.98;

  auto values = Values(clips);
  EXPECT_NEAR(*values["above_99"], 200.0 / 3, 1e-9);
  EXPECT_NEAR(*values["less_alike"], 99, 1e-9);
}

TEST(SummaryTest, TheRatioOfJitterIsThatOfTheMeans) {
  std::vector<ClipMeasures> clips(3);
  clips[0].jitter = 0.02, clips[0].driving_jitter = 0.02;
  clips[1].jitter = 0.04, clips[1].driving_jitter = 0.01;
  clips[2].jitter = 0.5;  // without a driving face nothing to compare with

  EXPECT_NEAR(*Values(clips)["jitter_ratio"], 2, 1e-9);
}

TEST(ProtocolTest, ListsAreParsedInOrder) {
  EXPECT_THAT(*ParseProtocols("cross,same"), ElementsAre(Protocol::kCross, Protocol::kSame));
  const auto ways = ParseWays("independent,anchored:balanced,anchored", SequencePlan::kContiguous);
  ASSERT_TRUE(ways.ok()) << ways.status();
  ASSERT_EQ(ways->size(), 3u);
  EXPECT_EQ((*ways)[0].method, LongVideoMethod::kIndependent);
  EXPECT_EQ((*ways)[1].name, "anchored:balanced");
  EXPECT_EQ((*ways)[1].method, LongVideoMethod::kAnchored);
  EXPECT_EQ((*ways)[1].plan, SequencePlan::kBalanced);
  EXPECT_EQ((*ways)[2].name, "anchored");
  EXPECT_EQ((*ways)[2].plan, SequencePlan::kContiguous);
}

TEST(ProtocolTest, UnknownWordsAreNamedWithWhatThereIs) {
  const auto methods = ParseWays("anchored,best", {});
  EXPECT_TRUE(absl::IsInvalidArgument(methods.status()));
  EXPECT_THAT(std::string(methods.status().message()),
              HasSubstr("methods is \"best\", must be one of anchored, multidiffusion"));
  for (const char* names : {"anchored,anchored", "anchored:", "anchored:best", "",
                            "multidiffusion:contiguous", "anchored:contiguous:x"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ParseWays(names, {}).status())) << names;
  }
  EXPECT_TRUE(absl::IsInvalidArgument(ParseProtocols("").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(ParsePlan("none").status()));
}

HeldOutOptions Small() {
  HeldOutOptions options;
  options.first_seed = 10'000'000;
  options.num_people = 3;
  options.num_frames = 3;
  options.size = 64;
  return options;
}

TEST(HeldOutClipTest, IsAFunctionOfTheSeeds) {
  const auto once = DrawHeldOutClip(Small(), 1, true), again = DrawHeldOutClip(Small(), 1, true);
  ASSERT_TRUE(once.ok()) << once.status();

  EXPECT_EQ(once->portrait_png, again->portrait_png);
  EXPECT_EQ(once->driving_mp4, again->driving_mp4);
  EXPECT_EQ(once->truth[2].rgb, again->truth[2].rgb);
}

TEST(HeldOutClipTest, OnesOwnClipIsTheTruth) {
  const auto clip = DrawHeldOutClip(Small(), 1, false);
  ASSERT_TRUE(clip.ok()) << clip.status();

  ASSERT_EQ(clip->driving.size(), 3u);
  EXPECT_EQ(clip->driving[1].rgb, clip->truth[1].rgb);
  EXPECT_EQ(clip->source.seed, clip->driver.seed);
  EXPECT_NE(clip->portrait.rgb, clip->driving[0].rgb);
}

TEST(HeldOutClipTest, TheNextPersonDrivesAsHeDrivesHimself) {
  const auto cross = DrawHeldOutClip(Small(), 2, true), own = DrawHeldOutClip(Small(), 0, false);
  ASSERT_TRUE(cross.ok() && own.ok());

  // After the last comes the first.
  EXPECT_EQ(cross->driver.seed, Small().first_seed);
  EXPECT_EQ(cross->driving[1].rgb, own->driving[1].rgb);
  EXPECT_NE(cross->truth[1].rgb, cross->driving[1].rgb);
  EXPECT_EQ(cross->states[1].pose.yaw, own->states[1].pose.yaw);
}

TEST(HeldOutClipTest, TheVideoIsTheFramesWithoutLoss) {
  const auto clip = DrawHeldOutClip(Small(), 0, false);
  ASSERT_TRUE(clip.ok()) << clip.status();
  auto reader = VideoReader::Open(clip->driving_mp4);
  ASSERT_TRUE(reader.ok()) << reader.status();

  for (const Image& expected : clip->driving) {
    const auto frame = (*reader)->Next();
    ASSERT_TRUE(frame.ok() && frame->has_value());
    EXPECT_EQ((*frame)->image.rgb, expected.rgb);
  }
  EXPECT_FALSE((*(*reader)->Next()).has_value());
}

TEST(HeldOutClipTest, RegionsDoNotOverlap) {
  const auto clip = DrawHeldOutClip(Small(), 0, false);
  ASSERT_TRUE(clip.ok()) << clip.status();

  const Image& regions = clip->regions[0];
  int skin = 0, clothes = 0;
  for (size_t i = 0; i < regions.rgb.size(); i += 3) {
    EXPECT_LE(regions.rgb[i] + regions.rgb[i + 1] + regions.rgb[i + 2], 255);
    skin += regions.rgb[i] > 0 ? 1 : 0;
    clothes += regions.rgb[i + 2] > 0 ? 1 : 0;
  }
  EXPECT_GT(skin, 64 * 64 / 20);
  EXPECT_GT(clothes, 10);
}

// A black picture with a rectangle of one channel in its left upper corner.
Image WithRegion(int width, int height, size_t channel) {
  Image regions{64, 64, std::vector<uint8_t>(size_t{3} * 64 * 64, 0)};
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      regions.rgb[static_cast<size_t>(y * 64 + x) * 3 + channel] = 255;
    }
  }
  return regions;
}

TEST(InnerRegionTest, IsThreePixelsFromTheEdgesAndShownByTheSource) {
  const Image regions = WithRegion(20, 10, 2);
  const auto count = [&](const Image& source, int channel) {
    const std::vector<uint8_t> inner = InnerRegion(regions, source, channel);
    EXPECT_EQ(inner.size(), 64u * 64u);
    return std::count(inner.begin(), inner.end(), 1);
  };

  EXPECT_EQ(count(regions, 2), 14 * 4);
  EXPECT_EQ(count(regions, 1), 0);
  EXPECT_EQ(count(WithRegion(20, 10, 1), 2), 0) << "the source shows other things";
  // 41 pixels are a hundredth; a strip of 6 has none that is 3 from its edges.
  EXPECT_EQ(count(WithRegion(60, 6, 2), 2), 0);
  EXPECT_EQ(count(WithRegion(46, 7, 2), 2), 0);
  EXPECT_EQ(count(WithRegion(47, 7, 2), 2), 14 * 4);
}

}  // namespace
}  // namespace reenact
