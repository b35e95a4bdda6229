#include "pipeline/face/motion_transfer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "pipeline/face/motion_regions.h"
#include "tests/pipeline/face/motion_testing.h"
#include "training/people/people.h"
#include "training/people/random.h"

namespace reenact {
namespace {

using testing::Correlation;
using testing::ExactLandmarks;
using testing::EyeDistance;
using ::testing::HasSubstr;
using testing::MaxDifference;
using testing::Moved;
using testing::ShapeDifference;

constexpr double kFps = 25;

HeadShape ShapeOf(const Landmarks& face) { return ToHead(face, *FitHeadPose(face)); }

MotionTransfer TransferTo(const Landmarks& source, const MotionOptions& options = {}) {
  auto transfer = MotionTransfer::Create(source, options);
  EXPECT_TRUE(transfer.ok()) << transfer.status();
  return *std::move(transfer);
}

std::vector<Landmarks> TransferAll(const MotionTransfer& transfer,
                                   const std::vector<Landmarks>& clip) {
  const auto neutral = FindNeutralFace(clip);
  EXPECT_TRUE(neutral.ok()) << neutral.status();
  std::vector<Landmarks> out;
  for (const Landmarks& frame : clip) out.push_back(transfer.Transfer(frame, *neutral));
  return out;
}

Person WithWidth(uint64_t seed, float width) {
  Person person = MakePerson(seed);
  person.shape.face_width = person.shape.jaw_width = width;
  return person;
}

// The driver's face at rest as it would be in a picture of its own.
Landmarks FrameOf(const NeutralFace& neutral) {
  return ToPicture(neutral.shape, {neutral.rotation, neutral.place, neutral.scale});
}

struct Leak {
  double absolute = 0, relative = 0, worst = 0;
};

// What remains of the driver's shape: the distance between the output and the source person making
// the driver's face in the output's pose, which is what a perfect transfer gives.
Leak LeakOf(float driver_width, bool source_at_rest) {
  constexpr uint64_t kPairs = 8;
  Leak leak;
  for (uint64_t pair = 0; pair < kPairs; ++pair) {
    const PersonRenderer driver(WithWidth(1000 + pair, driver_width)),
        source(WithWidth(2000 + pair, -driver_width));
    const std::vector<FaceState> states = MakeClip(50 + pair, 100, kFps);
    const FaceState source_state =
        source_at_rest ? FaceState{} : MakeClip(900 + pair, 60, kFps).back();
    const std::vector<Landmarks> clip = ExactLandmarks(driver, states);
    const std::vector<Landmarks> out =
        TransferAll(TransferTo(ExactLandmarks(source, source_state)), clip);
    double absolute = 0, relative = 0;
    for (size_t i = 0; i < states.size(); i += 4) {
      absolute += ShapeDifference(clip[i], ExactLandmarks(source, states[i]));
      FaceState truth = states[i];
      const HeadAngles angles = AnglesOf(FitHeadPose(out[i])->rotation);
      truth.pose = {static_cast<float>(angles.yaw), static_cast<float>(angles.pitch),
                    static_cast<float>(angles.roll)};
      truth.view = source_state.view;
      relative += ShapeDifference(out[i], ExactLandmarks(source, truth));
    }
    leak.worst = std::max(leak.worst, relative / absolute);
    leak.absolute += absolute / 25 / kPairs;
    leak.relative += relative / 25 / kPairs;
  }
  return leak;
}

TEST(MotionTransferTest, LittleOfTheDriversShapeComesThrough) {
  for (const auto& [name, width] :
       {std::pair{"wide drives narrow", 1.0f}, std::pair{"narrow drives wide", -1.0f}}) {
    for (const bool at_rest : {true, false}) {
      const Leak leak = LeakOf(width, at_rest);

      // Measured: 0.14 of the leak remains from sources at rest, 0.23 from sources caught in the
      // middle of a sentence.
      std::printf("%s, source %s: leak %.4f absolute, %.4f relative (%.2f, worst pair %.2f)\n",
                  name, at_rest ? "at rest" : "talking", leak.absolute, leak.relative,
                  leak.relative / leak.absolute, leak.worst);
      EXPECT_LT(leak.relative, (at_rest ? 0.25 : 0.45) * leak.absolute);
      EXPECT_LT(leak.worst, at_rest ? 0.4 : 0.6);
    }
  }
}

TEST(MotionTransferTest, LiveMotionBecomesAsGoodWithoutJumps) {
  constexpr uint64_t kPairs = 8;
  double first_absolute = 0, first_relative = 0, later_absolute = 0, later_relative = 0;
  double worst_step = 0;
  for (uint64_t pair = 0; pair < kPairs; ++pair) {
    const PersonRenderer driver(WithWidth(1000 + pair, 1)), source(WithWidth(2000 + pair, -1));
    const std::vector<FaceState> states = MakeClip(70 + pair, 150, kFps);
    const MotionTransfer transfer = TransferTo(ExactLandmarks(source, FaceState{}));
    NeutralTracker tracker;
    for (size_t i = 0; i < states.size(); ++i) {
      const Landmarks frame = ExactLandmarks(driver, states[i]);
      std::optional<NeutralFace> before;
      if (tracker.has_neutral()) before = tracker.neutral();
      tracker.Observe(frame, static_cast<double>(i) / kFps);
      const Landmarks out = transfer.Transfer(frame, tracker.neutral());
      if (before.has_value()) {
        // What a better face at rest alone changes in the picture.
        worst_step = std::max(worst_step, MaxDifference(out, transfer.Transfer(frame, *before)));
      }
      if (i % 5 != 0) continue;
      FaceState truth = states[i];
      const HeadAngles angles = AnglesOf(FitHeadPose(out)->rotation);
      truth.pose = {static_cast<float>(angles.yaw), static_cast<float>(angles.pitch),
                    static_cast<float>(angles.roll)};
      truth.view = {};
      (i < 25 ? first_absolute : later_absolute) +=
          ShapeDifference(frame, ExactLandmarks(source, states[i]));
      (i < 25 ? first_relative : later_relative) +=
          ShapeDifference(out, ExactLandmarks(source, truth));
    }
  }

  std::printf(
      "live: %.2f of the leak remains in the first second, %.2f later; largest step %.4f of "
      "the crop\n",
      first_relative / first_absolute, later_relative / later_absolute, worst_step);
  EXPECT_LT(first_relative, 0.4 * first_absolute);
  EXPECT_LT(later_relative, 0.25 * later_absolute);
  EXPECT_LT(worst_step, 0.008);
}

TEST(MotionTransferTest, ExpressionAndPoseFollowTheDriver) {
  Correlation mouth, blink, yaw, pitch, roll, gaze, smile, brows;
  for (uint64_t pair = 0; pair < 12; ++pair) {
    const PersonRenderer driver(MakePerson(300 + pair)), source(MakePerson(400 + pair));
    const std::vector<Landmarks> clip = ExactLandmarks(driver, MakeClip(pair, 100, kFps));
    const Landmarks source_face = ExactLandmarks(source, MakeClip(800 + pair, 30, kFps).back());

    const std::vector<Landmarks> out = TransferAll(TransferTo(source_face), clip);

    const auto follow = [&](Correlation& correlation, auto value) {
      std::vector<double> driver_values, out_values;
      double driver_mean = 0, out_mean = 0;
      for (size_t i = 0; i < clip.size(); i += 3) {
        driver_values.push_back(value(clip[i]));
        out_values.push_back(value(out[i]));
        driver_mean += driver_values.back();
        out_mean += out_values.back();
      }
      // Each pair has its own zero.
      const auto count = static_cast<double>(driver_values.size());
      for (size_t i = 0; i < driver_values.size(); ++i) {
        correlation.Add(driver_values[i] - driver_mean / count, out_values[i] - out_mean / count);
      }
    };
    follow(mouth, [](const Landmarks& f) { return MouthOpening(ShapeOf(f)); });
    follow(blink, [](const Landmarks& f) { return EyeOpening(ShapeOf(f), 0); });
    follow(yaw, [](const Landmarks& f) { return AnglesOf(FitHeadPose(f)->rotation).yaw; });
    follow(pitch, [](const Landmarks& f) { return AnglesOf(FitHeadPose(f)->rotation).pitch; });
    follow(roll, [](const Landmarks& f) { return AnglesOf(FitHeadPose(f)->rotation).roll; });
    follow(smile, [](const Landmarks& f) { return CornerLift(ShapeOf(f)); });
    follow(gaze, [](const Landmarks& f) {
      const HeadShape shape = ShapeOf(f);
      return shape[468].x - (shape[33].x + shape[133].x) / 2;
    });
    follow(brows, [](const Landmarks& f) { return ShapeOf(f)[105].y; });
  }

  struct Row {
    const char* name;
    const Correlation& value;
    double least;
  };
  for (const Row& row :
       {Row{"mouth", mouth, 0.95}, Row{"blink", blink, 0.95}, Row{"yaw", yaw, 0.98},
        Row{"pitch", pitch, 0.95}, Row{"roll", roll, 0.9}, Row{"smile", smile, 0.9},
        Row{"gaze", gaze, 0.95}, Row{"brows", brows, 0.95}}) {
    std::printf("%s: correlation %.3f, slope %.2f\n", row.name, row.value.Value(),
                row.value.Slope());
    EXPECT_GT(row.value.Value(), row.least) << row.name;
    EXPECT_GT(row.value.Slope(), 0.7) << row.name;
    EXPECT_LT(row.value.Slope(), 1.4) << row.name;
  }
}

TEST(MotionTransferTest, AFaceDrivenByItselfStaysAsItIs) {
  for (uint64_t seed = 0; seed < 6; ++seed) {
    const std::vector<Landmarks> clip =
        ExactLandmarks(PersonRenderer(MakePerson(seed)), MakeClip(seed, 60, kFps));
    const auto neutral = FindNeutralFace(clip);
    ASSERT_TRUE(neutral.ok());
    const MotionTransfer transfer = TransferTo(FrameOf(*neutral));

    for (const Landmarks& frame : clip) {
      ASSERT_LT(MaxDifference(transfer.Transfer(frame, *neutral), frame), 5e-5);
    }
  }
}

TEST(MotionTransferTest, AnyFrameOfTheDriverMayBeTheSource) {
  double error = 0;
  constexpr uint64_t kPeople = 20;
  for (uint64_t seed = 0; seed < kPeople; ++seed) {
    const PersonRenderer person(MakePerson(seed));
    const std::vector<FaceState> states = MakeClip(seed, 60, kFps);
    const std::vector<Landmarks> clip = ExactLandmarks(person, states);
    const std::vector<Landmarks> out = TransferAll(TransferTo(clip.front()), clip);
    for (size_t i = 0; i < clip.size(); i += 5) {
      FaceState truth = states[i];
      const HeadAngles angles = AnglesOf(FitHeadPose(out[i])->rotation);
      truth.pose = {static_cast<float>(angles.yaw), static_cast<float>(angles.pitch),
                    static_cast<float>(angles.roll)};
      error += ShapeDifference(out[i], ExactLandmarks(person, truth)) / 12 / kPeople;
    }
  }

  // What cannot be known from one frame is how the person looks at rest. Two people differ by 0.04.
  std::printf(
      "driven by oneself from the first frame: shape differs by %.4f of the eyes' distance\n",
      error);
  EXPECT_LT(error, 0.015);
}

TEST(MotionTransferTest, TheDriversPlaceAndSizeDoNotMatter) {
  const Landmarks source = ExactLandmarks(PersonRenderer(MakePerson(1)), FaceState{});
  const std::vector<Landmarks> clip =
      ExactLandmarks(PersonRenderer(MakePerson(2)), MakeClip(2, 40, kFps));
  std::vector<Landmarks> elsewhere;
  for (const Landmarks& frame : clip) elsewhere.push_back(Moved(frame, 0.25, 0.7, -0.1));
  const MotionTransfer transfer = TransferTo(source);

  const std::vector<Landmarks> here = TransferAll(transfer, clip),
                               there = TransferAll(transfer, elsewhere);

  for (size_t i = 0; i < clip.size(); ++i) ASSERT_LT(MaxDifference(here[i], there[i]), 2e-5);
}

TEST(MotionTransferTest, TheResultStaysAtTheSourcesPlaceAndSize) {
  FaceState state;
  state.view = {0.1f, -0.05f, 0.8f};
  const Landmarks source = ExactLandmarks(PersonRenderer(MakePerson(1)), state);
  std::vector<FaceState> states = MakeClip(2, 40, kFps);
  for (FaceState& s : states) s.view = {-0.1f, 0.1f, 1.2f};
  const HeadPose there = *FitHeadPose(source);

  for (const Landmarks& out :
       TransferAll(TransferTo(source), ExactLandmarks(PersonRenderer(MakePerson(2)), states))) {
    const HeadPose pose = *FitHeadPose(out);
    EXPECT_NEAR(pose.scale / there.scale, 1, 0.05);
    EXPECT_LT(Length(pose.translation - there.translation), 0.05);
  }
}

TEST(MotionTransferTest, MovesOfTheHeadAreInHeads) {
  // The driver is half as large in his picture as the source, so he moves half as far.
  const PersonRenderer driver(MakePerson(2));
  const Landmarks source = ExactLandmarks(PersonRenderer(MakePerson(1)), FaceState{});
  const Landmarks face = Moved(ExactLandmarks(driver, FaceState{}), 0.5, 0, 0);
  std::vector<Landmarks> clip(5, face);
  clip.push_back(Moved(face, 1, 0.05, 0.02));
  clip.push_back(Moved(face, 1.2, 0, 0));
  const auto neutral = FindNeutralFace(clip);
  ASSERT_TRUE(neutral.ok());
  const MotionTransfer transfer = TransferTo(source);
  const HeadPose before = *FitHeadPose(transfer.Transfer(face, *neutral));

  const HeadPose moved = *FitHeadPose(transfer.Transfer(clip[5], *neutral)),
                 grown = *FitHeadPose(transfer.Transfer(clip[6], *neutral));

  const double larger = FitHeadPose(source)->scale / FitHeadPose(face)->scale;
  EXPECT_NEAR(moved.translation.x - before.translation.x, 0.05 * larger, 1e-4);
  EXPECT_NEAR(moved.translation.y - before.translation.y, 0.02 * larger, 1e-4);
  EXPECT_NEAR(moved.scale / before.scale, 1, 1e-4);
  EXPECT_NEAR(grown.scale / before.scale, 1.2, 1e-3);
}

class MotionScaleTest : public ::testing::Test {
 protected:
  // A source with open mouth, turned head and a look aside; a driver who does it all.
  MotionScaleTest() {
    FaceState state;
    state.pose = {12, -5, 6};
    state.expression.jaw_drop = 0.4f;
    state.expression.smile = 0.6f;
    state.expression.gaze_x = 0.4f;
    source_ = ExactLandmarks(PersonRenderer(MakePerson(11)), state);
    clip_ = ExactLandmarks(PersonRenderer(MakePerson(12)), MakeClip(12, 60, kFps));
    neutral_ = *FindNeutralFace(clip_);
  }

  std::vector<Landmarks> With(const MotionOptions& options) const {
    const MotionTransfer transfer = TransferTo(source_, options);
    std::vector<Landmarks> out;
    for (const Landmarks& frame : clip_) out.push_back(transfer.Transfer(frame, neutral_));
    return out;
  }

  // Both in the source's own pose, so that only faces are compared: cm.
  double FaceDistance(const Landmarks& a, const Landmarks& b, size_t first, size_t last) const {
    const HeadShape x = ToHead(a, *FitHeadPose(a)), y = ToHead(b, *FitHeadPose(b));
    double max = 0;
    for (size_t i = first; i < last; ++i) max = std::max(max, Length(x[i] - y[i]));
    return max;
  }

  Landmarks source_;
  std::vector<Landmarks> clip_;
  NeutralFace neutral_;
};

TEST_F(MotionScaleTest, NoStrengthGivesTheSourceItself) {
  for (const Landmarks& out : With({.strength = 0})) ASSERT_LT(MaxDifference(out, source_), 1e-6);
  for (const Landmarks& out : With({.pose = 0, .mouth = 0, .eyes = 0, .gaze = 0})) {
    ASSERT_LT(MaxDifference(out, source_), 1e-6);
  }
}

TEST_F(MotionScaleTest, StrengthMultipliesTheParts) {
  const std::vector<Landmarks> together = With({.strength = 0.5}),
                               apart = With({.pose = 0.5, .mouth = 0.5, .eyes = 0.5, .gaze = 0.5});
  for (size_t i = 0; i < clip_.size(); ++i) ASSERT_LT(MaxDifference(together[i], apart[i]), 1e-6);
}

TEST_F(MotionScaleTest, MotionGrowsInProportion) {
  const std::vector<Landmarks> whole = With({}), half = With({.strength = 0.5});
  double whole_turn = 0, half_turn = 0;
  const Quaternion source = FitHeadPose(source_)->rotation;
  for (size_t i = 0; i < clip_.size(); ++i) {
    whole_turn += AngleOf(source.Inverse() * FitHeadPose(whole[i])->rotation);
    half_turn += AngleOf(source.Inverse() * FitHeadPose(half[i])->rotation);
  }
  EXPECT_NEAR(half_turn / whole_turn, 0.5, 0.05);
}

TEST_F(MotionScaleTest, EachPartIsSwitchedOffAlone) {
  const std::vector<Landmarks> all = With({});

  const std::vector<Landmarks> no_pose = With({.pose = 0});
  for (size_t i = 0; i < clip_.size(); ++i) {
    // Where the expression pulls at the fit, the angle moves a little.
    const HeadPose was = *FitHeadPose(source_), is = *FitHeadPose(no_pose[i]);
    EXPECT_LT(AngleOf(was.rotation.Inverse() * is.rotation), 0.03);
    EXPECT_NEAR(MouthOpening(ShapeOf(no_pose[i])), MouthOpening(ShapeOf(all[i])), 0.01);
  }

  double mouth_moved = 0, gaze_moved = 0;
  const std::vector<Landmarks> no_mouth = With({.mouth = 0}), no_eyes = With({.eyes = 0}),
                               no_gaze = With({.gaze = 0});
  for (size_t i = 0; i < clip_.size(); ++i) {
    EXPECT_NEAR(MouthOpening(ShapeOf(no_mouth[i])), MouthOpening(ShapeOf(source_)), 0.01);
    EXPECT_NEAR(EyeOpening(ShapeOf(no_mouth[i]), 0), EyeOpening(ShapeOf(all[i]), 0), 0.01);
    EXPECT_NEAR(EyeOpening(ShapeOf(no_eyes[i]), 1), EyeOpening(ShapeOf(source_), 1), 0.01);
    EXPECT_NEAR(MouthOpening(ShapeOf(no_eyes[i])), MouthOpening(ShapeOf(all[i])), 0.02);
    EXPECT_LT(FaceDistance(no_gaze[i], all[i], 0, 468), 1e-4);
    gaze_moved = std::max(gaze_moved, FaceDistance(no_gaze[i], all[i], 468, 478));
    mouth_moved = std::max(mouth_moved, FaceDistance(no_mouth[i], all[i], 0, 468));
  }
  EXPECT_GT(gaze_moved, 0.1);
  EXPECT_GT(mouth_moved, 0.5);
}

TEST_F(MotionScaleTest, TheSourcesExpressionIsKeptIfAskedFor) {
  const Landmarks neutral_frame = FrameOf(neutral_);

  const Landmarks closed = TransferTo(source_).Transfer(neutral_frame, neutral_),
                  kept = TransferTo(source_, {.source_expression = 1})
                             .Transfer(neutral_frame, neutral_);

  EXPECT_LT(MouthOpening(ShapeOf(closed)), 0.05);
  EXPECT_NEAR(MouthOpening(ShapeOf(kept)), MouthOpening(ShapeOf(source_)), 0.05);
}

TEST_F(MotionScaleTest, EverythingInRangeIsFinite) {
  for (const double strength : {0.0, 1.0, 1.5}) {
    for (const double part : {0.0, 2.0}) {
      for (const double kept : {0.0, 1.0}) {
        for (const MotionMode mode : {MotionMode::kRelative, MotionMode::kAbsolute}) {
          for (const Landmarks& out : With({.mode = mode,
                                      .strength = strength,
                                      .pose = part,
                                      .mouth = part,
                                      .eyes = part,
                                      .gaze = part,
                                      .source_expression = kept})) {
            for (const Point3& p : out) {
              ASSERT_TRUE(std::abs(p.x) < 10 && std::abs(p.y) < 10 && std::abs(p.z) < 10);
            }
          }
        }
      }
    }
  }
}

TEST(MotionTransferTest, ClosedMouthsAndEyesAreClosedOnEverybody) {
  FaceState closed;
  closed.pose = {15, 5, -5};
  closed.expression.eye_close_left = closed.expression.eye_close_right = 1;
  for (uint64_t pair = 0; pair < 20; ++pair) {
    const PersonRenderer driver(MakePerson(500 + pair));
    std::vector<FaceState> states = MakeClip(pair, 60, kFps);
    states.push_back(closed);
    const std::vector<Landmarks> clip = ExactLandmarks(driver, states);
    // The source talks, smiles or blinks, as it happens.
    const Landmarks source = ExactLandmarks(PersonRenderer(MakePerson(600 + pair)),
                                            MakeClip(40 + pair, 30, kFps).back());

    for (const double strength : {1.0, 1.5}) {
      const HeadShape out =
          ShapeOf(TransferAll(TransferTo(source, {.strength = strength}), clip).back());

      for (const MotionRegions::Pair& lips : MotionRegions::kLips) {
        EXPECT_LT(Gap(out, lips), 0.12) << pair;  // cm, of a mouth of 5 cm
        EXPECT_GT(Gap(out, lips), -0.05) << pair;
      }
      for (size_t eye = 0; eye < 2; ++eye) {
        EXPECT_LT(EyeOpening(out, eye), 0.03) << pair;
        EXPECT_GT(EyeOpening(out, eye), -0.02) << pair;
      }
    }
  }
}

TEST(MotionTransferTest, MotionGoesThereAndBack) {
  const PersonRenderer a(MakePerson(21)), b(MakePerson(22));
  const std::vector<Landmarks> clip = ExactLandmarks(a, MakeClip(21, 80, kFps));
  const auto neutral = FindNeutralFace(clip);
  ASSERT_TRUE(neutral.ok());
  const Landmarks b_face = ExactLandmarks(b, FaceState{});
  const MotionTransfer there = TransferTo(b_face), back = TransferTo(FrameOf(*neutral));
  NeutralFace b_neutral;
  {
    const Landmarks rest = there.Transfer(FrameOf(*neutral), *neutral);
    const HeadPose pose = *FitHeadPose(rest);
    b_neutral = {ToHead(rest, pose), pose.rotation, pose.translation, pose.scale};
  }

  double sum = 0;
  for (const Landmarks& frame : clip) {
    const Landmarks again = back.Transfer(there.Transfer(frame, *neutral), b_neutral);
    for (size_t i = 0; i < frame.size(); ++i) {
      sum += std::hypot(again[i].x - frame[i].x, again[i].y - frame[i].y) / 478;
    }
  }

  EXPECT_LT(sum / static_cast<double>(clip.size()) / EyeDistance(clip[0]), 0.01);
}

TEST(MotionTransferTest, AbsoluteMotionPassesUnchangedOrScaledOnTheDriversFace) {
  const std::vector<Landmarks> clip =
      ExactLandmarks(PersonRenderer(MakePerson(2)), MakeClip(2, 40, kFps));
  const auto neutral = FindNeutralFace(clip);
  ASSERT_TRUE(neutral.ok());
  const auto as_is = MotionTransfer::Create(std::nullopt, {.mode = MotionMode::kAbsolute}),
             still = MotionTransfer::Create(std::nullopt,
                                            {.mode = MotionMode::kAbsolute, .strength = 0}),
             almost = MotionTransfer::Create(std::nullopt,
                                             {.mode = MotionMode::kAbsolute, .gaze = 1 + 1e-9});
  ASSERT_TRUE(as_is.ok() && still.ok() && almost.ok());

  for (const Landmarks& frame : clip) {
    EXPECT_EQ(MaxDifference(as_is->Transfer(frame, *neutral), frame), 0);
    EXPECT_LT(MaxDifference(still->Transfer(frame, *neutral), FrameOf(*neutral)), 1e-6);
    EXPECT_LT(MaxDifference(almost->Transfer(frame, *neutral), frame), 1e-5);
  }
}

TEST(MotionTransferTest, FramesWithoutAHeadGiveTheSource) {
  const Landmarks source = ExactLandmarks(PersonRenderer(MakePerson(1)), FaceState{});
  const std::vector<Landmarks> clip =
      ExactLandmarks(PersonRenderer(MakePerson(2)), MakeClip(2, 10, kFps));
  const auto neutral = FindNeutralFace(clip);
  ASSERT_TRUE(neutral.ok());
  Landmarks broken = clip[0];
  broken[0].x = std::numeric_limits<float>::quiet_NaN();
  const MotionTransfer transfer = TransferTo(source);

  EXPECT_EQ(MaxDifference(transfer.Transfer(Landmarks{}, *neutral), source), 0);
  EXPECT_EQ(MaxDifference(transfer.Transfer(broken, *neutral), source), 0);
}

TEST(MotionTransferTest, DamagedFacesGiveFiniteLandmarks) {
  Random random(7);
  int heads = 0;
  for (int round = 0; round < 200; ++round) {
    const auto damaged = [&](uint64_t seed) {
      Landmarks face = ExactLandmarks(PersonRenderer(MakePerson(seed)), FaceState{});
      // Part of the face collapses, flips, or goes far away.
      const size_t from = static_cast<size_t>(random.Index(478)),
                   to = from + static_cast<size_t>(random.Index(90));
      const Point3 where{random.Uniform(0, 1), random.Uniform(0, 1), random.Uniform(-0.3f, 0.3f)};
      const bool flip = random.Chance(0.5f);
      for (size_t i = from; i < std::min<size_t>(to, 478); ++i) {
        face[i] = flip ? Point3{face[i].x, 1 - face[i].y, face[i].z} : where;
      }
      return face;
    };
    const Landmarks source = damaged(1), frame = damaged(2), rest = damaged(3);
    const auto transfer = MotionTransfer::Create(source, {});
    const auto neutral = FindNeutralFace(std::vector<Landmarks>{rest});
    if (!transfer.ok() || !neutral.ok()) continue;
    ++heads;

    for (const Point3& p : transfer->Transfer(frame, *neutral)) {
      ASSERT_TRUE(std::isfinite(p.x) && std::isfinite(p.y) && std::isfinite(p.z));
    }
  }
  EXPECT_GT(heads, 20);
}

TEST(MotionTransferTest, SourcesThatAreNoFacesAreRefused) {
  EXPECT_EQ(MotionTransfer::Create(Landmarks{}, {}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(MotionTransfer::Create(std::nullopt, {}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(MotionTransfer::Create(std::nullopt, {.mode = MotionMode::kAbsolute, .pose = 3})
                .status()
                .code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(MotionOptionsTest, MessagesNameFieldValueAndRange) {
  EXPECT_TRUE(CheckMotionOptions({}).ok());
  EXPECT_TRUE(
      CheckMotionOptions(
          {.strength = 1.5, .pose = 2, .mouth = 2, .eyes = 2, .gaze = 2, .source_expression = 1})
          .ok());
  const std::pair<MotionOptions, std::string> bad[] = {
      {{.strength = 1.6}, "motion.strength must be 0..1.5, is 1.6"},
      {{.pose = -0.1}, "motion.pose must be 0..2, is -0.1"},
      {{.mouth = 2.5}, "motion.mouth must be 0..2, is 2.5"},
      {{.eyes = std::numeric_limits<double>::quiet_NaN()}, "motion.eyes must be 0..2, is nan"},
      {{.gaze = std::numeric_limits<double>::infinity()}, "motion.gaze must be 0..2, is inf"},
      {{.source_expression = 1.1}, "motion.source_expression must be 0..1, is 1.1"},
      {{.mode = static_cast<MotionMode>(7)}, "motion.mode must be relative or absolute, is 7"},
  };
  for (const auto& [options, message] : bad) {
    const absl::Status status = CheckMotionOptions(options);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  }
}

}  // namespace
}  // namespace reenact
