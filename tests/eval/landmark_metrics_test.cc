#include "eval/landmark_metrics.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <set>

namespace reenact {
namespace {

// Eye centres 0.2 apart in x; all other points at 0.
Landmarks Face() {
  Landmarks face{};
  face[33].x = 0.35f, face[133].x = 0.45f;   // centre 0.4
  face[362].x = 0.55f, face[263].x = 0.65f;  // centre 0.6
  for (const size_t i : {33u, 133u, 362u, 263u}) face[i].y = 0.4f;
  return face;
}

Landmarks Moved(Landmarks face, float x, float y, float z = 0) {
  for (Point3& point : face) point.x += x, point.y += y, point.z += z;
  return face;
}

TEST(LandmarkMetricsTest, TheEyesDistanceIsThatOfTheirCentres) {
  EXPECT_NEAR(InterOcularDistance(Face()), 0.2, 1e-6);
  Landmarks turned = Face();
  turned[263].z = turned[362].z = 0.15f;
  EXPECT_NEAR(InterOcularDistance(turned), 0.25, 1e-6);
}

TEST(LandmarkMetricsTest, LmseIsTheMeanSquareOfACoordinate) {
  // Every x off by 3/256: a third of the coordinates off by 3 pixels of 256.
  const Landmarks face = Face(), moved = Moved(face, 3 / 256.0f, 0);

  EXPECT_NEAR(Lmse(face, moved) * 256 * 256, 3, 1e-4);
  EXPECT_NEAR(ExpressiveLmse(face, moved) * 256 * 256, 3, 1e-4);
  EXPECT_DOUBLE_EQ(Lmse(face, face), 0);
}

TEST(LandmarkMetricsTest, ExpressiveLmseSeesEyesAndMouthOnly) {
  Landmarks nose = Face();
  nose[1].x += 0.1f;
  Landmarks lip = Face();
  lip[13].y += 0.1f;

  EXPECT_DOUBLE_EQ(ExpressiveLmse(Face(), nose), 0);
  EXPECT_GT(Lmse(Face(), nose), 0);
  EXPECT_NEAR(ExpressiveLmse(Face(), lip), 0.01 / (3 * 82), 1e-7);
}

TEST(LandmarkMetricsTest, ExpressivePointsAreDistinct) {
  const std::set<int> points(ExpressivePoints().begin(), ExpressivePoints().end());

  EXPECT_EQ(points.size(), 82u);  // 16 lids twice, 40 lip points, 10 of the irises
  EXPECT_EQ(ExpressivePoints().size(), 82u);
}

TEST(LandmarkMetricsTest, TheErrorIsAShareOfTheEyesDistance) {
  // 3-4-5: every point 0.05 off, a quarter of 0.2; depth does not count.
  EXPECT_NEAR(LandmarkError(Face(), Moved(Face(), 0.03f, 0.04f, 0.5f)), 0.25, 1e-5);
}

TEST(LandmarkMetricsTest, OpeningsAreSharesOfTheEyesDistance) {
  Landmarks face = Face();
  face[13].y = 0.7f;
  face[14].y = 0.75f;
  face[159].y = 0.39f;
  face[145].y = 0.41f;  // 0.02
  face[386].y = 0.38f;
  face[374].y = 0.42f;  // 0.04

  EXPECT_NEAR(MouthGap(face), 0.25, 1e-5);
  EXPECT_NEAR(EyeOpening(face), 0.15, 1e-5);
}

TEST(LandmarkMetricsTest, GazeIsWhereTheIrisesAreInTheirEyes) {
  Landmarks face = Face();
  face[33] = {0.2f, 0.4f, 0};
  face[133] = {0.3f, 0.4f, 0};
  face[468] = {0.225f, 0.43f, 0};  // a quarter, looking down
  face[362] = {0.6f, 0.4f, 0};     // an eye of a tilted head
  face[263] = {0.68f, 0.46f, 0};
  face[473] = {0.66f, 0.445f, 0};  // three quarters

  EXPECT_NEAR(GazeX(face), 0.5, 1e-5);
}

TEST(JitterTest, SteadyMotionHasNone) {
  std::vector<std::optional<Landmarks>> frames;
  for (int i = 0; i < 5; ++i) frames.emplace_back(Moved(Face(), 0.01f * static_cast<float>(i), 0));

  EXPECT_NEAR(*Jitter(frames), 0, 1e-5);
}

TEST(JitterTest, CountsTheSecondDifference) {
  // 0, 0.01, 0: the second difference is 0.02, a tenth of the eyes' distance.
  const std::vector<std::optional<Landmarks>> frames = {Face(), Moved(Face(), 0.01f, 0), Face()};

  EXPECT_NEAR(*Jitter(frames), 0.1, 1e-5);
}

TEST(JitterTest, LeavesOutFramesWithoutAFace) {
  const std::optional<Landmarks> none;
  EXPECT_FALSE(Jitter({Face(), none, Face(), Face()}).has_value());
  EXPECT_FALSE(Jitter({Face(), Face()}).has_value());
  EXPECT_NEAR(*Jitter({none, Face(), Face(), Face(), none}), 0, 1e-9);
}

}  // namespace
}  // namespace reenact
