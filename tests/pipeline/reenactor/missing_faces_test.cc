#include "pipeline/reenactor/missing_faces.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <vector>

namespace reenact {
namespace {

using ::testing::HasSubstr;

std::optional<Landmarks> Face(float x) {
  Landmarks landmarks;
  landmarks.fill({x, 2 * x, -x});
  return landmarks;
}

std::vector<float> Xs(const FilledLandmarks& filled) {
  std::vector<float> xs;
  for (const Landmarks& landmarks : filled.landmarks) xs.push_back(landmarks[17].x);
  return xs;
}

std::vector<int64_t> Noted(const FilledLandmarks& filled) {
  std::vector<int64_t> frames;
  for (const FrameNote& note : filled.notes) frames.push_back(note.frame);
  return frames;
}

const std::vector<std::optional<Landmarks>> kGappy = {std::nullopt, Face(1.0f), std::nullopt,
                                                      std::nullopt, Face(5.0f), std::nullopt};
// Variable rate: the two missing frames lie at 1/4 and 3/4 of the gap.
const std::vector<int64_t> kPts = {0, 10, 11, 13, 14, 20};

TEST(MissingFacesTest, InterpolatesInTimeAndHoldsAtTheEnds) {
  const auto filled = FillMissingFaces(kGappy, kPts, NoFacePolicy::kInterpolate);

  ASSERT_TRUE(filled.ok()) << filled.status();
  EXPECT_THAT(Xs(*filled), ::testing::ElementsAre(1, 1, 2, 4, 5, 5));
  EXPECT_FLOAT_EQ(filled->landmarks[2][0].y, 4);
  EXPECT_FLOAT_EQ(filled->landmarks[2][0].z, -2);
  EXPECT_THAT(Noted(*filled), ::testing::ElementsAre(0, 2, 3, 5));
  EXPECT_THAT(filled->notes[1].note, HasSubstr("interpolated between frames 1 and 4"));
  EXPECT_THAT(filled->notes[0].note, HasSubstr("frame 1 held"));
}

TEST(MissingFacesTest, HoldsTheLastFace) {
  const auto filled = FillMissingFaces(kGappy, kPts, NoFacePolicy::kHold);

  ASSERT_TRUE(filled.ok()) << filled.status();
  EXPECT_THAT(Xs(*filled), ::testing::ElementsAre(1, 1, 1, 1, 5, 5));
  EXPECT_THAT(Noted(*filled), ::testing::ElementsAre(0, 2, 3, 5));
}

TEST(MissingFacesTest, FailNamesTheFrame) {
  const auto filled =
      FillMissingFaces({{Face(1), std::nullopt, Face(2)}}, {0, 1, 2}, NoFacePolicy::kFail);

  EXPECT_EQ(filled.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(filled.status().message()), HasSubstr("frame 1"));
}

TEST(MissingFacesTest, CompleteFacesPassUnchangedUnderEveryPolicy) {
  for (const NoFacePolicy policy :
       {NoFacePolicy::kInterpolate, NoFacePolicy::kHold, NoFacePolicy::kFail}) {
    const auto filled = FillMissingFaces({{Face(1), Face(2)}}, {0, 1}, policy);

    ASSERT_TRUE(filled.ok());
    EXPECT_THAT(Xs(*filled), ::testing::ElementsAre(1, 2));
    EXPECT_TRUE(filled->notes.empty());
  }
}

TEST(MissingFacesTest, NoFaceAtAllIsAnErrorUnderEveryPolicy) {
  for (const NoFacePolicy policy :
       {NoFacePolicy::kInterpolate, NoFacePolicy::kHold, NoFacePolicy::kFail}) {
    const auto filled = FillMissingFaces({{std::nullopt, std::nullopt}}, {0, 1}, policy);

    EXPECT_EQ(filled.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(filled.status().message()), HasSubstr("any of the 2 frames"));
    EXPECT_EQ(FillMissingFaces({}, {}, policy).status().code(), absl::StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace reenact
