#include "pipeline/face/face_timeline.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace reenact {
namespace {

// A letter per frame: '.' without the face, any other with person 0 at x = frame number, '1' with
// person 1; upper case or '!' begins a scene ('!' without the face).
std::vector<TrackedFrame> Frames(const std::string& letters) {
  std::vector<TrackedFrame> frames;
  for (size_t i = 0; i < letters.size(); ++i) {
    TrackedFrame frame;
    frame.cut = letters[i] == '!' || letters[i] == 'F' || letters[i] == '1';
    TrackedFace face;
    if (letters[i] != '.' && letters[i] != '!') {
      Landmarks landmarks;
      landmarks.fill({static_cast<float>(i), 0.5f, 0});
      face.landmarks = landmarks;
      face.confidence = 0.9f;
      face.person = letters[i] == '1' ? 1 : 0;
      face.box = BoxOf(landmarks);
    }
    frame.faces.push_back(face);
    frames.push_back(frame);
  }
  return frames;
}

// The x of every frame's landmarks.
std::vector<float> Filled(const std::string& letters, NoFacePolicy policy) {
  const std::vector<TrackedFrame> frames = Frames(letters);
  std::vector<int64_t> pts;
  for (size_t i = 0; i < frames.size(); ++i) pts.push_back(static_cast<int64_t>(10 * i));
  const auto timeline = FillTimeline(frames, 0, pts, policy);
  EXPECT_TRUE(timeline.ok()) << timeline.status();
  std::vector<float> xs;
  if (timeline.ok()) {
    for (const Landmarks& landmarks : timeline->landmarks) xs.push_back(landmarks[0].x);
  }
  return xs;
}

using Xs = std::vector<float>;

TEST(FaceTimelineTest, InterpolatesWithinAScene) {
  EXPECT_EQ(Filled("f..f", NoFacePolicy::kInterpolate), (Xs{0, 1, 2, 3}));
  EXPECT_EQ(Filled(".f.f.", NoFacePolicy::kInterpolate), (Xs{1, 1, 2, 3, 3}));
}

TEST(FaceTimelineTest, InterpolatesInTimeNotInFrames) {
  const std::vector<TrackedFrame> frames = Frames("f.f");
  const std::vector<int64_t> pts = {0, 30, 40};
  const auto timeline = FillTimeline(frames, 0, pts, NoFacePolicy::kInterpolate);
  ASSERT_TRUE(timeline.ok());
  EXPECT_FLOAT_EQ(timeline->landmarks[1][7].x, 1.5f);
}

TEST(FaceTimelineTest, HoldsTheLast) {
  EXPECT_EQ(Filled("f..f.", NoFacePolicy::kHold), (Xs{0, 0, 0, 3, 3}));
  EXPECT_EQ(Filled("..f", NoFacePolicy::kHold), (Xs{2, 2, 2}));
}

TEST(FaceTimelineTest, NothingCrossesACut) {
  // Lost at the end of the first scene, and at the beginning of the second.
  EXPECT_EQ(Filled("f..!.f", NoFacePolicy::kInterpolate), (Xs{0, 0, 0, 5, 5, 5}));
  EXPECT_EQ(Filled("f..!.f", NoFacePolicy::kHold), (Xs{0, 0, 0, 5, 5, 5}));
  EXPECT_EQ(Filled("f.F.f", NoFacePolicy::kInterpolate), (Xs{0, 0, 2, 3, 4}));
}

TEST(FaceTimelineTest, ASceneWithoutTheFaceTakesThePastBeforeTheFuture) {
  EXPECT_EQ(Filled("ff!.F", NoFacePolicy::kInterpolate), (Xs{0, 1, 1, 1, 4}));
  EXPECT_EQ(Filled("..F", NoFacePolicy::kInterpolate), (Xs{2, 2, 2}));
}

TEST(FaceTimelineTest, RecordsSayWhereLandmarksComeFrom) {
  const std::vector<TrackedFrame> frames = Frames("f.f.1");
  const std::vector<int64_t> pts = {0, 1, 2, 3, 4};
  const auto timeline = FillTimeline(frames, 0, pts, NoFacePolicy::kInterpolate);
  ASSERT_TRUE(timeline.ok());
  const std::vector<FaceRecord>& records = timeline->records;
  ASSERT_EQ(records.size(), 5u);
  EXPECT_EQ(records[0].origin, FaceOrigin::kFound);
  EXPECT_EQ(records[0].confidence, 0.9f);
  EXPECT_EQ(records[0].Note(), "");
  EXPECT_EQ(records[1].origin, FaceOrigin::kInterpolated);
  EXPECT_EQ(records[1].confidence, 0);
  EXPECT_EQ(records[1].Note(), "no face found, landmarks interpolated between frames 0 and 2");
  EXPECT_FLOAT_EQ(records[1].box.left, 1);
  EXPECT_EQ(records[3].origin, FaceOrigin::kHeld);
  EXPECT_EQ(records[3].Note(), "no face found, landmarks of frame 2 held");
  EXPECT_EQ(records[3].person, 0);
  EXPECT_EQ(records[4].person, 1);
  EXPECT_TRUE(records[4].cut);
  EXPECT_FALSE(records[3].cut);
}

TEST(FaceTimelineTest, FailNamesTheFirstFrameWithoutTheFace) {
  const std::vector<TrackedFrame> frames = Frames("ff.f");
  const std::vector<int64_t> pts = {0, 1, 2, 3};
  const auto timeline = FillTimeline(frames, 0, pts, NoFacePolicy::kFail);
  EXPECT_EQ(timeline.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(timeline.status().message(), "no face found in frame 2 of the driving video");
}

TEST(FaceTimelineTest, NoFrameAndNoFaceAreErrors) {
  EXPECT_EQ(FillTimeline({}, 0, {}, NoFacePolicy::kHold).status().code(),
            absl::StatusCode::kInvalidArgument);
  const std::vector<int64_t> pts = {0, 1};
  EXPECT_EQ(FillTimeline(Frames(".."), 0, pts, NoFacePolicy::kHold).status().message(),
            "no face found in any of the 2 frames of the driving video");
}

}  // namespace
}  // namespace reenact
