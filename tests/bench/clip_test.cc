#include "tests/bench/clip.h"

#include <cstdlib>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace reenact::bench {
namespace {

using ::testing::ElementsAre;

// Mean difference of the pixels' levels.
double Difference(const Image& a, const Image& b) {
  double sum = 0;
  for (size_t i = 0; i < a.rgb.size(); ++i) sum += std::abs(a.rgb[i] - b.rgb[i]);
  return sum / static_cast<double>(a.rgb.size());
}

TEST(ForthAndBackTest, TurnsAtBothEnds) {
  std::vector<int> shown;
  for (int i = 0; i < 8; ++i) shown.push_back(ForthAndBack(i, 3));

  EXPECT_THAT(shown, ElementsAre(0, 1, 2, 1, 0, 1, 2, 1));
  EXPECT_EQ(ForthAndBack(5, 1), 0);
}

TEST(MakeClipTest, CutsAndExtends) {
  const auto original = EncodeClip(
      {MovingPicture(64, 48, 0), MovingPicture(64, 48, 10), MovingPicture(64, 48, 20)}, 3);
  ASSERT_TRUE(original.ok());

  const auto shorter = MakeClip(*original, 2);
  const auto longer = MakeClip(*original, 5);

  ASSERT_TRUE(shorter.ok() && longer.ok());
  EXPECT_EQ(ReadFrames(*shorter, 100)->size(), 2u);
  const auto frames = ReadFrames(*longer, 100);
  ASSERT_EQ(frames->size(), 5u);
  // Frame 4 is frame 0 again; frame 2 shows another picture.
  EXPECT_LT(Difference((*frames)[4], (*frames)[0]), 4);
  EXPECT_GT(Difference((*frames)[2], (*frames)[0]), 4);
}

TEST(MakeClipTest, RefusesWhatIsNoVideo) {
  EXPECT_EQ(MakeClip("not a video", 5).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(EncodeClip({}, 5).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(CentreSquareTest, HasTheSide) {
  const Image square = CentreSquare(MovingPicture(64, 48, 0), 32);

  EXPECT_EQ(square.width, 32);
  EXPECT_EQ(square.height, 32);
  EXPECT_EQ(square.rgb.size(), 32u * 32 * 3);
}

}  // namespace
}  // namespace reenact::bench
