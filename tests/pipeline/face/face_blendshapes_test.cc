// The blendshape network against MediaPipe's own test of it: its landmarks in, its scores out.
#include "pipeline/face/face_blendshapes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <regex>
#include <string>
#include <vector>

#include "tests/pipeline/face/tflite_writer.h"
#include "tests/support/paths.h"

namespace reenact {
namespace {

using ::testing::HasSubstr;

// Of the picture the landmarks are from.
constexpr int kWidth = 820, kHeight = 1024;

std::string DataFile(const std::string& name) {
  return testing::ReadFile(testing::DataDir() + "/mediapipe/" + name);
}

// All values of `field` in a text proto.
std::vector<std::string> Values(const std::string& text, const std::string& field) {
  const std::regex pattern("\\b" + field + ": \"?([^\\s\"]+)");
  std::vector<std::string> values;
  for (auto it = std::sregex_iterator(text.begin(), text.end(), pattern);
       it != std::sregex_iterator(); ++it) {
    values.push_back((*it)[1]);
  }
  return values;
}

TEST(FaceBlendshapes, GivesMediaPipesScores) {
  REENACT_REQUIRE_DATA();
  const std::string bundle = DataFile("face_landmarker_v2_with_blendshapes.task");
  const std::string in = DataFile("face_blendshapes_in_landmarks.prototxt");
  const std::string out = DataFile("face_blendshapes_out.prototxt");
  if (bundle.empty() || in.empty() || out.empty()) {
    GTEST_SKIP() << "mediapipe/ of REENACT_DATA_DIR has not MediaPipe's test of the network";
  }
  const auto xs = Values(in, "x"), ys = Values(in, "y");
  ASSERT_EQ(xs.size(), size_t{kNumLandmarks});
  ASSERT_EQ(ys.size(), size_t{kNumLandmarks});
  Landmarks landmarks;
  for (size_t i = 0; i < landmarks.size(); ++i) {
    landmarks[i] = {std::stof(xs[i]), std::stof(ys[i]), 0};
  }
  const auto labels = Values(out, "label"), scores = Values(out, "score");
  ASSERT_EQ(labels.size(), size_t{kNumBlendshapes});
  ASSERT_EQ(scores.size(), size_t{kNumBlendshapes});

  auto shapes = FaceBlendshapes::Create(bundle);
  ASSERT_TRUE(shapes.ok()) << shapes.status();
  const std::vector<float> actual = shapes->Run(landmarks, kWidth, kHeight);
  ASSERT_EQ(actual.size(), size_t{kNumBlendshapes});
  double worst = 0;
  for (size_t i = 0; i < actual.size(); ++i) {
    EXPECT_EQ(labels[i], kBlendshapeNames[i]);
    const double difference = std::abs(actual[i] - std::stod(scores[i]));
    EXPECT_LT(difference, 0.01) << labels[i];
    worst = std::max(worst, difference);
  }
  std::printf("[ MEASURED ] worst blendshape difference to MediaPipe's %.5f\n", worst);
}

TEST(FaceBlendshapes, RefusesOtherNetworks) {
  testing::TfliteWriter w;
  const int x = w.Input({1, 4, 4, 3});
  w.Output(w.Op(/*ADD*/ 0, {x, x}, {1, 4, 4, 3}));
  const auto other = FaceBlendshapes::Create(w.Write());
  EXPECT_EQ(other.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(other.status().message()), HasSubstr("52 numbers of 146 points"));
  EXPECT_EQ(FaceBlendshapes::Create("no network").status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(FaceBlendshapes::Create("").status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace reenact
