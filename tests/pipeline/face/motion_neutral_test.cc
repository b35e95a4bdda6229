#include "pipeline/face/motion_neutral.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "absl/status/status.h"
#include "pipeline/face/motion_regions.h"
#include "tests/pipeline/face/motion_testing.h"
#include "training/people/people.h"

namespace reenact {
namespace {

using testing::ExactLandmarks;
using testing::Moved;

constexpr double kFps = 25;

// Talks and looks around for four seconds, but is at rest for half a second in the middle.
std::vector<FaceState> ClipWithRest(uint64_t seed) {
  std::vector<FaceState> clip = MakeClip(seed, 100, kFps);
  for (size_t i = 0; i < clip.size(); ++i) {
    clip[i].pose.yaw += 20;
    clip[i].expression.jaw_drop = 0.3f + 0.2f * static_cast<float>(i % 3);
    if (i >= 50 && i < 62) {
      clip[i].pose = {};
      clip[i].expression = {};
    }
  }
  return clip;
}

double MeanDistance(const HeadShape& a, const HeadShape& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += Length(a[i] - b[i]);
  return sum / static_cast<double>(a.size());
}

TEST(FindNeutralFaceTest, TheFaceAtRestIsFoundWhereverItIs) {
  for (uint64_t seed = 0; seed < 8; ++seed) {
    const PersonRenderer person(MakePerson(seed));
    const Landmarks rest = ExactLandmarks(person, FaceState{});

    const auto neutral = FindNeutralFace(ExactLandmarks(person, ClipWithRest(seed)));

    ASSERT_TRUE(neutral.ok()) << neutral.status();
    EXPECT_LT(AngleOf(neutral->rotation) * 180 / 3.14159, 3);
    EXPECT_LT(MeanDistance(neutral->shape, ToHead(rest, *FitHeadPose(rest))), 0.03);  // cm
  }
}

TEST(FindNeutralFaceTest, EyesAreOpenAndMouthIsClosedInTalkingClips) {
  double opening = 0;
  for (uint64_t seed = 20; seed < 40; ++seed) {
    const PersonRenderer person(MakePerson(seed));
    const Landmarks rest = ExactLandmarks(person, FaceState{});

    const auto neutral = FindNeutralFace(ExactLandmarks(person, MakeClip(seed, 100, kFps)));

    ASSERT_TRUE(neutral.ok());
    const double usual = EyeOpening(ToHead(rest, *FitHeadPose(rest)), 0);
    EXPECT_GT(EyeOpening(neutral->shape, 0), 0.7 * usual) << seed;
    EXPECT_LT(MouthOpening(neutral->shape), 0.2) << seed;
    opening += MouthOpening(neutral->shape) / 20;
  }
  EXPECT_LT(opening, 0.06);
}

TEST(FindNeutralFaceTest, PlaceAndSizeAreTheUsualOnes) {
  const Landmarks face = ExactLandmarks(PersonRenderer(MakePerson(1)), FaceState{});
  std::vector<Landmarks> clip(10, Moved(face, 0.5, 0.3, 0.1));
  clip.insert(clip.begin(), face);  // the first frame is elsewhere and larger

  const auto neutral = FindNeutralFace(clip);

  ASSERT_TRUE(neutral.ok());
  const auto usual = FitHeadPose(clip.back());
  EXPECT_NEAR(neutral->scale / usual->scale, 1, 1e-6);
  EXPECT_LT(Length(neutral->place - usual->translation), 1e-6);
}

TEST(FindNeutralFaceTest, FramesWithoutAHeadAreLeftOut) {
  const Landmarks face = ExactLandmarks(PersonRenderer(MakePerson(1)), FaceState{});
  Landmarks nothing{}, broken = face;
  broken[7].y = std::numeric_limits<float>::quiet_NaN();

  const auto neutral = FindNeutralFace(std::vector<Landmarks>{nothing, broken, face});

  ASSERT_TRUE(neutral.ok());
  EXPECT_LT(MeanDistance(neutral->shape, ToHead(face, *FitHeadPose(face))), 1e-9);
  EXPECT_EQ(FindNeutralFace({}).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(FindNeutralFace(std::vector<Landmarks>{nothing, broken}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(NeutralTrackerTest, TheFirstFrameCounts) {
  const Landmarks face = ExactLandmarks(PersonRenderer(MakePerson(1)), MakeClip(4, 20, 25).back());
  NeutralTracker tracker;
  EXPECT_FALSE(tracker.has_neutral());
  tracker.Observe(Landmarks{}, 0);
  EXPECT_FALSE(tracker.has_neutral());

  tracker.Observe(face, 1);

  ASSERT_TRUE(tracker.has_neutral());
  const auto pose = FitHeadPose(face);
  EXPECT_LT(MeanDistance(tracker.neutral().shape, ToHead(face, *pose)), 1e-9);
  EXPECT_NEAR(tracker.neutral().scale, pose->scale, 1e-9);
}

TEST(NeutralTrackerTest, ComesToTheFaceAtRestWithoutJumps) {
  for (uint64_t seed = 0; seed < 8; ++seed) {
    const PersonRenderer person(MakePerson(seed));
    std::vector<FaceState> states = ClipWithRest(seed);
    const std::vector<FaceState> more = MakeClip(seed + 50, 150, kFps);
    states.insert(states.end(), more.begin(), more.end());
    const Landmarks rest = ExactLandmarks(person, FaceState{});
    const HeadShape shape = ToHead(rest, *FitHeadPose(rest));

    NeutralTracker tracker;
    NeutralFace before;
    double first = 0, step = 0, turn = 0;
    for (size_t i = 0; i < states.size(); ++i) {
      // A pause of ten seconds in the middle of it must not jump either.
      const double seconds = static_cast<double>(i) / kFps + (i > 55 ? 10 : 0);
      tracker.Observe(ExactLandmarks(person, states[i]), seconds);
      if (i == 0) {
        first = MeanDistance(tracker.neutral().shape, shape);
      } else {
        step = std::max(step, MeanDistance(tracker.neutral().shape, before.shape));
        turn = std::max(turn, AngleOf(before.rotation.Inverse() * tracker.neutral().rotation));
      }
      before = tracker.neutral();
    }

    EXPECT_LT(MeanDistance(before.shape, shape), 0.3 * first);
    EXPECT_LT(AngleOf(before.rotation) * 180 / 3.14159, 8);
    // cm a frame: below what landmarks tremble by. The pause counts as 0.1 s.
    EXPECT_LT(step, 0.06);
    EXPECT_LT(turn * 180 / 3.14159, 4);
  }
}

TEST(NeutralTrackerTest, TimesThatStandStillOrGoBackDoNoHarm) {
  const PersonRenderer person(MakePerson(1));
  NeutralTracker tracker;
  for (const double seconds : {5.0, 5.0, 4.0, 4.5, 6.0}) {
    tracker.Observe(ExactLandmarks(person, MakeClip(3, 50, 25)[static_cast<size_t>(seconds)]),
                    seconds);
    for (const Vector3& v : tracker.neutral().shape) ASSERT_TRUE(std::isfinite(Length(v)));
  }
}

}  // namespace
}  // namespace reenact
