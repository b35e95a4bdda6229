#include "pipeline/face/head_pose.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <vector>

#include "tests/pipeline/face/motion_testing.h"
#include "training/people/people.h"
#include "training/people/random.h"

namespace reenact {
namespace {

using testing::ExactLandmarks;
using testing::MaxDifference;
using testing::Moved;

TEST(HeadPoseTest, AnglesAndRotationsAreInverse) {
  for (const double yaw : {-60.0, 0.0, 35.0}) {
    for (const double pitch : {-40.0, 0.0, 20.0}) {
      for (const double roll : {-170.0, 0.0, 15.0}) {
        const HeadAngles angles = AnglesOf(RotationOf({yaw, pitch, roll}));

        EXPECT_NEAR(angles.yaw, yaw, 1e-9);
        EXPECT_NEAR(angles.pitch, pitch, 1e-9);
        EXPECT_NEAR(angles.roll, roll, 1e-9);
      }
    }
  }
}

TEST(HeadPoseTest, ScaledRotationsComposeAndGoTheShortWay) {
  const Quaternion q = RotationOf({30, -10, 50});
  const Quaternion negated{-q.w, -q.x, -q.y, -q.z};  // the same rotation

  EXPECT_LT(AngleOf((Scaled(q, 0.4) * Scaled(q, 0.6)).Inverse() * q), 1e-7);
  EXPECT_LT(AngleOf(Scaled(negated, 0.5).Inverse() * Scaled(q, 0.5)), 1e-7);
  EXPECT_NEAR(AngleOf(Scaled(q, 0)), 0, 1e-12);
  EXPECT_NEAR(AngleOf(Between(q, negated, 0.3).Inverse() * q), 0, 1e-7);
}

TEST(HeadPoseTest, TheCanonicalFaceIsFoundWhereItWasPut) {
  const HeadPose pose{RotationOf({25, -12, 8}), {0.4, 0.6, 0.1}, 0.03};

  const auto fit = FitHeadPose(ToPicture(CanonicalShape(), pose));

  ASSERT_TRUE(fit.has_value());
  EXPECT_LT(AngleOf(fit->rotation.Inverse() * pose.rotation), 1e-5);
  EXPECT_NEAR(fit->scale, pose.scale, 1e-7);
  EXPECT_LT(Length(fit->translation - pose.translation), 1e-6);
}

TEST(HeadPoseTest, PictureAndHeadAreInverse) {
  const Landmarks face = ExactLandmarks(PersonRenderer(MakePerson(3)), MakeClip(3, 30, 25).back());
  const auto pose = FitHeadPose(face);
  ASSERT_TRUE(pose.has_value());

  EXPECT_LT(MaxDifference(ToPicture(ToHead(face, *pose), *pose), face), 2e-7);
}

TEST(HeadPoseTest, PosesOfPeopleAreRight) {
  constexpr int kPeople = 60;
  double yaw = 0, pitch = 0, roll = 0, scale = 0;
  for (uint64_t seed = 0; seed < kPeople; ++seed) {
    const FaceState state = MakeClip(seed, 40, 25).back();
    const auto fit = FitHeadPose(ExactLandmarks(PersonRenderer(MakePerson(seed)), state));
    ASSERT_TRUE(fit.has_value());
    const HeadAngles angles = AnglesOf(fit->rotation);
    yaw += std::abs(angles.yaw - state.pose.yaw);
    pitch += std::abs(angles.pitch - state.pose.pitch);
    roll += std::abs(angles.roll - state.pose.roll);
    scale += std::abs(fit->scale / (0.58 / 17.7 * state.view.scale) - 1);
  }

  // Measured: 0.6, 0.4 and 0.2 degrees; the size is that of the person, who need not be average.
  std::printf("mean error of yaw %.2f, pitch %.2f, roll %.2f degrees, size %.1f %%\n",
              yaw / kPeople, pitch / kPeople, roll / kPeople, 100 * scale / kPeople);
  EXPECT_LT(yaw / kPeople, 1.2);
  EXPECT_LT(pitch / kPeople, 1.0);
  EXPECT_LT(roll / kPeople, 0.5);
  EXPECT_LT(scale / kPeople, 0.07);
}

TEST(HeadPoseTest, PlaceAndSizeInThePictureDoNotMatter) {
  const Landmarks face = ExactLandmarks(PersonRenderer(MakePerson(5)), MakeClip(5, 30, 25).back());
  const auto here = FitHeadPose(face), there = FitHeadPose(Moved(face, 0.2, 3, -2));
  ASSERT_TRUE(here.has_value() && there.has_value());

  EXPECT_LT(AngleOf(here->rotation.Inverse() * there->rotation), 1e-4);
  EXPECT_NEAR(there->scale / here->scale, 0.2, 1e-5);
}

TEST(HeadPoseTest, ExpressionsBarelyTurnTheHead) {
  const PersonRenderer person(MakePerson(9));
  const auto rest = FitHeadPose(ExactLandmarks(person, FaceState{}));
  ASSERT_TRUE(rest.has_value());
  FaceState shouting, surprised, smiling;
  shouting.expression.jaw_drop = 1;
  surprised.expression.brow_inner = surprised.expression.brow_outer = 1;
  smiling.expression.smile = smiling.expression.cheek_raise = 1;

  for (const FaceState& state : {shouting, surprised, smiling}) {
    const auto fit = FitHeadPose(ExactLandmarks(person, state));
    ASSERT_TRUE(fit.has_value());
    EXPECT_LT(AngleOf(rest->rotation.Inverse() * fit->rotation) * 180 / 3.14159, 1.0);
    EXPECT_NEAR(fit->scale / rest->scale, 1, 0.01);
  }
}

TEST(HeadPoseTest, APointGoneAstrayBarelyTurnsTheHead) {
  const Landmarks face = ExactLandmarks(PersonRenderer(MakePerson(9)), FaceState{});
  Landmarks wrong = face;
  wrong[454].x += 0.2f;  // a temple, by a third of the face's width
  const auto right = FitHeadPose(face), fit = FitHeadPose(wrong);
  ASSERT_TRUE(right.has_value() && fit.has_value());

  EXPECT_LT(AngleOf(right->rotation.Inverse() * fit->rotation) * 180 / 3.14159, 0.3);
}

TEST(HeadPoseTest, WhatIsNoFaceHasNoPose) {
  const Landmarks face = ExactLandmarks(PersonRenderer(MakePerson(9)), FaceState{});
  std::vector<Landmarks> bad(9, face);
  bad[0].fill({0.5f, 0.5f, 0});
  for (size_t i = 0; i < face.size(); ++i) bad[1][i] = {static_cast<float>(i) / 478, 0.5f, 0};
  bad[2][100].x = std::numeric_limits<float>::quiet_NaN();
  bad[3][100].z = std::numeric_limits<float>::infinity();
  for (size_t i = 0; i < face.size(); ++i) bad[4][i].x = 1 - face[i].x;  // mirrored
  Random random(1);
  for (Point3& p : bad[5]) p = {random.Uniform(), random.Uniform(), random.Uniform()};
  bad[6].fill({0, 0, 0});
  bad[7].fill({std::numeric_limits<float>::max(), 0, 0});
  for (Point3& p : bad[8]) p.x = 0.5f;  // seen from the side, without any depth

  for (size_t i = 0; i < bad.size(); ++i) EXPECT_FALSE(FitHeadPose(bad[i]).has_value()) << i;
}

TEST(HeadPoseTest, HugeAndTinyFacesHavePoses) {
  const Landmarks face = ExactLandmarks(PersonRenderer(MakePerson(9)), FaceState{});
  for (const double scale : {1e-20, 1e20}) {
    const auto fit = FitHeadPose(Moved(face, scale, 0, 0));
    ASSERT_TRUE(fit.has_value()) << scale;
    EXPECT_TRUE(std::isfinite(fit->scale) && std::isfinite(Length(fit->translation)));
  }
}

}  // namespace
}  // namespace reenact
