// For tests that look for faces: the landmark models that scripts/setup.sh fetches.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <utility>

#include "pipeline/face/face_landmarker.h"
#include "tests/support/paths.h"

namespace reenact::testing {

// Skips its tests where the models are not there; in CI they fail.
class FaceModelTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::filesystem::path folder = FolderFrom("REENACT_FACE_MODELS", {".deps/mediapipe"});
    const std::filesystem::path detector = folder / "face_detection_short_range.tflite",
                                landmarks = folder / "face_landmark_with_attention.tflite";
    if (folder.empty() || !std::filesystem::exists(detector) ||
        !std::filesystem::exists(landmarks)) {
      if (MustHaveData()) FAIL() << "the face models are not there";
      GTEST_SKIP() << "the face models are not there";
    }
    models_ = {.detector = ReadFile(detector), .landmark_model = ReadFile(landmarks)};
    auto landmarker = FaceLandmarker::Create(models_);
    ASSERT_TRUE(landmarker.ok()) << landmarker.status();
    landmarker_ = *std::move(landmarker);
  }

  FaceLandmarker::Options models_;
  std::unique_ptr<FaceLandmarker> landmarker_;
};

}  // namespace reenact::testing
