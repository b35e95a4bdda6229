// Jobs driven by motion templates, which the engine makes itself: a template gives what its video
// gives. A real face drives a small network with random weights.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "pipeline/driving/motion_template.h"
#include "pipeline/reenactor/reenactor.h"
#include "tests/pipeline/driving/template_testing.h"
#include "tests/pipeline/media/media_testing.h"
#include "tests/pipeline/reenactor/random_model.h"
#include "tests/support/paths.h"

namespace reenact {
namespace {

namespace fs = std::filesystem;
using absl::StatusCode;
using ::testing::Contains;
using testing::FailsWith;
using ::testing::HasSubstr;
using testing::IsOk;

constexpr int kFrames = 14;

struct Result {
  absl::Status status;
  JobSummary summary;
  std::vector<Output> outputs;

  std::string Bytes() const {
    std::string all;
    for (const Output& output : outputs) all += output.data;
    return all;
  }
};

class MotionJobTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (testing::DataDir().empty()) return;
    folder_ = testing::WriteRandomModel("motion_job_test");
    ReenactorOptions options = testing::RandomModelOptions(folder_);
    options.max_driving_bytes = 4 << 20;
    options.max_frames = 400;
    auto engine = CreateReenactor(options);
    ASSERT_THAT(engine, IsOk());
    engine_ = engine->release();
    // Frames 5 and 6 show no face; with its sound, as long as the pictures.
    const testing::TemporaryFolder clips;
    testing::Ffmpeg(clips, "-i " + testing::DataDir() +
                               "/LivePortrait/driving/d18.mp4 -vf "
                               "\"scale=256:256,pad=320:256:32:0,drawbox=enable='between(n,5,6)':"
                               "color=gray:t=fill\" -frames:v " +
                               std::to_string(kFrames) +
                               " -shortest -c:v libx264 -crf 12 -c:a copy " + (clips / "a.mp4"));
    video_ = testing::ReadFile(clips / "a.mp4");
    const Made made = Extract({}, video_);
    ASSERT_THAT(made.status, IsOk());
    template_ = made.bytes;
    summary_ = made.summary;
  }
  static void TearDownTestSuite() {
    delete std::exchange(engine_, nullptr);
    if (!folder_.empty()) fs::remove_all(folder_);
  }
  void SetUp() override { REENACT_REQUIRE_DATA(); }

  struct Made {
    absl::Status status;
    std::string bytes;
    MotionSummary summary;
  };
  static Made Extract(const MotionRequest& request, const std::string& video) {
    Made made;
    auto extraction = engine_->ExtractMotion(request);
    made.status = extraction.status();
    if (!extraction.ok()) return made;
    made.status = (*extraction)->AddBytes(video);
    if (made.status.ok()) made.status = (*extraction)->Finish();
    auto reading = MotionExtraction::Reading::kMore;
    while (made.status.ok() && reading == MotionExtraction::Reading::kMore) {
      const auto read = (*extraction)->Read(&made.bytes);
      made.status = read.status();
      if (read.ok()) reading = *read;
    }
    if (made.status.ok()) made.summary = (*extraction)->Summary();
    return made;
  }

  static std::string Picture(const std::string& name) {
    return testing::ReadFile(testing::DataDir() + "/" + name);
  }
  static JobRequest Request(SequencePlan plan = SequencePlan::kCentralRandom,
                            OutputFormat format = OutputFormat::kRawRgb) {
    JobRequest request;
    request.source.image = Picture("scikit-image/astronaut.png");
    request.num_steps = 3;
    request.seed = 11;
    request.plan = plan;
    request.format = format;
    return request;
  }

  static Result Run(const JobRequest& request, const std::string& driving) {
    Result result;
    auto job = engine_->CreateJob(request);
    result.status = job.status();
    if (!job.ok()) return result;
    result.status = (*job)->AddDriving(driving);
    if (result.status.ok()) result.status = (*job)->FinishDriving();
    while (result.status.ok() && !(*job)->rendered()) {
      const auto prepared = (*job)->Prepare();
      result.status = prepared.status();
      if (!prepared.ok()) break;
      if (const int rows = (*job)->row_demand().max_rows; rows > 0) {
        result.status = engine_->Step(std::vector<StepShare>{{job->get(), rows}})[0];
      }
      while (result.status.ok() && (*job)->renderable()) {
        auto outputs = (*job)->Render();
        result.status = outputs.status();
        if (!outputs.ok()) break;
        for (Output& output : *outputs) result.outputs.push_back(std::move(output));
      }
    }
    if (result.status.ok()) result.summary = (*job)->Summary();
    return result;
  }

  static std::string folder_;
  static Engine* engine_;
  static std::string video_, template_;
  static MotionSummary summary_;
};

std::string MotionJobTest::folder_;
Engine* MotionJobTest::engine_ = nullptr;
std::string MotionJobTest::video_;
std::string MotionJobTest::template_;
MotionSummary MotionJobTest::summary_;

TEST_F(MotionJobTest, TheSummaryTellsWhatWasSeen) {
  EXPECT_EQ(summary_.frames, kFrames);
  EXPECT_EQ(summary_.frames_with_face, kFrames - 2);
  EXPECT_EQ(summary_.bytes_out, static_cast<int64_t>(template_.size()));
  EXPECT_TRUE(summary_.audio_copied);
  EXPECT_LT(template_.size(), kFrames * 2600 + 12000);  // its sound included
  auto reader = MotionTemplateReader::Open(template_, {});
  ASSERT_THAT(reader, IsOk());
  EXPECT_EQ((*reader)->info().landmark_model_sha256.size(), 64u);
}

TEST_F(MotionJobTest, ATemplateGivesWhatItsVideoGives) {
  for (const SequencePlan plan : {SequencePlan::kCentralRandom, SequencePlan::kContiguous}) {
    for (const NoFacePolicy policy : {NoFacePolicy::kInterpolate, NoFacePolicy::kHold}) {
      JobRequest request = Request(plan);
      request.no_face = policy;
      const Result by_video = Run(request, video_);
      ASSERT_THAT(by_video.status, IsOk());
      const Result by_template = Run(request, template_);
      ASSERT_THAT(by_template.status, IsOk());
      ASSERT_EQ(by_template.outputs.size(), by_video.outputs.size());
      int worst = 0;
      double mean = 0;
      for (size_t i = 0; i < by_video.outputs.size(); ++i) {
        EXPECT_EQ(by_template.outputs[i].pts, by_video.outputs[i].pts);
        EXPECT_EQ(by_template.outputs[i].time_base_num, by_video.outputs[i].time_base_num);
        EXPECT_EQ(by_template.outputs[i].time_base_den, by_video.outputs[i].time_base_den);
        const auto [largest, average] =
            testing::Difference(by_template.outputs[i].data, by_video.outputs[i].data);
        worst = std::max(worst, largest);
        mean = std::max(mean, average);
      }
      // Levels of 255: the rounding of landmarks is all that differs.
      EXPECT_LE(worst, 3);
      EXPECT_LT(mean, 0.1);
      std::printf("[ MEASURED ] pictures differ by %d levels at most, %.4f on average\n", worst,
                  mean);
      EXPECT_EQ(by_template.summary.frames_in, kFrames);
      EXPECT_EQ(by_template.summary.frames_out, kFrames);
      ASSERT_EQ(by_template.summary.frame_faces.size(), by_video.summary.frame_faces.size());
      for (size_t i = 0; i < by_video.summary.frame_faces.size(); ++i) {
        const FrameFace &face = by_template.summary.frame_faces[i],
                        &expected = by_video.summary.frame_faces[i];
        EXPECT_EQ(face.origin, expected.origin);
        EXPECT_EQ(face.confidence, expected.confidence);
        EXPECT_EQ(face.person, expected.person);
        EXPECT_EQ(face.cut, expected.cut);
      }
      ASSERT_EQ(by_template.summary.frame_notes.size(), by_video.summary.frame_notes.size());
      for (size_t i = 0; i < by_video.summary.frame_notes.size(); ++i) {
        EXPECT_EQ(by_template.summary.frame_notes[i].frame, by_video.summary.frame_notes[i].frame);
        EXPECT_EQ(by_template.summary.frame_notes[i].note, by_video.summary.frame_notes[i].note);
      }
    }
  }
}

TEST_F(MotionJobTest, TheSoundIsTheVideosBitByBit) {
  const JobRequest request = Request(SequencePlan::kContiguous, OutputFormat::kFragmentedMp4);
  const auto sound_of = [&](const std::string& driving) {
    const Result result = Run(request, driving);
    EXPECT_THAT(result.status, IsOk());
    EXPECT_TRUE(result.summary.audio_copied);
    auto reader = VideoReader::Open(result.Bytes());
    EXPECT_THAT(reader, IsOk());
    auto sound = (*reader)->ReadAudio();
    EXPECT_THAT(sound, IsOk());
    return *std::move(sound);
  };
  const AudioTrack expected = sound_of(video_), sound = sound_of(template_);
  ASSERT_FALSE(expected.packets.empty());
  ASSERT_EQ(sound.packets.size(), expected.packets.size());
  for (size_t i = 0; i < expected.packets.size(); ++i) {
    EXPECT_EQ(sound.packets[i].data, expected.packets[i].data);
    EXPECT_EQ(sound.packets[i].pts, expected.packets[i].pts);
  }
}

TEST_F(MotionJobTest, OneTemplateDrivesManySources) {
  std::string first;
  for (const char* name : {"scikit-image/astronaut.png", "hallo/reference_images/1.jpg"}) {
    JobRequest request = Request();
    request.source.image = Picture(name);
    const Result result = Run(request, template_);
    ASSERT_THAT(result.status, IsOk()) << name;
    EXPECT_EQ(result.summary.frames_out, kFrames);
    EXPECT_NE(result.Bytes(), first) << "each source has a face of its own";
    first = result.Bytes();
  }
  JobRequest text = Request();
  text.source = {};
  text.source.text = "an old man";
  EXPECT_THAT(Run(text, template_).status, IsOk());
}

TEST_F(MotionJobTest, ATemplateIsNotForSeveralFaces) {
  JobRequest request = Request();
  request.driver_face.by = FaceSelection::By::kIndex;
  EXPECT_THAT(Run(request, template_).status, FailsWith(StatusCode::kInvalidArgument,
                                                        "driver_face is set, must not be with a "
                                                        "motion template"));
  request = Request();
  FacePair pair;
  pair.source.image = Picture("hallo/reference_images/1.jpg");
  pair.driver_face.by = FaceSelection::By::kIndex;
  pair.driver_face.index = 1;
  request.further_faces = {pair};
  EXPECT_THAT(Run(request, template_).status,
              FailsWith(StatusCode::kInvalidArgument,
                        "further_faces has 1 entries, must have none with a motion template"));
}

TEST_F(MotionJobTest, SpoiltTemplatesAreRefused) {
  EXPECT_THAT(Run(Request(), template_.substr(0, template_.size() / 2)).status,
              FailsWith(StatusCode::kInvalidArgument, "motion template: it is cut off after"));
  std::string damaged = template_;
  damaged[damaged.size() - 5000] = static_cast<char>(damaged[damaged.size() - 5000] ^ 4);
  EXPECT_THAT(Run(Request(), damaged).status,
              FailsWith(StatusCode::kInvalidArgument, "motion template: "));
  testing::RawTemplate raw(template_);
  raw.frames[9].set_duration(0);
  EXPECT_THAT(Run(Request(SequencePlan::kContiguous), raw.Bytes()).status,
              FailsWith(StatusCode::kInvalidArgument, "frame 9: duration is 0"));
  EXPECT_THAT(
      Run(Request(), testing::WriteTemplate(testing::TestInfo(), testing::TestFrames(500))).status,
      FailsWith(StatusCode::kResourceExhausted, "more than 400 frames"));
  // A template without any face.
  auto frames = testing::TestFrames(3);
  for (auto& frame : frames) frame.face.landmarks.reset();
  EXPECT_THAT(Run(Request(), testing::WriteTemplate(testing::TestInfo(), frames)).status,
              FailsWith(StatusCode::kInvalidArgument, "no face found in any of the 3 frames"));
  JobRequest strict = Request();
  strict.no_face = NoFacePolicy::kFail;
  EXPECT_THAT(Run(strict, template_).status,
              FailsWith(StatusCode::kInvalidArgument, "no face found in frame 5"));
}

TEST_F(MotionJobTest, AStillPictureDrives) {
  const std::string still = Picture("hallo/reference_images/1.jpg");
  for (const SequencePlan plan : {SequencePlan::kCentralRandom, SequencePlan::kContiguous}) {
    const Result result = Run(Request(plan), still);
    ASSERT_THAT(result.status, IsOk());
    ASSERT_EQ(result.outputs.size(), 1u);
    EXPECT_EQ(result.outputs[0].pts, 0);
    EXPECT_EQ(result.summary.frames_out, 1);
    EXPECT_THAT(result.summary.notes, Contains(HasSubstr("one frame of 40 ms")));
  }
  const Result video =
      Run(Request(SequencePlan::kCentralRandom, OutputFormat::kFragmentedMp4), still);
  ASSERT_THAT(video.status, IsOk());
  const testing::Clip clip = testing::ReadClip(video.Bytes());
  EXPECT_THAT(clip.end, IsOk());
  ASSERT_EQ(clip.frames.size(), 1u);
  EXPECT_EQ(clip.frames[0].duration * clip.info.time_base_num * 25, clip.info.time_base_den);
  EXPECT_THAT(Run(Request(), Picture("scikit-image/coffee.png")).status,
              FailsWith(StatusCode::kInvalidArgument, "no face found in any of the 1 frames"));
}

TEST_F(MotionJobTest, ExtractionsAreRefusedForTheSameReasonsAsJobs) {
  MotionRequest request;
  request.driver_face.by = FaceSelection::By::kReference;
  request.driver_face.reference_image = "no picture";
  EXPECT_THAT(Extract(request, video_).status,
              FailsWith(StatusCode::kInvalidArgument, "driver_face.reference_image: "));
  request.driver_face.reference_image = Picture("scikit-image/coffee.png");
  EXPECT_THAT(Extract(request, video_).status,
              FailsWith(StatusCode::kFailedPrecondition, "driver_face.reference_image: "));
  EXPECT_THAT(Extract({}, "no video").status,
              FailsWith(StatusCode::kInvalidArgument, "driving video: "));
  EXPECT_THAT(Extract({}, std::string(5 << 20, 'x')).status,
              FailsWith(StatusCode::kResourceExhausted, "larger than 4194304 bytes"));
  EXPECT_THAT(Extract({}, template_).status,
              FailsWith(StatusCode::kInvalidArgument, "is a motion template already"));
}

}  // namespace
}  // namespace reenact
