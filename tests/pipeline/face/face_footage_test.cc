// Cuts and tracking on recorded people, whom drawn ones stand in for elsewhere.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "pipeline/face/crop.h"
#include "pipeline/face/face_landmarker.h"
#include "pipeline/face/face_tracker.h"
#include "pipeline/face/scene_cut.h"
#include "pipeline/media/video_reader.h"
#include "tests/support/paths.h"

namespace reenact {
namespace {

class FaceFootageTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::filesystem::path models =
        testing::FolderFrom("REENACT_FACE_MODELS", {".deps/mediapipe"});
    const std::filesystem::path detector = models / "face_detection_short_range.tflite",
                                landmarks = models / "face_landmark_with_attention.tflite";
    const std::string data = testing::DataDir();
    for (const char* folder : {"driving", "source_video"}) {
      const std::string path = data + "/LivePortrait/" + folder;
      for (const std::string& file : testing::FilesWithPrefix(path, "", ".mp4")) {
        files_.push_back(file);
      }
    }
    if (data.empty() || files_.size() < 4 || !std::filesystem::exists(detector) ||
        !std::filesystem::exists(landmarks)) {
      if (testing::MustHaveData()) FAIL() << "the face models or the footage are not there";
      GTEST_SKIP() << "the face models or the footage are not there";
    }
    auto landmarker = FaceLandmarker::Create(
        {.detector = testing::ReadFile(detector), .landmark_model = testing::ReadFile(landmarks)});
    ASSERT_TRUE(landmarker.ok()) << landmarker.status();
    landmarker_ = *std::move(landmarker);
  }

  // The first frames of a video, the middle square of each at one size.
  static std::vector<Image> Read(const std::string& file, size_t max_frames) {
    std::vector<Image> frames;
    auto reader = VideoReader::Open(testing::ReadFile(file));
    EXPECT_TRUE(reader.ok()) << file << ": " << reader.status();
    while (reader.ok() && frames.size() < max_frames) {
      auto frame = (*reader)->Next();
      if (!frame.ok() || !frame->has_value()) break;
      const Image& image = (*frame)->image;
      frames.push_back(CropImage(image,
                                 {image.width / 2.0, image.height / 2.0,
                                  static_cast<double>(std::min(image.width, image.height))},
                                 384));
    }
    return frames;
  }

  std::vector<std::string> files_;
  std::unique_ptr<FaceLandmarker> landmarker_;
};

TEST_F(FaceFootageTest, UncutFootageHasNoCuts) {
  for (const std::string& file : files_) {
    SceneCutDetector detector;
    int cuts = 0;
    for (const Image& frame : Read(file, 120)) cuts += detector.Next(frame) ? 1 : 0;
    EXPECT_EQ(cuts, 0) << file;
  }
}

TEST_F(FaceFootageTest, AFaceIsFoundInTheFirstFrameAfterACutAndTheFirstPersonKnownAgain) {
  constexpr size_t kFrames = 10;
  FaceTracker tracker({}, *landmarker_);
  bool first = true;
  for (size_t i = 1; i < files_.size(); ++i) {
    // There and back again.
    for (const std::string& file : {files_[0], files_[i]}) {
      const std::vector<Image> frames = Read(file, kFrames);
      for (size_t k = 0; k < frames.size(); ++k) {
        const auto frame = tracker.Next(frames[k]);
        ASSERT_TRUE(frame.ok()) << frame.status();
        EXPECT_EQ(frame->cut, k == 0 && !first) << file << " " << k;
        first = false;
        EXPECT_TRUE(frame->faces[0].landmarks.has_value()) << file << " " << k;
        if (file == files_[0]) {
          EXPECT_EQ(frame->faces[0].person, 0) << k;
        } else {
          EXPECT_NE(frame->faces[0].person, 0) << file << " " << k;
        }
      }
    }
  }
}

TEST_F(FaceFootageTest, TheTrackerHasTheNumbersOfTrack) {
  for (const std::string& file : files_) {
    FaceTracker tracker({}, *landmarker_);
    landmarker_->Reset();
    for (const Image& image : Read(file, 40)) {
      const auto expected = landmarker_->Track(image);
      const auto frame = tracker.Next(image);
      ASSERT_TRUE(expected.ok() && frame.ok());
      ASSERT_EQ((*expected).has_value(), frame->faces[0].landmarks.has_value());
      if (!expected->has_value()) continue;
      const Landmarks& a = (*expected)->landmarks;
      const Landmarks& b = *frame->faces[0].landmarks;
      ASSERT_TRUE(std::equal(a.begin(), a.end(), b.begin(), [](const Point3& p, const Point3& q) {
        return p.x == q.x && p.y == q.y && p.z == q.z;
      })) << file;
    }
  }
}

}  // namespace
}  // namespace reenact
