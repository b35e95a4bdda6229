// Motion templates through the whole service: extracted over gRPC from real footage, then driving
// several people.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "tests/e2e/reenactd_under_test.h"
#include "tests/e2e/whole_jobs.h"

namespace reenact::testing {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;

constexpr int kFrames = 16;
constexpr int kSteps = 2;

class MotionTemplateTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (DataDir().empty()) return;
    folder_ = new TemporaryFolder;
    // Its sound ends with the pictures.
    OutputOf({"ffmpeg", "-v", "error", "-i", DataDir() + "/LivePortrait/driving/d18.mp4",
              "-frames:v", absl::StrCat(kFrames), "-shortest", "-c:v", "libx264", "-c:a", "copy",
              Clip()});
    auto server = ReenactdUnderTest::Start({});
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = server->release();
    ASSERT_TRUE(server_->FindMetrics()) << server_->Log();
    // By the program, as a user would.
    const std::string told = OutputOf({REENACT_PROGRAM, "extract-motion", "--driving", Clip(),
                                       "--out", Motion(), "--server", server_->target(), "--json"});
    const auto summary = nlohmann::json::parse(told)["summary"];
    EXPECT_EQ(summary["frames"], absl::StrCat(kFrames));
    EXPECT_EQ(summary["frames_with_face"], absl::StrCat(kFrames));
    EXPECT_EQ(summary["bytes_out"], absl::StrCat(ReadFile(Motion()).size()));
    EXPECT_EQ(summary["audio_copied"], true);
  }
  static void TearDownTestSuite() {
    delete std::exchange(server_, nullptr);
    delete std::exchange(folder_, nullptr);
  }
  void SetUp() override {
    REENACT_REQUIRE_DATA();
    ASSERT_NE(server_, nullptr) << "reenactd did not start";
  }
  void TearDown() override {
    if (server_ != nullptr) {
      EXPECT_TRUE(server_->Running()) << server_->Log();
    }
  }

  static std::string Clip() { return folder_->File("clip.mp4"); }
  static std::string Motion() { return folder_->File("clip.motion"); }
  static std::string Data(const std::string& name) { return DataDir() + "/" + name; }

  static v1::JobConfig Config(const std::string& picture) {
    v1::JobConfig config;
    config.mutable_source()->set_image(ReadFile(Data(picture)));
    config.set_num_steps(kSteps);
    return config;
  }
  static Outcome RunJob(v1::JobConfig config, const std::string& driving) {
    return ReadAll(*server_->client().Start(std::move(config), MediaFromBytes(driving), {}));
  }

  static TemporaryFolder* folder_;
  static ReenactdUnderTest* server_;
};

TemporaryFolder* MotionTemplateTest::folder_ = nullptr;
ReenactdUnderTest* MotionTemplateTest::server_ = nullptr;

TEST_F(MotionTemplateTest, OneTemplateDrivesTwoSources) {
  const std::string out = folder_->File("out.mp4"), by_video = folder_->File("by_video.mp4");
  std::string first;
  for (const char* picture : {"hallo/reference_images/1.jpg", "hallo/reference_images/4.jpg"}) {
    const Outcome outcome = RunJob(Config(picture), ReadFile(Motion()));
    ASSERT_TRUE(outcome.status.ok()) << outcome.status;
    std::ofstream(out, std::ios::binary) << outcome.video;
    const Outcome expected = RunJob(Config(picture), ReadFile(Clip()));
    ASSERT_TRUE(expected.status.ok()) << expected.status;
    std::ofstream(by_video, std::ios::binary) << expected.video;

    EXPECT_EQ(outcome.summary.frames_in(), kFrames);
    EXPECT_EQ(outcome.summary.frames_out(), kFrames);
    EXPECT_TRUE(outcome.summary.audio_copied());
    EXPECT_EQ(FrameTimes(out), FrameTimes(by_video));
    EXPECT_EQ(FrameTimes(out), FrameTimes(Clip()));
    EXPECT_EQ(SoundMd5(out), SoundMd5(by_video));
    EXPECT_EQ(SoundMd5(out), SoundMd5(Clip()));
    EXPECT_EQ(outcome.summary.frame_faces().SerializeAsString(),
              expected.summary.frame_faces().SerializeAsString());
    EXPECT_NE(outcome.video, first) << "two people, two videos";
    first = outcome.video;
  }
}

TEST_F(MotionTemplateTest, TheProgramDrivesByIt) {
  const std::string out = folder_->File("tool.mp4");
  OutputOf({REENACT_PROGRAM, "run", "--source", Data("hallo/reference_images/1.jpg"), "--driving",
            Motion(), "--out", out, "--plan", "contiguous", "--steps", absl::StrCat(kSteps),
            "--server", server_->target()});
  EXPECT_EQ(FrameTimes(out), FrameTimes(Clip()));
  EXPECT_EQ(SoundMd5(out), SoundMd5(Clip()));
}

TEST_F(MotionTemplateTest, SpoiltTemplatesAreToldWhy) {
  const std::string motion = ReadFile(Motion());
  const Outcome cut = RunJob(Config("hallo/reference_images/1.jpg"), motion.substr(0, 20000));
  EXPECT_EQ(cut.status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(cut.status.message()), HasSubstr("motion template: it is cut off after"));

  std::string damaged = motion;
  damaged[damaged.size() - 4000] = static_cast<char>(damaged[damaged.size() - 4000] ^ 1);
  const Outcome bad = RunJob(Config("hallo/reference_images/1.jpg"), damaged);
  EXPECT_EQ(bad.status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(bad.status.message()), HasSubstr("motion template: "));

  v1::JobConfig chosen = Config("hallo/reference_images/1.jpg");
  chosen.mutable_driver_face()->set_index(1);
  const Outcome refused = RunJob(chosen, motion);
  EXPECT_EQ(refused.status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(refused.status.message()),
              AllOf(HasSubstr("driver_face is set"), HasSubstr("motion template")));
}

TEST_F(MotionTemplateTest, BadMediaIsToldWhy) {
  const auto extract = [](const std::string& media) {
    auto stream = server_->client().ExtractMotion({}, MediaFromBytes(media), {});
    while (true) {
      auto chunk = stream->Next();
      if (!chunk.ok() || !chunk->has_value()) return chunk.status();
    }
  };
  const absl::Status text = extract("this is no video");
  EXPECT_EQ(text.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(text.message()), HasSubstr("driving video"));
  const absl::Status cup = extract(ReadFile(Data("scikit-image/coffee.png")));
  EXPECT_EQ(cup.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(cup.message()), HasSubstr("no face found in any of the 1 frames"));
  EXPECT_TRUE(extract(ReadFile(Clip())).ok());
}

TEST_F(MotionTemplateTest, AStillPictureDrives) {
  const Outcome outcome =
      RunJob(Config("hallo/reference_images/1.jpg"), ReadFile(Data("scikit-image/astronaut.png")));
  ASSERT_TRUE(outcome.status.ok()) << outcome.status;
  EXPECT_EQ(outcome.summary.frames_out(), 1);
  EXPECT_THAT(outcome.summary.notes(), Contains(HasSubstr("one frame of 40 ms")));
  const std::string out = folder_->File("still.mp4");
  std::ofstream(out, std::ios::binary) << outcome.video;
  EXPECT_EQ(FrameTimes(out).size(), 1u);
}

TEST_F(MotionTemplateTest, MetricsCountIt) {
  EXPECT_GE(server_->Metric("reenact_extracted_frames_total"), kFrames);
  EXPECT_GE(server_->Metric("reenact_template_bytes_total"),
            static_cast<double>(ReadFile(Motion()).size()));
  EXPECT_EQ(server_->Metric("reenact_extractions_live"), 0);
}

}  // namespace
}  // namespace reenact::testing
