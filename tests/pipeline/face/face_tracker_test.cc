#include "pipeline/face/face_tracker.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "pipeline/face/face_choice.h"
#include "pipeline/face/face_landmarker.h"
#include "pipeline/face/face_signature.h"
#include "tests/pipeline/face/stage.h"
#include "tests/support/face_models.h"
#include "training/people/people.h"

namespace reenact {
namespace {

using testing::Stage;
using Place = Stage::Place;

constexpr int kWidth = 640, kHeight = 240;
constexpr double kSide = 200;

std::function<Place(int)> At(double x, double side = kSide) {
  return [=](int) { return Place{x, kHeight / 2.0, side}; };
}

class FaceTrackingTest : public testing::FaceModelTest {
 protected:
  std::vector<FoundFace> Find(const Image& image, int depth = 1) {
    auto faces = FindFaces(*landmarker_, image, depth, 32);
    EXPECT_TRUE(faces.ok()) << faces.status();
    return faces.ok() ? *std::move(faces) : std::vector<FoundFace>();
  }

  TrackedFrame Next(FaceTracker& tracker, const Image& image) {
    auto frame = tracker.Next(image);
    EXPECT_TRUE(frame.ok()) << frame.status();
    return frame.ok() ? *std::move(frame) : TrackedFrame();
  }
};

// Four people, the third the largest.
Stage FourPeople() {
  Stage stage(kWidth, kHeight);
  stage.Add(31, At(80, 130));
  stage.Add(34, At(230, 150));
  stage.Add(33, At(400, 200));
  stage.Add(40, At(560, 140));
  return stage;
}

TEST_F(FaceTrackingTest, FindsSmallFacesOfAGroup) {
  Stage stage(800, 160);
  for (int i = 0; i < 8; ++i) stage.Add(700 + i, At(50 + 100.0 * i, 100));
  const Image image = stage.Draw(0).image;

  EXPECT_LT(Find(image, 0).size(), 3u);
  const std::vector<FoundFace> faces = Find(image, 2);
  ASSERT_EQ(faces.size(), 8u);
  for (size_t i = 0; i < faces.size(); ++i) {
    EXPECT_EQ(faces[i].index, static_cast<int>(i));
    EXPECT_NEAR((faces[i].box.left + faces[i].box.right) / 2,
                (50 + 100.0 * static_cast<double>(i)) / 800, 0.02);
    EXPECT_TRUE(faces[i].signature.has_value());
  }
  auto few = landmarker_->Search(image, 2, 3);
  ASSERT_TRUE(few.ok());
  EXPECT_EQ(few->size(), 3u);
}

TEST_F(FaceTrackingTest, ALargeFaceIsFoundOnceAndAsDetectSees) {
  const Image image = PersonRenderer(MakePerson(12)).Draw({}, 300, 1).image;
  const auto detected = landmarker_->Detect(image);
  ASSERT_TRUE(detected.ok() && detected->has_value());

  for (const int depth : {0, 1, 2}) {
    const auto found = landmarker_->Search(image, depth, 16);
    ASSERT_TRUE(found.ok());
    ASSERT_EQ(found->size(), 1u) << depth;
    for (size_t i = 0; i < kNumLandmarks; ++i) {
      ASSERT_EQ((*found)[0].landmarks[i].x, (*detected)->landmarks[i].x);
      ASSERT_EQ((*found)[0].landmarks[i].z, (*detected)->landmarks[i].z);
    }
  }
}

TEST_F(FaceTrackingTest, ChoosesByIndexPositionSizeAndReference) {
  const Image image = FourPeople().Draw(0).image;
  const std::vector<FoundFace> faces = Find(image);
  ASSERT_EQ(faces.size(), 4u);
  const auto choose = [&](const FaceChoice& choice) {
    return ChooseFace(faces, choice, image.width, image.height);
  };

  EXPECT_EQ(choose({}), 2u);
  EXPECT_EQ(choose({.by = FaceChoice::By::kIndex, .index = 0}), 0u);
  EXPECT_EQ(choose({.by = FaceChoice::By::kIndex, .index = 3}), 3u);
  EXPECT_EQ(choose({.by = FaceChoice::By::kIndex, .index = 4}), std::nullopt);
  EXPECT_EQ(choose({.by = FaceChoice::By::kPosition, .x = 0.3, .y = 0.9}), 1u);
  EXPECT_EQ(choose({.by = FaceChoice::By::kPosition, .x = 1, .y = 0}), 3u);
  const uint64_t seeds[] = {31, 34, 33, 40};
  for (size_t i = 0; i < 4; ++i) {
    // Another moment of the same person, alone in another picture.
    FaceState other;
    other.pose = {12, 4, 3};
    other.expression.smile = 0.6f;
    const auto reference = ReferenceOf(
        *landmarker_, PersonRenderer(MakePerson(seeds[i])).Draw(other, 256, 1).image, "a picture");
    ASSERT_TRUE(reference.ok()) << reference.status();
    EXPECT_EQ(choose({.by = FaceChoice::By::kReference, .reference = *reference}), i);
  }
  // Nobody resembles somebody who is not there.
  const auto stranger =
      ReferenceOf(*landmarker_, PersonRenderer(MakePerson(6)).Draw({}, 256, 1).image, "a picture");
  ASSERT_TRUE(stranger.ok());
  EXPECT_EQ(choose({.by = FaceChoice::By::kReference, .reference = *stranger}), std::nullopt);
}

TEST_F(FaceTrackingTest, SeveralChoicesTakeDifferentFaces) {
  const Image image = FourPeople().Draw(0).image;
  const std::vector<FoundFace> faces = Find(image);
  ASSERT_EQ(faces.size(), 4u);

  const std::vector<FaceChoice> largest(5);
  const auto chosen = ChooseFaces(faces, largest, image.width, image.height);
  std::vector<size_t> who;
  for (const auto& choice : chosen) {
    if (choice.has_value()) who.push_back(*choice);
  }
  std::sort(who.begin(), who.end());
  EXPECT_EQ(who, (std::vector<size_t>{0, 1, 2, 3}));
  EXPECT_EQ(chosen[0], 2u);

  // An index keeps its face though the largest was asked for first.
  const std::vector<FaceChoice> mixed = {{}, {.by = FaceChoice::By::kIndex, .index = 2}};
  const auto both = ChooseFaces(faces, mixed, image.width, image.height);
  EXPECT_EQ(both[1], 2u);
  EXPECT_NE(both[0], 2u);
}

TEST_F(FaceTrackingTest, NoFaceIsNoReference) {
  const Image wall = Stage(kWidth, kHeight).Draw(0).image;
  const auto reference = ReferenceOf(*landmarker_, wall, "the reference image");
  EXPECT_EQ(reference.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(reference.status().message(), "no face found in the reference image");
}

TEST_F(FaceTrackingTest, SignaturesTellPeopleApart) {
  // One picture of each to remember, one to recognise, from different clips.
  constexpr int kPeople = 40;
  std::vector<FaceSignature> known, seen;
  for (uint64_t seed = 800; seed < 800 + kPeople; ++seed) {
    const PersonRenderer person(MakePerson(seed));
    for (auto* list : {&known, &seen}) {
      const FaceState state = list == &known ? FaceState{} : MakeClip(seed + 2000, 30, 10).back();
      const Image image = person.Draw(state, 224, 1).image;
      const auto face = landmarker_->Detect(image);
      ASSERT_TRUE(face.ok() && face->has_value()) << seed;
      const auto signature = SignFace(image, (*face)->landmarks);
      ASSERT_TRUE(signature.has_value());
      list->push_back(*signature);
    }
  }
  int rejected = 0, accepted = 0, strangers = 0, best_of_five = 0;
  for (int i = 0; i < kPeople; ++i) {
    const double own = Likeness(known[i], seen[i]);
    rejected += own < kSamePerson ? 1 : 0;
    bool best = true;
    for (int k = 1; k < kPeople; ++k) {
      const double other = Likeness(known[(i + k) % kPeople], seen[i]);
      accepted += other >= kSamePerson ? 1 : 0;
      ++strangers;
      if (k < 5) best = best && own > other;
    }
    best_of_five += best ? 1 : 0;
  }
  // What face_signature.h calls good enough.
  EXPECT_LE(rejected, kPeople / 10);
  EXPECT_LE(accepted, strangers / 10);
  EXPECT_GE(best_of_five, kPeople * 95 / 100);
}

TEST_F(FaceTrackingTest, OneFaceHasTheNumbersOfTrack) {
  const PersonRenderer person(MakePerson(21));
  FaceTracker tracker({}, *landmarker_);
  landmarker_->Reset();
  int frame_number = 0;
  for (const FaceState& state : MakeClip(21, 40, 25)) {
    const Image image = person.Draw(state, 256, 1).image;
    const auto expected = landmarker_->Track(image);
    ASSERT_TRUE(expected.ok() && expected->has_value());

    const TrackedFrame frame = Next(tracker, image);

    ASSERT_EQ(frame.faces.size(), 1u);
    const TrackedFace& face = frame.faces[0];
    ASSERT_TRUE(face.landmarks.has_value()) << frame_number;
    EXPECT_EQ(face.confidence, (*expected)->score);
    EXPECT_EQ(face.person, 0);
    EXPECT_EQ(frame.num_faces, 1);
    EXPECT_FALSE(frame.cut);
    for (size_t i = 0; i < kNumLandmarks; ++i) {
      ASSERT_EQ((*face.landmarks)[i].x, (*expected)->landmarks[i].x) << frame_number;
      ASSERT_EQ((*face.landmarks)[i].y, (*expected)->landmarks[i].y) << frame_number;
      ASSERT_EQ((*face.landmarks)[i].z, (*expected)->landmarks[i].z) << frame_number;
    }
    ++frame_number;
  }
}

// Frames in which a track shows somebody else than `actor`, is lost, or is right.
struct Score {
  int right = 0, lost = 0, wrong = 0;
};
void Count(const Stage::Frame& truth, const TrackedFace& face, int actor, Score& score) {
  if (!face.landmarks.has_value()) {
    ++score.lost;
  } else if (Stage::WhoIs(truth, face.box) == actor) {
    ++score.right;
  } else {
    ++score.wrong;
  }
}

// Two people walk past each other, the second in front. Pairs that look different.
constexpr std::pair<uint64_t, uint64_t> kPairs[] = {{31, 34}, {33, 40}, {6, 11}, {21, 3}, {12, 42}};
constexpr int kWalk = 50;

std::vector<Stage::Frame> Crossing(const std::pair<uint64_t, uint64_t>& people) {
  Stage stage(kWidth, kHeight);
  const auto walk = [](double from, double to) {
    return [=](int frame) {
      const double t = std::clamp((frame - 5) / (kWalk - 10.0), 0.0, 1.0);
      return Place{from + t * (to - from), kHeight / 2.0, kSide};
    };
  };
  stage.Add(people.first, walk(150, 490));
  stage.Add(people.second, walk(490, 150));
  std::vector<Stage::Frame> frames;
  for (int i = 0; i < kWalk; ++i) frames.push_back(stage.Draw(i));
  return frames;
}

TEST_F(FaceTrackingTest, KeepsWhomItFollowsWhenFacesCross) {
  for (const auto& pair : kPairs) {
    const std::vector<Stage::Frame> frames = Crossing(pair);
    // First the one behind (0), who is on the left at first, then the one in front.
    for (const int actor : {0, 1}) {
      FaceTracker tracker({.faces = {{.by = FaceChoice::By::kIndex, .index = actor}}},
                          *landmarker_);
      Score score;
      TrackedFace last;
      for (const Stage::Frame& truth : frames) {
        last = Next(tracker, truth.image).faces[0];
        Count(truth, last, actor, score);
      }
      SCOPED_TRACE(::testing::Message()
                   << pair.first << " and " << pair.second << ", " << actor << ": right "
                   << score.right << ", lost " << score.lost << ", wrong " << score.wrong);
      EXPECT_TRUE(last.landmarks.has_value());
      EXPECT_EQ(Stage::WhoIs(frames.back(), last.box), actor);
      EXPECT_LE(score.wrong, actor == 0 ? 3 : 1);
      EXPECT_GE(score.right, actor == 0 ? 30 : 45);
      EXPECT_EQ(last.person, 0);
    }
  }
}

TEST_F(FaceTrackingTest, FollowsBothWhoCross) {
  for (const auto& pair : {kPairs[0], kPairs[3]}) {
    const std::vector<Stage::Frame> frames = Crossing(pair);
    FaceTracker tracker({.faces = {{.by = FaceChoice::By::kIndex, .index = 0},
                                   {.by = FaceChoice::By::kIndex, .index = 1}}},
                        *landmarker_);
    Score behind, before;
    TrackedFrame last;
    for (const Stage::Frame& truth : frames) {
      last = Next(tracker, truth.image);
      Count(truth, last.faces[0], 0, behind);
      Count(truth, last.faces[1], 1, before);
      if (last.faces[0].landmarks.has_value() && last.faces[1].landmarks.has_value()) {
        EXPECT_LT(IntersectionOverUnion(last.faces[0].box, last.faces[1].box), 0.5);
      }
    }
    EXPECT_EQ(Stage::WhoIs(frames.back(), last.faces[0].box), 0) << pair.first;
    EXPECT_EQ(Stage::WhoIs(frames.back(), last.faces[1].box), 1) << pair.first;
    EXPECT_LE(behind.wrong, 3) << pair.first;
    EXPECT_LE(before.wrong, 1) << pair.first;
    EXPECT_EQ(last.num_faces, 2);
  }
}

TEST_F(FaceTrackingTest, OneWhoLeavesIsLostUntilHeComesBack) {
  Stage stage(kWidth, kHeight);
  stage.Add(33, [](int frame) {
    return Place{180, kHeight / 2.0, frame >= 10 && frame < 20 ? 0 : kSide};
  });
  stage.Add(40, At(470, 180));
  FaceTracker tracker({}, *landmarker_);
  for (int i = 0; i < 30; ++i) {
    const Stage::Frame truth = stage.Draw(i);
    const TrackedFrame frame = Next(tracker, truth.image);
    const TrackedFace& face = frame.faces[0];
    // One who vanishes may be a cut, but not one to a new scene.
    if (i >= 10 && i < 20) {
      EXPECT_FALSE(face.landmarks.has_value()) << i;
      EXPECT_EQ(face.confidence, 0);
    } else {
      ASSERT_TRUE(face.landmarks.has_value()) << i;
      EXPECT_EQ(Stage::WhoIs(truth, face.box), 0) << i;
      EXPECT_GT(face.confidence, 0.5);
    }
    EXPECT_EQ(face.person, 0);
  }
}

TEST_F(FaceTrackingTest, FindsTheSamePersonInTheFirstFrameAfterACut) {
  // The same two from another side: they changed places, the room is darker.
  Stage one(kWidth, kHeight), other(kWidth, kHeight, 60);
  one.Add(33, At(180));
  one.Add(40, At(460, 150));
  other.Add(40, At(150, 220));
  other.Add(33, At(500, 170));
  FaceTracker tracker({}, *landmarker_);
  int cuts = 0;
  for (int i = 0; i < 40; ++i) {
    const bool first = i / 10 % 2 == 0;
    const Stage::Frame truth = (first ? one : other).Draw(i);
    const TrackedFrame frame = Next(tracker, truth.image);
    cuts += frame.cut ? 1 : 0;
    EXPECT_EQ(frame.cut, i > 0 && i % 10 == 0) << i;
    ASSERT_TRUE(frame.faces[0].landmarks.has_value()) << i;
    EXPECT_EQ(Stage::WhoIs(truth, frame.faces[0].box), first ? 0 : 1) << i;
    EXPECT_EQ(frame.faces[0].person, 0) << i;
  }
  EXPECT_EQ(cuts, 3);
}

TEST_F(FaceTrackingTest, ChoosesAnewWhereNobodyIsKnownAndReturnsToTheFirst) {
  Stage one(kWidth, kHeight), other(kWidth, kHeight, 60);
  one.Add(33, At(200));
  other.Add(11, At(420));
  for (const bool anew : {true, false}) {
    FaceTracker tracker({.choose_after_cut = anew}, *landmarker_);
    for (int i = 0; i < 15; ++i) {
      const bool first = i / 5 != 1;
      const TrackedFace face = Next(tracker, (first ? one : other).Draw(i).image).faces[0];
      EXPECT_EQ(face.landmarks.has_value(), first || anew) << i;
      EXPECT_EQ(face.person, first || !anew ? 0 : 1) << i;
    }
  }
}

TEST_F(FaceTrackingTest, AReferenceIsWaitedFor) {
  const auto reference =
      ReferenceOf(*landmarker_, PersonRenderer(MakePerson(33)).Draw({}, 256, 1).image, "a picture");
  ASSERT_TRUE(reference.ok());
  Stage stage(kWidth, kHeight);
  stage.Add(11, At(150));
  stage.Add(33, [](int frame) { return Place{480, kHeight / 2.0, frame < 10 ? 0 : kSide}; });
  FaceTracker tracker({.faces = {{.by = FaceChoice::By::kReference, .reference = *reference}}},
                      *landmarker_);
  for (int i = 0; i < 16; ++i) {
    const Stage::Frame truth = stage.Draw(i);
    const TrackedFace face = Next(tracker, truth.image).faces[0];
    EXPECT_EQ(face.landmarks.has_value(), i >= 10) << i;
    if (face.landmarks.has_value()) {
      EXPECT_EQ(Stage::WhoIs(truth, face.box), 1);
    }
  }
}

TEST_F(FaceTrackingTest, AFlashDoesNotChangeWhoIsFollowed) {
  const Stage stage = FourPeople();
  FaceTracker tracker({}, *landmarker_);
  for (int i = 0; i < 12; ++i) {
    Stage::Frame truth = stage.Draw(i);
    if (i == 5) {
      for (uint8_t& value : truth.image.rgb) {
        value = static_cast<uint8_t>(std::min(value * 2 + 30, 255));
      }
    }
    const TrackedFace face = Next(tracker, truth.image).faces[0];
    if (i != 5) {
      ASSERT_TRUE(face.landmarks.has_value()) << i;
      EXPECT_EQ(Stage::WhoIs(truth, face.box), 2) << i;
      EXPECT_EQ(face.person, 0) << i;
    }
  }
}

TEST_F(FaceTrackingTest, ResetStartsAnotherVideo) {
  Stage one(kWidth, kHeight), other(kWidth, kHeight);
  one.Add(33, At(200));
  other.Add(11, At(210));
  FaceTracker tracker({}, *landmarker_);
  Next(tracker, one.Draw(0).image);
  tracker.Reset();
  const TrackedFrame frame = Next(tracker, other.Draw(1).image);
  EXPECT_FALSE(frame.cut);
  EXPECT_TRUE(frame.faces[0].landmarks.has_value());
  EXPECT_EQ(frame.faces[0].person, 0);
}

TEST_F(FaceTrackingTest, BadPicturesAreErrors) {
  FaceTracker tracker({}, *landmarker_);
  EXPECT_EQ(tracker.Next(Image{}).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(landmarker_->Search(Image{}, 1, 4).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(landmarker_->Follow(Image{}, Landmarks{}).status().code(),
            absl::StatusCode::kInvalidArgument);
  // A wall has no face.
  const TrackedFrame frame = Next(tracker, Stage(kWidth, kHeight).Draw(0).image);
  EXPECT_FALSE(frame.faces[0].landmarks.has_value());
  EXPECT_EQ(frame.num_faces, 0);
}

TEST(FaceChoiceTest, ChecksNameFieldValueAndRange) {
  EXPECT_TRUE(CheckFaceChoice({}).ok());
  EXPECT_EQ(CheckFaceChoice({.by = FaceChoice::By::kIndex, .index = -1}).message(),
            "index must be 0..63, is -1");
  EXPECT_EQ(CheckFaceChoice({.by = FaceChoice::By::kPosition, .x = 2}).message(),
            "x must be 0..1, is 2");
  EXPECT_EQ(CheckFaceChoice({.by = FaceChoice::By::kReference}).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(FaceTracker::Check({.faces = {}}).message(), "faces must be 1..16 choices, are 0");
  EXPECT_EQ(FaceTracker::Check({.depth = 3}).message(), "depth must be 0..2, is 3");
  EXPECT_EQ(
      FaceTracker::Check({.faces = {{}, {.by = FaceChoice::By::kIndex, .index = 70}}}).message(),
      "faces[1]: index must be 0..63, is 70");
}

TEST(FaceChoiceTest, TheNoteSaysHowManyAndWhich) {
  EXPECT_EQ(ChoiceNote("the source image", 1, {}, 0), "");
  EXPECT_EQ(ChoiceNote("the source image", 5, {}, 2),
            "5 faces in the source image: took the largest, the 3rd from the left");
  EXPECT_EQ(ChoiceNote("the driving video", 13, {.by = FaceChoice::By::kIndex, .index = 11}, 11),
            "13 faces in the driving video: took by index, the 12th from the left");
  EXPECT_EQ(ChoiceNote("x", 30, {}, 20), "30 faces in x: took the largest, the 21st from the left");
}

TEST(FaceSignatureTest, LearningApproachesWhatIsSeen) {
  FaceSignature known, seen;
  seen.values.fill(2);
  seen.weights.fill(1);
  // Nothing was known.
  Learn(known, seen, 0.1f);
  EXPECT_FLOAT_EQ(known.values[0], 2);
  seen.values.fill(4);
  for (int i = 0; i < 200; ++i) Learn(known, seen, 0.1f);
  EXPECT_NEAR(known.values[0], 4, 0.01);
  // What is hidden is not learnt.
  seen.values.fill(9);
  seen.weights.fill(0);
  Learn(known, seen, 1);
  EXPECT_NEAR(known.values[0], 4, 0.01);
  EXPECT_EQ(Likeness(FaceSignature{}, FaceSignature{}), 0.5);
}

TEST(FaceSignatureTest, WhatIsNoFaceHasNone) {
  const Image image{32, 32, std::vector<uint8_t>(32 * 32 * 3, 9)};
  EXPECT_FALSE(SignFace(image, Landmarks{}).has_value());
}

}  // namespace
}  // namespace reenact
