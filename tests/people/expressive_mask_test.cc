#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "training/people/people.h"

namespace reenact {
namespace {

constexpr int kSize = 128;

uint8_t At(const std::vector<uint8_t>& mask, const Point3& p) {
  const int x = static_cast<int>(p.x * kSize), y = static_cast<int>(p.y * kSize);
  return mask[static_cast<size_t>(y * kSize + x)];
}

TEST(ExpressiveMaskTest, CoversEyesAndMouthAndLittleElse) {
  for (uint64_t seed = 0; seed < 30; ++seed) {
    SCOPED_TRACE(seed);
    FaceState state;
    state.pose.yaw = static_cast<float>(seed) * 2 - 30;
    state.expression.jaw_drop = static_cast<float>(seed % 4) / 4;
    const Render render = PersonRenderer(MakePerson(seed)).Draw(state, kSize, 1);

    const std::vector<uint8_t> mask = ExpressiveMask(render.landmarks, kSize);

    ASSERT_EQ(mask.size(), size_t{kSize * kSize});
    const Landmarks& l = render.landmarks;
    for (size_t vertex : {468, 473, 159, 145, 386, 374, 33, 263, 13, 14, 61, 291, 17, 0}) {
      EXPECT_EQ(At(mask, l[vertex]), 1) << vertex;
    }
    for (size_t vertex : {1, 10, 152, 234, 454, 50, 280, 105, 334})
      EXPECT_EQ(At(mask, l[vertex]), 0) << vertex;
    const auto covered = std::count(mask.begin(), mask.end(), 1);
    EXPECT_EQ(covered + std::count(mask.begin(), mask.end(), 0), kSize * kSize);
    EXPECT_GT(covered, kSize * kSize / 100);
    EXPECT_LT(covered, kSize * kSize / 12);
  }
}

TEST(ExpressiveMaskTest, ReachesTwoPercentOfTheFaceBeyondTheLips) {
  const Render render = PersonRenderer(MakePerson(1)).Draw(FaceState{}, kSize, 1);
  constexpr int kLarge = 1000;
  const std::vector<uint8_t> mask = ExpressiveMask(render.landmarks, kLarge);
  const Point3 lip = render.landmarks[17];
  const float face = render.landmarks[152].y - render.landmarks[10].y;
  const auto below = [&](float share) {
    const int x = static_cast<int>(lip.x * kLarge),
              y = static_cast<int>((lip.y + share * face) * kLarge);
    return mask[static_cast<size_t>(y * kLarge + x)];
  };
  EXPECT_EQ(below(0.017f), 1);
  EXPECT_EQ(below(0.023f), 0);
}

TEST(ExpressiveMaskTest, FacesOutsideThePictureLeaveItEmpty) {
  Landmarks landmarks = PersonRenderer(MakePerson(1)).Draw(FaceState{}, 32, 1).landmarks;
  for (Point3& p : landmarks) p.x += 5;
  const std::vector<uint8_t> mask = ExpressiveMask(landmarks, kSize);
  EXPECT_EQ(std::count(mask.begin(), mask.end(), 1), 0);
}

}  // namespace
}  // namespace reenact
