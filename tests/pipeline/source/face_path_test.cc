#include "pipeline/source/face_path.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <optional>

#include "pipeline/face/head_pose.h"

namespace reenact {
namespace {

constexpr int kWidth = 640, kHeight = 360;
constexpr double kStep = 0.04;  // seconds
constexpr CropBox kBox = {320, 180, 200};

// A head at (x, y) pixels, `size` pixels per cm, turned clockwise by `turn` radians, looking aside
// by `yaw` degrees; in units of the picture.
Landmarks Head(double x, double y, double size, double turn, double yaw = 0) {
  HeadPose pose;
  pose.rotation = RotationOf({.yaw = yaw, .pitch = 0, .roll = -turn * 180 / std::numbers::pi});
  pose.scale = size / kWidth;
  pose.translation = {x / kWidth, (y - kHeight / 2.0) / kWidth + 0.5, 0};
  Landmarks face = ToPicture(CanonicalShape(), pose);
  for (Point3& p : face) {
    p.y = static_cast<float>((kHeight / 2.0 + (p.y - 0.5) * kWidth) / kHeight);
  }
  return face;
}

void ExpectPlace(const FacePath& path, int frame, double x, double y, double side, double turn,
                 double tolerance) {
  const auto place = path.place(frame);
  ASSERT_TRUE(place.has_value()) << frame;
  EXPECT_NEAR(place->box.center_x, x, tolerance) << frame;
  EXPECT_NEAR(place->box.center_y, y, tolerance) << frame;
  EXPECT_NEAR(place->box.side, side, tolerance) << frame;
  EXPECT_NEAR(place->turn, turn, tolerance / 100) << frame;
}

TEST(FacePathTest, TheSquareFollowsPlaceSizeAndTurn) {
  FacePath path(kWidth, kHeight);
  constexpr int kFrames = 40, kReference = 20;
  // The square's middle is 10 pixels right of and 6 below the head's, in the reference.
  const auto x = [](int i) { return 310 + 2.0 * (i - kReference); };
  const auto y = [](int i) { return 174 - 1.0 * (i - kReference); };
  const auto size = [](int i) { return 8 * std::exp(0.01 * (i - kReference)); };
  const auto turn = [](int i) { return 0.02 * (i - kReference); };
  for (int i = 0; i < kFrames; ++i) {
    path.Add(Head(x(i), y(i), size(i), turn(i)), false, kStep * i);
  }
  path.Settle(kReference, kBox);
  for (int i = 5; i < kFrames - 5; ++i) {
    const double grown = size(i) / size(kReference);
    const double c = std::cos(turn(i)), s = std::sin(turn(i));
    ExpectPlace(path, i, x(i) + grown * (10 * c - 6 * s), y(i) + grown * (10 * s + 6 * c),
                200 * grown, turn(i), 1.5);
  }
  ExpectPlace(path, kReference, 320, 180, 200, 0, 0.01);
  EXPECT_EQ(path.num_guessed(), 0);
  EXPECT_EQ(path.num_without(), 0);
}

TEST(FacePathTest, AHeadThatTurnsAwayStaysInItsSquare) {
  FacePath path(kWidth, kHeight);
  for (int i = 0; i < 30; ++i) path.Add(Head(320, 180, 8, 0, i), false, kStep * i);
  path.Settle(0, kBox);
  for (int i = 0; i < 30; ++i) ExpectPlace(path, i, 320, 180, 200, 0, 4);
}

TEST(FacePathTest, LandmarksAreInUnitsOfTheSquare) {
  FacePath path(kWidth, kHeight);
  for (int i = 0; i < 20; ++i) {
    path.Add(Head(300 + i, 170, 8, 0.01 * i), false, kStep * i);
  }
  path.Settle(0, kBox);
  const Landmarks first = ToCrop(Head(300, 170, 8, 0), kBox, kWidth, kHeight);
  for (const int frame : {0, 10, 19}) {
    const Landmarks face = path.landmarks(frame);
    for (const int point : {1, 33, 152, 263}) {
      EXPECT_NEAR(face[point].x, first[point].x, 0.01) << frame;
      EXPECT_NEAR(face[point].y, first[point].y, 0.01) << frame;
    }
  }
}

TEST(FacePathTest, ATremblingFaceRests) {
  FacePath path(kWidth, kHeight);
  for (int i = 0; i < 60; ++i) {
    path.Add(Head(320 + (i % 2 == 0 ? 0.3 : -0.3), 180, 8, 0), false, kStep * i);
  }
  path.Settle(30, kBox);
  double sum = 0;
  for (int i = 11; i < 50; ++i) {
    sum += std::abs(path.place(i)->box.center_x - path.place(i - 1)->box.center_x);
  }
  EXPECT_LT(sum / 39, 0.2) << "0.6 before";
}

TEST(FacePathTest, AStepDoesNotLag) {
  FacePath path(kWidth, kHeight);
  for (int i = 0; i < 60; ++i) {
    const double share = std::clamp((i - 28) / 4.0, 0.0, 1.0);
    path.Add(Head(300 + 40 * share, 180, 8, 0), false, kStep * i);
  }
  path.Settle(0, kBox);
  // Half way where the head is half way.
  EXPECT_NEAR(path.place(30)->box.center_x - path.place(5)->box.center_x, 20, 3);
}

TEST(FacePathTest, AFaceThatIsNotSeenIsBetweenItsNeighbours) {
  FacePath path(kWidth, kHeight);
  for (int i = 0; i < 30; ++i) {
    const bool seen = i >= 3 && (i < 12 || i >= 16) && i < 27;
    path.Add(seen ? std::optional(Head(300 + i, 180, 8, 0)) : std::nullopt, false, kStep * i);
  }
  path.Settle(3, {303, 180, 200});
  for (const int i : {12, 13, 14, 15}) ExpectPlace(path, i, 300 + i, 180, 200, 0, 1);
  ExpectPlace(path, 0, 303, 180, 200, 0, 2);
  ExpectPlace(path, 29, 326, 180, 200, 0, 2);
  EXPECT_EQ(path.num_guessed(), 3 + 4 + 3);
  EXPECT_EQ(path.landmarks(0)[1].x, path.landmarks(3)[1].x);
}

TEST(FacePathTest, ASceneWithoutTheFaceHasNoPlaceAndScenesDoNotMix) {
  FacePath path(kWidth, kHeight);
  for (int i = 0; i < 30; ++i) {
    const int scene = i / 10;
    path.Add(scene == 1 ? std::nullopt : std::optional(Head(scene == 0 ? 200 : 400, 180, 8, 0)),
             i % 10 == 0, kStep * i);
  }
  path.Settle(0, {200, 180, 200});
  for (int i = 0; i < 30; ++i) {
    if (i / 10 == 1) {
      EXPECT_FALSE(path.place(i).has_value());
    } else {
      ExpectPlace(path, i, i < 10 ? 200 : 400, 180, 200, 0, 0.5);
    }
  }
  EXPECT_EQ(path.num_without(), 10);
  EXPECT_EQ(path.num_guessed(), 0);
  EXPECT_NE(path.scene(9), path.scene(10));
  EXPECT_EQ(path.scene(10), path.scene(19));
}

TEST(FacePathTest, WhatIsNoHeadIsNotFollowed) {
  FacePath path(kWidth, kHeight);
  Landmarks flat = Head(320, 180, 8, 0);
  for (Point3& p : flat) p.x = 0.5f;
  path.Add(flat, false, 0);
  path.Add(Head(320, 180, 8, 0), true, kStep);
  path.Settle(0, kBox);
  EXPECT_FALSE(path.place(0).has_value());
  EXPECT_FALSE(path.place(1).has_value()) << "nobody knows where its square is";
  EXPECT_EQ(path.num_without(), 2);
}

}  // namespace
}  // namespace reenact
