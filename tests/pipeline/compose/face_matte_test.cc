#include "pipeline/compose/face_matte.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "training/people/people.h"

namespace reenact {
namespace {

Landmarks FaceOf(const FaceState& state) {
  return PersonRenderer(MakePerson(21)).Draw(state, 64, 1).landmarks;
}

uint8_t At(const std::vector<uint8_t>& matte, int side, double x, double y) {
  return matte[static_cast<size_t>(y * side) * side + static_cast<size_t>(x * side)];
}

TEST(FaceMatteTest, CoversTheFaceAndEndsAtTheSides) {
  const Landmarks face = FaceOf({});
  constexpr int kSide = 200;
  for (const MatteArea area : {MatteArea::kFace, MatteArea::kHead, MatteArea::kCrop}) {
    const std::vector<uint8_t> matte = FaceMatte({&face, 1}, area, 0.08, kSide);

    for (const Point3& p : face) EXPECT_EQ(At(matte, kSide, p.x, p.y), 255);
    for (int i = 0; i < kSide; ++i) {
      for (const size_t k : {i, (kSide - 1) * kSide + i, i * kSide, i * kSide + kSide - 1}) {
        EXPECT_LT(matte[k], 4);
      }
    }
  }
}

TEST(FaceMatteTest, AreasGrowFromFaceToHeadToCrop) {
  const Landmarks face = FaceOf({});
  std::vector<double> shares;
  for (const MatteArea area : {MatteArea::kFace, MatteArea::kHead, MatteArea::kCrop}) {
    double sum = 0;
    for (const uint8_t value : FaceMatte({&face, 1}, area, 0.05, 100)) sum += value / 255.0;
    shares.push_back(sum / 1e4);
  }
  EXPECT_GT(shares[1], 1.3 * shares[0]);
  EXPECT_GT(shares[2], 1.2 * shares[1]);
}

TEST(FaceMatteTest, AHeadThatMovedCoversThePlaceItLeft) {
  FaceState moved;
  moved.view.shift_x = 0.1f;
  const std::vector<Landmarks> both = {FaceOf({}), FaceOf(moved)};

  const std::vector<uint8_t> matte = FaceMatte(both, MatteArea::kFace, 0.05, 200);

  for (const Landmarks& face : both) {
    for (const Point3& p : face) EXPECT_EQ(At(matte, 200, p.x, p.y), 255);
  }
}

TEST(FaceMatteTest, FollowsALeaningHead) {
  FaceState leaning;
  leaning.pose.roll = 15;  // crown to the left
  const Landmarks face = FaceOf(leaning);

  const std::vector<uint8_t> matte = FaceMatte({&face, 1}, MatteArea::kHead, 0.05, 200);

  // The middle of what lies above the eyes, and of what lies below the mouth.
  const auto middle = [&](int from, int to) {
    double sum = 0, moment = 0;
    for (int y = from; y < to; ++y) {
      for (int x = 0; x < 200; ++x) {
        sum += matte[y * 200 + x];
        moment += matte[y * 200 + x] * (x + 0.5) / 200;
      }
    }
    return moment / sum;
  };
  EXPECT_LT(middle(20, 60), 0.47);
  EXPECT_GT(middle(140, 180), 0.51);
}

TEST(FaceMatteTest, TheBorderIsAsWideAsAsked) {
  for (const double border : {0.05, 0.2}) {
    const std::vector<float> samples =
        MatteDistance({}, MatteArea::kCrop, border, MatteWindow{}, 400);
    EXPECT_GT(samples[0], 1);  // nothing to end at

    std::vector<float> faded = samples;
    FadeAtSides({}, border, MatteWindow{}, 400, faded);
    int below = 0;
    for (int x = 0; x < 200; ++x) below += faded[200 * 400 + x] < 1 ? 1 : 0;
    EXPECT_NEAR(below / 400.0, border, 0.005);
  }
}

TEST(FaceMatteTest, OnlyFadingSidesFade) {
  std::vector<float> samples = MatteDistance({}, MatteArea::kCrop, 0.1, MatteWindow{}, 50);
  FadeAtSides({.left = false, .top = true, .right = true, .bottom = false}, 0.1, MatteWindow{}, 50,
              samples);

  EXPECT_GT(samples[25 * 50], 1);       // left
  EXPECT_LT(samples[25 * 50 + 49], 1);  // right
  EXPECT_LT(samples[25], 1);            // top
  EXPECT_GT(samples[49 * 50 + 25], 1);  // bottom
}

TEST(FaceMatteTest, AWindowIsAPartOfTheSquare) {
  const Landmarks face = FaceOf({});
  const std::vector<float> all = MatteDistance({&face, 1}, MatteArea::kHead, 0.1, {}, 100);
  const std::vector<float> part =
      MatteDistance({&face, 1}, MatteArea::kHead, 0.1, {0.5, 0.25, 1, 0.75}, 50);

  for (int y = 0; y < 50; ++y) {
    for (int x = 0; x < 50; ++x) {
      EXPECT_NEAR(part[y * 50 + x], all[(y + 25) * 100 + x + 50], 1e-4);
    }
  }
}

TEST(FaceMatteTest, FacesThatAreNoneGiveTheWholeSquare) {
  Landmarks face = FaceOf({});
  face[3].x = std::numeric_limits<float>::quiet_NaN();

  EXPECT_EQ(FaceMatte({&face, 1}, MatteArea::kHead, 0.1, 50),
            FaceMatte({}, MatteArea::kCrop, 0.1, 50));
  const Landmarks flat = {};  // all in one point
  for (const float value : MatteDistance({&flat, 1}, MatteArea::kHead, 0.1, {}, 50)) {
    EXPECT_FALSE(std::isnan(value));
  }
}

}  // namespace
}  // namespace reenact
