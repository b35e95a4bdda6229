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

struct Filling {
  absl::Status status;
  std::vector<FaceTimeline::Frame> frames;
  std::vector<size_t> counts;  // how many were filled after each frame, and after the end
};
Filling RunTimeline(const std::string& letters, NoFacePolicy policy, bool immediate = false,
                    std::vector<int64_t> pts = {}) {
  FaceTimeline timeline(policy, immediate);
  Filling run;
  const auto take = [&] {
    const auto frames = timeline.Take();
    run.counts.push_back(frames.size());
    run.frames.insert(run.frames.end(), frames.begin(), frames.end());
  };
  const std::vector<TrackedFrame> frames = Frames(letters);
  for (size_t i = 0; i < frames.size() && run.status.ok(); ++i) {
    run.status = timeline.Add(frames[i].faces[0], frames[i].cut,
                              pts.empty() ? static_cast<int64_t>(10 * i) : pts[i]);
    take();
  }
  if (run.status.ok()) {
    run.status = timeline.Finish();
    take();
  }
  return run;
}

// The x of every frame's landmarks.
std::vector<float> Filled(const std::string& letters, NoFacePolicy policy, bool immediate = false) {
  const Filling run = RunTimeline(letters, policy, immediate);
  EXPECT_TRUE(run.status.ok()) << run.status;
  std::vector<float> xs;
  for (const auto& frame : run.frames) xs.push_back(frame.landmarks[0].x);
  return xs;
}

using Xs = std::vector<float>;

TEST(FaceTimelineTest, InterpolatesWithinAScene) {
  EXPECT_EQ(Filled("f..f", NoFacePolicy::kInterpolate), (Xs{0, 1, 2, 3}));
  EXPECT_EQ(Filled(".f.f.", NoFacePolicy::kInterpolate), (Xs{1, 1, 2, 3, 3}));
}

TEST(FaceTimelineTest, InterpolatesInTimeNotInFrames) {
  const Filling run = RunTimeline("f.f", NoFacePolicy::kInterpolate, false, {0, 30, 40});
  ASSERT_TRUE(run.status.ok());
  EXPECT_FLOAT_EQ(run.frames[1].landmarks[7].x, 1.5f);
}

TEST(FaceTimelineTest, FramesAreFilledAsSoonAsTheyCanBe) {
  using Counts = std::vector<size_t>;
  EXPECT_EQ(RunTimeline(".f..f.", NoFacePolicy::kInterpolate).counts,
            (Counts{0, 2, 0, 0, 3, 0, 1}));
  // A cut ends a gap: nothing after it matters.
  EXPECT_EQ(RunTimeline("f.!.f", NoFacePolicy::kInterpolate).counts, (Counts{1, 0, 1, 0, 3, 0}));
  EXPECT_EQ(RunTimeline(".f..!f", NoFacePolicy::kInterpolate, true).counts,
            (Counts{0, 2, 1, 1, 1, 1, 0}));
  EXPECT_EQ(Filled(".f..!f", NoFacePolicy::kInterpolate, true),
            (std::vector<float>{1, 1, 1, 1, 1, 5}));
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
  const Filling run = RunTimeline("f.f.1", NoFacePolicy::kInterpolate);
  ASSERT_TRUE(run.status.ok());
  std::vector<FaceRecord> records;
  for (const auto& frame : run.frames) records.push_back(frame.record);
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
  const absl::Status status = RunTimeline("ff.f", NoFacePolicy::kFail).status;
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), "no face found in frame 2 of the driving video");
}

TEST(FaceTimelineTest, NoFrameAndNoFaceAreErrors) {
  EXPECT_EQ(RunTimeline("", NoFacePolicy::kHold).status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(RunTimeline("..", NoFacePolicy::kHold, true).status.message(),
            "no face found in any of the 2 frames of the driving video");
}

}  // namespace
}  // namespace reenact
