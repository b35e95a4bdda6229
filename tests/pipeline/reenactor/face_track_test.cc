#include "pipeline/reenactor/face_track.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <optional>
#include <string>
#include <vector>

namespace reenact {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A face whose landmarks spread over a tenth of the picture; landmark 17 lies at `x`.
std::optional<Landmarks> Face(float x) {
  Landmarks landmarks;
  for (size_t i = 0; i < landmarks.size(); ++i) {
    const float t = static_cast<float>(i) / static_cast<float>(landmarks.size()) - 0.5f;
    landmarks[i] = {x + 0.1f * t, 0.5f + 0.1f * t, 0.1f * t};
  }
  landmarks[17] = {x, 0.5f, 0};
  return landmarks;
}

using Faces = std::vector<std::optional<Landmarks>>;

constexpr int kWidth = 100, kHeight = 100;

// What is decided after each frame and, last, after the end.
struct TrackRun {
  absl::Status status;
  std::vector<std::vector<Landmarks>> taken;
  std::vector<FrameNote> notes;

  std::vector<size_t> Counts() const {
    std::vector<size_t> counts;
    for (const auto& landmarks : taken) counts.push_back(landmarks.size());
    return counts;
  }
  std::vector<Landmarks> All() const {
    std::vector<Landmarks> all;
    for (const auto& landmarks : taken) all.insert(all.end(), landmarks.begin(), landmarks.end());
    return all;
  }
};
TrackRun RunTrack(const Faces& faces, const std::vector<int64_t>& pts, NoFacePolicy policy,
                  std::optional<int> crop_frames = std::nullopt) {
  FaceTrack track(policy, kWidth, kHeight, crop_frames);
  TrackRun run;
  for (size_t i = 0; i < faces.size() && run.status.ok(); ++i) {
    run.status = track.Add(faces[i], pts[i]);
    run.taken.push_back(track.Take());
  }
  if (run.status.ok()) run.status = track.Finish();
  run.taken.push_back(track.Take());
  run.notes = track.notes();
  EXPECT_EQ(track.num_frames(), static_cast<int64_t>(faces.size()));
  return run;
}

// Landmark 17 of each frame, back in picture units.
std::vector<float> Xs(const TrackRun& run, const CropBox& box) {
  std::vector<float> xs;
  for (const Landmarks& landmarks : run.All()) {
    const double pixels = box.center_x + (landmarks[17].x - 0.5) * box.side;
    xs.push_back(static_cast<float>(pixels / kWidth));
  }
  return xs;
}

std::vector<int64_t> Noted(const TrackRun& run) {
  std::vector<int64_t> frames;
  for (const FrameNote& note : run.notes) frames.push_back(note.frame);
  return frames;
}

const Faces kGappy = {std::nullopt, Face(0.1f), std::nullopt,
                      std::nullopt, Face(0.5f), std::nullopt};
// Variable rate: the two missing frames lie at 1/4 and 3/4 of the gap.
const std::vector<int64_t> kPts = {0, 10, 11, 13, 14, 20};

CropBox GappyCrop() { return FaceCrop({*Face(0.1f), *Face(0.5f)}, kWidth, kHeight); }

MATCHER_P(NearTo, value, "") { return std::abs(arg - value) < 1e-5; }

TEST(FaceTrackTest, InterpolatesInTimeAndHoldsAtTheEnds) {
  const TrackRun run = RunTrack(kGappy, kPts, NoFacePolicy::kInterpolate);

  ASSERT_TRUE(run.status.ok()) << run.status;
  EXPECT_THAT(Xs(run, GappyCrop()), ElementsAre(NearTo(0.1), NearTo(0.1), NearTo(0.2), NearTo(0.4),
                                                NearTo(0.5), NearTo(0.5)));
  EXPECT_THAT(Noted(run), ElementsAre(0, 2, 3, 5));
  EXPECT_THAT(run.notes[1].note, HasSubstr("interpolated between frames 1 and 4"));
  EXPECT_THAT(run.notes[0].note, HasSubstr("frame 1 held"));
  EXPECT_THAT(run.notes[3].note, HasSubstr("frame 4 held"));
  // The crop is the whole clip's, so nothing is decided before its end.
  EXPECT_THAT(run.Counts(), ElementsAre(0, 0, 0, 0, 0, 0, 6));
}

TEST(FaceTrackTest, HoldsTheLastFace) {
  const TrackRun run = RunTrack(kGappy, kPts, NoFacePolicy::kHold);

  ASSERT_TRUE(run.status.ok()) << run.status;
  EXPECT_THAT(Xs(run, GappyCrop()), ElementsAre(NearTo(0.1), NearTo(0.1), NearTo(0.1), NearTo(0.1),
                                                NearTo(0.5), NearTo(0.5)));
  EXPECT_THAT(Noted(run), ElementsAre(0, 2, 3, 5));
}

TEST(FaceTrackTest, WithAnEarlyCropFramesAreDecidedAsTheyCome) {
  const CropBox box = FaceCrop({*Face(0.1f)}, kWidth, kHeight);
  const TrackRun hold = RunTrack(kGappy, kPts, NoFacePolicy::kHold, 1);
  ASSERT_TRUE(hold.status.ok()) << hold.status;
  EXPECT_THAT(hold.Counts(), ElementsAre(0, 2, 1, 1, 1, 1, 0));
  EXPECT_THAT(Xs(hold, box), ElementsAre(NearTo(0.1), NearTo(0.1), NearTo(0.1), NearTo(0.1),
                                         NearTo(0.5), NearTo(0.5)));

  // A gap waits for its other end.
  const TrackRun interpolated = RunTrack(kGappy, kPts, NoFacePolicy::kInterpolate, 3);
  EXPECT_THAT(interpolated.Counts(), ElementsAre(0, 0, 2, 0, 3, 0, 1));
  EXPECT_THAT(Xs(interpolated, box), ElementsAre(NearTo(0.1), NearTo(0.1), NearTo(0.2), NearTo(0.4),
                                                 NearTo(0.5), NearTo(0.5)));
  // A clip that ends before has the crop of what there is.
  const TrackRun brief = RunTrack(kGappy, kPts, NoFacePolicy::kInterpolate, 20);
  EXPECT_THAT(brief.Counts(), ElementsAre(0, 0, 0, 0, 0, 0, 6));
}

TEST(FaceTrackTest, FailNamesTheFrame) {
  const TrackRun run = RunTrack({Face(0.1f), std::nullopt}, {0, 1}, NoFacePolicy::kFail);

  EXPECT_EQ(run.status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(run.status.message()), HasSubstr("frame 1"));
}

TEST(FaceTrackTest, NoFaceAtAllIsAnErrorUnderEveryPolicy) {
  for (const NoFacePolicy policy : {NoFacePolicy::kInterpolate, NoFacePolicy::kHold}) {
    const TrackRun run = RunTrack({std::nullopt, std::nullopt}, {0, 1}, policy, 1);
    EXPECT_EQ(run.status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(run.status.message()), HasSubstr("any of the 2 frames"));
    EXPECT_EQ(RunTrack({}, {}, policy).status.code(), absl::StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace reenact
