#include "training/curation/segments.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace reenact {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

constexpr int kWidth = 1000, kHeight = 800;

// A face whose box has its middle at `x`, `y` and is `side` high, in pixels.
Landmarks Face(double x, double y, double side) {
  Landmarks face;
  for (size_t i = 0; i < face.size(); ++i) {
    const double u = i % 2 == 0 ? -0.4 : 0.4, v = i / 2 % 2 == 0 ? -0.5 : 0.5;
    face[i] = {static_cast<float>((x + u * side) / kWidth),
               static_cast<float>((y + v * side) / kHeight), 0};
  }
  return face;
}

// Feeds frames of 0.1 s.
class Feed {
 public:
  explicit Feed(const SegmentRules& rules = {}) : finder_(rules, kWidth, kHeight) {}

  void Show(int frames, const std::optional<Landmarks>& face) {
    for (int i = 0; i < frames; ++i) Add(false, face);
  }
  void Cut(const std::optional<Landmarks>& face) { Add(true, face); }
  std::vector<Segment> Finish() { return finder_.Finish(); }
  const SegmentFinder& finder() const { return finder_; }

 private:
  void Add(bool is_cut, const std::optional<Landmarks>& face) {
    finder_.Add(0.1 * count_, 0.1 * (count_ + 1), is_cut, face);
    ++count_;
  }

  SegmentFinder finder_;
  int count_ = 0;
};

TEST(BoxOfTest, IsInPixels) {
  const FaceBox box = BoxOf(Face(500, 400, 420), kWidth, kHeight);

  EXPECT_NEAR(box.left, 500 - 168, 0.01);
  EXPECT_NEAR(box.height(), 420, 0.01);
  EXPECT_NEAR(box.side(), 420, 0.01);
}

TEST(SegmentFinderTest, ASteadyLargeFaceIsOneSegment) {
  Feed feed;
  feed.Show(5, std::nullopt);
  feed.Show(30, Face(500, 400, 420));
  feed.Show(3, std::nullopt);

  const auto segments = feed.Finish();

  ASSERT_EQ(segments.size(), 1u);
  EXPECT_EQ(segments[0].first_frame, 5);
  EXPECT_EQ(segments[0].num_frames(), 30);
  EXPECT_NEAR(segments[0].begin, 0.5, 1e-9);
  EXPECT_NEAR(segments[0].end, 3.5, 1e-9);
  EXPECT_EQ(feed.finder().frames_with_face(), 30);
}

TEST(SegmentFinderTest, TwoSecondsAreTooShort) {
  Feed feed;
  feed.Show(19, Face(500, 400, 420));
  feed.Show(1, std::nullopt);
  feed.Show(21, Face(500, 400, 420));

  EXPECT_EQ(feed.Finish().size(), 1u);
  EXPECT_THAT(feed.finder().too_short(), ElementsAre(Pair("no face", 1)));
}

TEST(SegmentFinderTest, CutsJumpsAndSmallFacesEndASegment) {
  Feed feed;
  feed.Show(25, Face(500, 400, 420));
  feed.Cut(Face(500, 400, 420));
  feed.Show(24, Face(500, 400, 420));
  feed.Show(25, Face(700, 400, 420));  // 200 pixels at once, of a face of 420
  feed.Show(25, Face(700, 400, 600));  // grows by two fifths
  feed.Show(25, Face(700, 400, 390));  // below 400

  const auto segments = feed.Finish();

  ASSERT_EQ(segments.size(), 4u);
  EXPECT_EQ(segments[1].first_frame, 25);
  EXPECT_EQ(segments[2].first_frame, 50);
  EXPECT_EQ(segments[3].first_frame, 75);
}

TEST(SegmentFinderTest, SlowMotionIsSteady) {
  Feed feed;
  for (int i = 0; i < 40; ++i) feed.Show(1, Face(300 + 10 * i, 400, 420));

  EXPECT_EQ(feed.Finish().size(), 1u);
}

TEST(SegmentFinderTest, LongStretchesAreCutIntoPieces) {
  Feed feed({.max_seconds = 4});
  feed.Show(100, Face(500, 400, 420));

  const auto segments = feed.Finish();

  ASSERT_EQ(segments.size(), 2u);  // 4 + 4 seconds; the last two are too short
  for (const Segment& segment : segments) EXPECT_LE(segment.end - segment.begin, 4 + 1e-9);
  EXPECT_THAT(feed.finder().too_short(), ElementsAre(Pair("end", 1)));
}

}  // namespace
}  // namespace reenact
