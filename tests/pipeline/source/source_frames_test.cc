#include "pipeline/source/source_frames.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "pipeline/media/video_reader.h"
#include "pipeline/media/video_writer.h"
#include "tests/support/encode_clip.h"

namespace reenact {
namespace {

constexpr int kWidth = 48, kHeight = 32;

// `count` frames, each of another grey, which last 1, 2, 3, 1, 2, 3 ... tenths of a second.
// Each `frames_per_group`th is a key frame.
std::string Clip(int count, VideoCodec codec = VideoCodec::kLossless, int frames_per_group = 7) {
  VideoWriter::Options options;
  options.codec = codec;
  options.time_base_den = 10;
  options.frames_per_fragment = frames_per_group;
  std::vector<Image> images;
  std::vector<int64_t> times = {0};
  for (int i = 0; i < count; ++i) {
    images.push_back(
        {kWidth, kHeight,
         std::vector<uint8_t>(size_t{kWidth} * kHeight * 3, static_cast<uint8_t>(4 * i))});
    times.push_back(times.back() + 1 + i % 3);
  }
  return testing::EncodeClip(std::move(options), images, times);
}

struct Times {
  std::vector<double> starts;
  double duration = 0;
};
Times TimesOf(int count) {
  Times times;
  int64_t tenths = 0;
  for (int i = 0; i < count; ++i) {
    times.starts.push_back(static_cast<double>(tenths) / 10);
    tenths += 1 + i % 3;
  }
  times.duration = static_cast<double>(tenths) / 10;
  return times;
}

SourceFrames Frames(int count, int64_t max_bytes) {
  const Times times = TimesOf(count);
  return SourceFrames(Clip(count), times.starts, times.duration,
                      {.limits = {}, .max_bytes = max_bytes});
}

TEST(SourceFramesTest, AFrameIsShownFromItsTimeOnBackwardsToo) {
  const SourceFrames frames = Frames(3, 1 << 20);  // 0, 0.1 and 0.3 to 0.6 s
  const std::vector<std::pair<double, int>> expected = {
      {0, 0},
      {0.05, 0},
      {0.1, 1},
      {0.29, 1},
      {0.3, 2},
      {0.59, 2},
      // Backwards from 0.6 s: 2 until 0.9, 1 until 1.1, 0 until 1.2, and on from there.
      {0.61, 2},
      {0.89, 2},
      {0.91, 1},
      {1.09, 1},
      {1.11, 0},
      {1.19, 0},
      {1.25, 0},
      {1.31, 1},
      {1.75, 2},
      {1.85, 2},
      {2.11, 1},
      {2.39, 0}};
  for (const auto& [seconds, index] : expected) {
    EXPECT_EQ(frames.IndexAt(seconds), index) << seconds;
  }
  EXPECT_EQ(frames.IndexAt(-1), 0);
}

TEST(SourceFramesTest, ASingleFrameStays) {
  SourceFrames frames(Clip(1), {0}, 0.1, {});
  for (const double seconds : {0.0, 0.05, 0.1, 0.15, 3.0}) {
    EXPECT_EQ(frames.IndexAt(seconds), 0);
    EXPECT_TRUE(frames.Frame(0).ok());
  }
  SourceFrames still(Clip(1), {0}, 0, {});
  EXPECT_EQ(still.IndexAt(7), 0);
}

TEST(SourceFramesTest, GivesEveryFrameInWhateverOrder) {
  constexpr int kCount = 40;
  constexpr int64_t kPicture = int64_t{kWidth} * kHeight * 3;
  for (const int64_t max_bytes : {int64_t{1}, 3 * kPicture, 11 * kPicture, 100 * kPicture}) {
    SourceFrames frames = Frames(kCount, max_bytes);
    std::vector<int> order;
    for (int i = 0; i < kCount; ++i) order.push_back(i);
    for (int i = kCount - 1; i >= 0; --i) order.push_back(i);
    for (int i = 0; i < kCount; i += 3) order.push_back(i);
    for (int i = kCount - 1; i >= 0; i -= 4) order.insert(order.end(), {i, i});
    for (const int i : {17, 3, 39, 0, 38, 39, 1}) order.push_back(i);
    for (const int index : order) {
      const auto frame = frames.Frame(index);
      ASSERT_TRUE(frame.ok()) << frame.status();
      ASSERT_EQ((*frame)->width, kWidth);
      ASSERT_EQ((*frame)->rgb[0], 4 * index) << max_bytes;
    }
  }
}

// Forwards, backwards and forwards again, as beside an output of three times the length. Returns
// how many frames were decoded, and fails if one was not as at first.
int64_t PlayBackAndForth(const std::string& clip, int count, int64_t max_bytes) {
  const Times times = TimesOf(count);
  SourceFrames frames(clip, times.starts, times.duration, {.limits = {}, .max_bytes = max_bytes});
  std::vector<std::vector<uint8_t>> first_time;
  for (int k = 0; k < 3 * count; ++k) {
    const int index = k < count ? k : k < 2 * count ? 2 * count - 1 - k : k - 2 * count;
    const auto frame = frames.Frame(index);
    EXPECT_TRUE(frame.ok()) << frame.status();
    if (!frame.ok()) return 0;
    if (k < count) {
      first_time.push_back((*frame)->rgb);
    } else {
      EXPECT_TRUE((*frame)->rgb == first_time[static_cast<size_t>(index)]) << k;
    }
  }
  return frames.num_decoded();
}

TEST(SourceFramesTest, RunningBackwardsCostsWhatTheLengthIs) {
  constexpr int64_t kPicture = int64_t{kWidth} * kHeight * 3;
  for (const VideoCodec codec : {VideoCodec::kLossless, VideoCodec::kH264, VideoCodec::kMjpeg}) {
    for (const int count : {50, 100, 200}) {
      const std::string clip = Clip(count, codec);
      // With room for two groups of 7 frames each frame is decoded once a passage, and the one
      // ahead of each run. Without room for one, backwards also the frames before in its group.
      const int64_t roomy = PlayBackAndForth(clip, count, 15 * kPicture);
      EXPECT_LE(roomy, 3 * count + count / 7 + 2);
      const int64_t tight = PlayBackAndForth(clip, count, 2 * kPicture);
      EXPECT_LE(tight, 3 * count + 3 * count);
      const std::string name = absl::StrCat("codec ", static_cast<int>(codec), " frames ", count);
      RecordProperty(name, absl::StrCat(roomy, " and ", tight, " decoded of ", 3 * count));
    }
  }
}

TEST(SourceFramesTest, WithoutKeyFramesItOnlyCostsMore) {
  constexpr int64_t kPicture = int64_t{kWidth} * kHeight * 3;
  const auto decoded = [](int count) {
    const std::string clip = Clip(count, VideoCodec::kH264, /*frames_per_group=*/count);
    return PlayBackAndForth(clip, count, 10 * kPicture);
  };
  EXPECT_GT(decoded(200), 2 * 4 * decoded(50));
}

TEST(SourceFramesTest, AFrameThatIsNotThereIsAnError) {
  SourceFrames frames = Frames(3, 1 << 20);
  EXPECT_FALSE(frames.Frame(-1).ok());
  EXPECT_FALSE(frames.Frame(3).ok());
  // More is promised than the file holds.
  SourceFrames short_one(Clip(3), {0, 1, 2, 3}, 4, {});
  EXPECT_TRUE(short_one.Frame(2).ok());
  EXPECT_EQ(short_one.Frame(3).status().code(), absl::StatusCode::kInternal);
}

TEST(VideoReaderSkipTest, GoesOnAsIfFramesHadBeenRead) {
  const std::string clip = Clip(20, VideoCodec::kH264);
  for (const int before : {0, 1, 5}) {
    for (const int skipped : {0, 1, 6, 14}) {
      auto plain = VideoReader::Open(clip), skipping = VideoReader::Open(clip);
      ASSERT_TRUE(plain.ok() && skipping.ok());
      for (int i = 0; i < before; ++i) ASSERT_TRUE((*skipping)->Next().ok());
      for (int i = 0; i < before + skipped; ++i) ASSERT_TRUE((*plain)->Next().ok());
      ASSERT_TRUE((*skipping)->Skip(skipped).ok());
      while (true) {
        const auto expected = (*plain)->Next(), frame = (*skipping)->Next();
        ASSERT_TRUE(expected.ok() && frame.ok());
        ASSERT_EQ(frame->has_value(), expected->has_value());
        if (!frame->has_value()) break;
        EXPECT_EQ((*frame)->pts, (*expected)->pts);
        EXPECT_EQ((*frame)->duration, (*expected)->duration);
        EXPECT_EQ((*frame)->image.rgb, (*expected)->image.rgb);
      }
    }
  }
  auto reader = VideoReader::Open(clip);
  ASSERT_TRUE((*reader)->Skip(100).ok());
  EXPECT_FALSE((*(*reader)->Next()).has_value());
}

}  // namespace
}  // namespace reenact
