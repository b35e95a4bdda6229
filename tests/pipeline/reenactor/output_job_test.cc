// What leaves a job: posters, mattes, and source videos whose faces are replaced. Synthetic people
// drive each other through a small network with random weights.
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

#include "pipeline/media/image_codec.h"
#include "pipeline/media/video_reader.h"
#include "pipeline/media/video_writer.h"
#include "pipeline/reenactor/reenactor.h"
#include "tests/pipeline/reenactor/random_model.h"
#include "tests/support/encode_clip.h"
#include "tests/support/paths.h"
#include "training/people/people.h"

namespace reenact {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr int kFrames = 9;
constexpr int kModelSide = 64;
constexpr int kPersonSide = 160;
constexpr int kWidth = 240, kHeight = 160;  // of the source video

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

std::string Video(const std::vector<Image>& images, int ticks_per_frame) {
  VideoWriter::Options options;
  options.codec = VideoCodec::kLossless;
  options.time_base_den = 1000;
  return testing::EncodeClip(std::move(options), images,
                             testing::EvenTimes(images.size(), ticks_per_frame));
}

class OutputJobTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    const fs::path models = testing::FolderFrom("REENACT_FACE_MODELS", {".deps/mediapipe"});
    if (models.empty() || !fs::exists(models / "face_detection_short_range.tflite")) return;
    folder_ = testing::WriteRandomModel("output_job_test");
    ReenactorOptions options;
    options.bundles = {folder_};
    options.face_models = models.string();
    options.num_threads = 1;
    auto engine = CreateReenactor(options);
    ASSERT_TRUE(engine.ok()) << engine.status();
    engine_ = engine->release();

    const PersonRenderer driver(MakePerson(7)), source(MakePerson(40));
    const std::vector<FaceState> motion = MakeClip(5, kFrames, 25);
    driver_frames_.clear();
    source_frames_.clear();
    for (int i = 0; i < kFrames; ++i) {
      driver_frames_.push_back(driver.Draw(motion[i], kPersonSide, 1).image);
      // He wanders to the right.
      const Image person = source.Draw(FaceState{}, kPersonSide, 1).image;
      Image frame{kWidth, kHeight, std::vector<uint8_t>(size_t{kWidth} * kHeight * 3, 110)};
      for (int y = 0; y < kHeight; ++y) {
        std::copy_n(person.row(y), 3 * kPersonSide, frame.row(y) + 3 * (20 + 4 * i));
      }
      source_frames_.push_back(std::move(frame));
    }
    driving_ = Video(driver_frames_, 40);
    portrait_ = *EncodePng(source_frames_[0]);
  }
  static void TearDownTestSuite() {
    delete engine_;
    engine_ = nullptr;
    if (!folder_.empty()) fs::remove_all(folder_);
  }
  void SetUp() override {
    if (engine_ != nullptr) return;
    if (testing::MustHaveData()) FAIL() << "the face models are not there";
    GTEST_SKIP() << "the face models are not there";
  }

  static JobRequest Request(OutputFormat format = OutputFormat::kRawRgb) {
    JobRequest request;
    request.source.image = portrait_;
    request.num_steps = 2;
    request.seed = 4;
    request.format = format;
    return request;
  }
  static JobRequest VideoRequest(const std::string& video) {
    JobRequest request = Request();
    request.source.image.clear();
    request.source.video = video;
    return request;
  }

  // Prepares, steps and renders until nothing moves.
  static absl::Status RunOut(EngineJob& job, std::vector<Output>* outputs) {
    for (int turn = 0; turn < 10'000; ++turn) {
      while (true) {
        const auto prepared = job.Prepare();
        if (!prepared.ok()) return prepared.status();
        if (*prepared != EngineJob::Preparation::kMore) break;
      }
      const int num_rows = job.row_demand().max_rows;
      if (num_rows > 0) {
        const auto statuses = engine_->Step({{StepShare{.job = &job, .num_rows = num_rows}}});
        if (!statuses[0].ok()) return statuses[0];
      }
      const bool renderable = job.renderable();
      while (job.renderable()) {
        auto more = job.Render();
        if (!more.ok()) return more.status();
        for (Output& output : *more) outputs->push_back(std::move(output));
      }
      if (num_rows == 0 && !renderable) return absl::OkStatus();
    }
    return absl::InternalError("it does not end");
  }

  static Result Run(const JobRequest& request, const std::string& driving) {
    Result result;
    auto job = engine_->CreateJob(request);
    result.status = job.status();
    if (!job.ok()) return result;
    // In two parts: the first is there before a source video has been read.
    result.status.Update((*job)->AddDriving(driving.substr(0, 1000)));
    (void)(*job)->Prepare();
    result.status.Update((*job)->AddDriving(driving.substr(1000)));
    result.status.Update((*job)->FinishDriving());
    result.status.Update(RunOut(**job, &result.outputs));
    if (!result.status.ok()) return result;
    EXPECT_TRUE((*job)->rendered());
    result.summary = (*job)->Summary();
    EXPECT_EQ(result.summary.frames_out, result.summary.frames_in);
    EXPECT_EQ(result.summary.bytes_out, static_cast<int64_t>(result.Bytes().size()));
    return result;
  }
  static Result Run(const JobRequest& request) {
    Result result = Run(request, driving_);
    EXPECT_TRUE(result.status.ok()) << result.status;
    return result;
  }

  static uint8_t At(const Output& output, size_t i) { return static_cast<uint8_t>(output.data[i]); }

  static std::string folder_;
  static Engine* engine_;
  static std::vector<Image> driver_frames_, source_frames_;
  static std::string driving_, portrait_;
};

std::string OutputJobTest::folder_;
Engine* OutputJobTest::engine_ = nullptr;
std::vector<Image> OutputJobTest::driver_frames_, OutputJobTest::source_frames_;
std::string OutputJobTest::driving_, OutputJobTest::portrait_;

TEST_F(OutputJobTest, ThePosterComesBeforeTheFirstFrame) {
  for (const OutputFormat format :
       {OutputFormat::kFragmentedMp4, OutputFormat::kJpeg, OutputFormat::kRawRgb}) {
    JobRequest request = Request(format);
    const Result plain = Run(request);
    request.poster = true;
    const Result result = Run(request);
    ASSERT_GT(result.outputs.size(), 1u);
    const Output& poster = result.outputs[0];
    ASSERT_EQ(poster.kind, Output::Kind::kPoster);
    EXPECT_EQ(poster.width, kModelSide);
    EXPECT_EQ(poster.height, kModelSide);
    const auto shown = DecodeImage(poster.data);
    ASSERT_TRUE(shown.ok()) << shown.status();
    EXPECT_EQ(shown->width, kModelSide);
    EXPECT_EQ(result.Bytes(), poster.data + plain.Bytes()) << "nothing else changes";
    EXPECT_EQ(result.outputs.size(), plain.outputs.size() + 1);
  }
}

TEST_F(OutputJobTest, TheMatteOfASquareIsTheHead) {
  JobRequest request = Request();
  const Result plain = Run(request);
  request.matte = Matte::kAlpha;
  const Result result = Run(request);
  ASSERT_EQ(result.outputs.size(), size_t{kFrames});
  for (int i = 0; i < kFrames; ++i) {
    const Output& output = result.outputs[i];
    EXPECT_EQ(output.width, kModelSide);
    EXPECT_EQ(output.height, kModelSide);
    ASSERT_EQ(output.data.size(), size_t{4} * kModelSide * kModelSide);
    int inside = 0, outside = 0;
    for (size_t p = 0; p < size_t{kModelSide} * kModelSide; ++p) {
      for (size_t c = 0; c < 3; ++c) {
        ASSERT_EQ(output.data[4 * p + c], plain.outputs[i].data[3 * p + c]);
      }
      inside += At(output, 4 * p + 3) == 255 ? 1 : 0;
      outside += At(output, 4 * p + 3) == 0 ? 1 : 0;
    }
    EXPECT_GT(inside, kModelSide * kModelSide / 10);
    EXPECT_GT(outside, kModelSide * kModelSide / 20);
    // The middle is the face, the corners are not.
    EXPECT_EQ(At(output, 4 * (size_t{kModelSide} * kModelSide / 2 + kModelSide / 2) + 3), 255);
    EXPECT_EQ(At(output, 3), 0);
    EXPECT_EQ(At(output, output.data.size() - 1), 0);
  }
}

TEST_F(OutputJobTest, TheMatteBelowIsOfTheSameSize) {
  for (const OutputFormat format :
       {OutputFormat::kJpeg, OutputFormat::kPng, OutputFormat::kFragmentedMp4}) {
    JobRequest request = Request(format);
    request.matte = Matte::kBelow;
    request.output_size = 96;
    const Result result = Run(request);
    if (format == OutputFormat::kFragmentedMp4) {
      const auto reader = VideoReader::Open(result.Bytes());
      ASSERT_TRUE(reader.ok()) << reader.status();
      EXPECT_EQ((*reader)->info().width, 96);
      EXPECT_EQ((*reader)->info().height, 192);
      continue;
    }
    for (const Output& output : result.outputs) {
      EXPECT_EQ(output.width, 96);
      EXPECT_EQ(output.height, 192);
      const auto image = DecodeImage(output.data);
      ASSERT_TRUE(image.ok()) << image.status();
      EXPECT_EQ(image->width, 96);
      EXPECT_EQ(image->height, 192);
      EXPECT_EQ(image->row(144)[3 * 48], 255);
      EXPECT_LT(image->row(190)[0], 8);
    }
  }
}

TEST_F(OutputJobTest, TheMatteOfAWholePictureIsWhatWasPutBack) {
  JobRequest request = Request();
  request.composition = Composition::kPasteBack;
  const Result plain = Run(request);
  request.matte = Matte::kAlpha;
  const Result result = Run(request);
  ASSERT_EQ(result.outputs.size(), size_t{kFrames});
  for (int i = 0; i < kFrames; ++i) {
    const Output& output = result.outputs[i];
    EXPECT_EQ(output.width, kWidth);
    EXPECT_EQ(output.height, kHeight);
    int full = 0;
    for (size_t p = 0; p < size_t{kWidth} * kHeight; ++p) {
      const uint8_t level = At(output, 4 * p + 3);
      full += level == 255 ? 1 : 0;
      for (size_t c = 0; c < 3; ++c) {
        ASSERT_EQ(output.data[4 * p + c], plain.outputs[i].data[3 * p + c]);
        if (level == 0) {
          ASSERT_EQ(At(output, 4 * p + c), source_frames_[0].rgb[3 * p + c]);
        }
      }
    }
    EXPECT_GT(full, 1000);
  }
}

TEST_F(OutputJobTest, ASourceVideoIsLikeThePictureOfItsBestFrame) {
  const Result result = Run(VideoRequest(Video(source_frames_, 40)));
  ASSERT_EQ(result.outputs.size(), size_t{kFrames});
  EXPECT_EQ(result.outputs[0].width, kModelSide);
  ASSERT_FALSE(result.summary.notes.empty());
  int best = -1;
  for (const std::string& note : result.summary.notes) {
    (void)std::sscanf(note.c_str(), "the source is taken from frame %d", &best);
  }
  ASSERT_GE(best, 0);
  ASSERT_LT(best, kFrames);
  // All frames show him alike, so tracking finds him where detection does, nearly.
  JobRequest request = Request();
  request.source.image = *EncodePng(source_frames_[static_cast<size_t>(best)]);
  const Result picture = Run(request);
  int64_t sum = 0;
  const std::string a = result.Bytes(), b = picture.Bytes();
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    sum += std::abs(static_cast<uint8_t>(a[i]) - static_cast<uint8_t>(b[i]));
  }
  EXPECT_LT(static_cast<double>(sum) / static_cast<double>(a.size()), 3);
}

TEST_F(OutputJobTest, AFaceIsPutBackIntoTheFrameShownAtItsTime) {
  // Half as many frames a second, so each is shown twice.
  JobRequest request = VideoRequest(Video(source_frames_, 80));
  request.composition = Composition::kPasteBack;
  request.matte = Matte::kAlpha;
  for (const OutputFormat format : {OutputFormat::kRawRgb, OutputFormat::kPng}) {
    request.format = format;
    const Result result = Run(request);
    ASSERT_EQ(result.outputs.size(), size_t{kFrames});
    for (int i = 0; i < kFrames; ++i) {
      const Output& output = result.outputs[i];
      EXPECT_EQ(output.width, kWidth);
      EXPECT_EQ(output.height, kHeight);
      if (format == OutputFormat::kPng) continue;
      const Image& shown = source_frames_[static_cast<size_t>(i / 2)];
      int same = 0, changed = 0;
      for (size_t p = 0; p < size_t{kWidth} * kHeight; ++p) {
        const bool equal = At(output, 4 * p) == shown.rgb[3 * p] &&
                           At(output, 4 * p + 1) == shown.rgb[3 * p + 1] &&
                           At(output, 4 * p + 2) == shown.rgb[3 * p + 2];
        if (At(output, 4 * p + 3) == 0) {
          ASSERT_TRUE(equal) << "frame " << i << ", pixel " << p;
        }
        ++(equal ? same : changed);
      }
      EXPECT_GT(changed, 1000) << i;
      EXPECT_GT(same, kWidth * kHeight / 10) << i;
    }
  }
}

TEST_F(OutputJobTest, AShortSourceVideoRunsBackAndForth) {
  JobRequest request =
      VideoRequest(Video({source_frames_[0], source_frames_[1], source_frames_[2]}, 40));
  request.composition = Composition::kPasteBack;
  request.matte = Matte::kAlpha;
  const Result result = Run(request);
  ASSERT_EQ(result.outputs.size(), size_t{kFrames});
  const int shown[kFrames] = {0, 1, 2, 2, 1, 0, 0, 1, 2};
  for (int i = 0; i < kFrames; ++i) {
    const Output& output = result.outputs[i];
    int num_equal[3] = {}, num_outside = 0;
    for (size_t p = 0; p < size_t{kWidth} * kHeight; ++p) {
      if (At(output, 4 * p + 3) != 0) continue;  // changed
      ++num_outside;
      for (int f = 0; f < 3; ++f) {
        const std::vector<uint8_t>& rgb = source_frames_[static_cast<size_t>(f)].rgb;
        num_equal[f] += At(output, 4 * p) == rgb[3 * p] &&
                        At(output, 4 * p + 1) == rgb[3 * p + 1] &&
                        At(output, 4 * p + 2) == rgb[3 * p + 2];
      }
    }
    EXPECT_GT(num_outside, 0);
    for (int f = 0; f < 3; ++f) {
      EXPECT_EQ(num_equal[f] == num_outside, f == shown[i]) << "frame " << i << ", " << f;
    }
  }
}

TEST_F(OutputJobTest, BadSourceVideosAreNamed) {
  const auto error = [](const std::string& video) {
    return Run(VideoRequest(video), driving_).status;
  };
  absl::Status status = error("no video at all");
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("source.video: "));

  const Image empty{kWidth, kHeight, std::vector<uint8_t>(size_t{kWidth} * kHeight * 3, 110)};
  status = error(Video({empty, empty}, 40));
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("source.video: no face found"));

  JobRequest both = VideoRequest(Video(source_frames_, 40));
  both.source.image = portrait_;
  status = Run(both, driving_).status;
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("source.video is set"));

  std::string cut = Video(source_frames_, 40);
  cut.resize(cut.size() / 2);
  EXPECT_EQ(error(cut).code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(OutputJobTest, AJobMayBeLeftWhileItsPicturesAreEncoded) {
  for (const int renders : {0, 1}) {
    JobRequest request = Request(OutputFormat::kFragmentedMp4);
    request.plan = SequencePlan::kContiguous;
    auto job = engine_->CreateJob(request);
    ASSERT_TRUE(job.ok());
    ASSERT_TRUE((*job)->AddDriving(driving_).ok());
    ASSERT_TRUE((*job)->FinishDriving().ok());
    for (int i = 0; i < 100 && !(*job)->renderable(); ++i) {
      ASSERT_TRUE((*job)->Prepare().ok());
      const int num_rows = (*job)->row_demand().max_rows;
      if (num_rows == 0) continue;
      ASSERT_TRUE(engine_->Step({{StepShare{.job = job->get(), .num_rows = num_rows}}})[0].ok());
    }
    ASSERT_TRUE((*job)->renderable());
    for (int i = 0; i < renders; ++i) ASSERT_TRUE((*job)->Render().ok());
    (*job)->Cancel();
    if (renders == 0) {
      EXPECT_EQ((*job)->Render().status().code(), absl::StatusCode::kCancelled);
    }
  }
}

TEST_F(OutputJobTest, ALivePictureDoesNotWaitForTheNext) {
  for (const OutputFormat format : {OutputFormat::kJpeg, OutputFormat::kRawRgb}) {
    JobRequest request = Request(format);
    request.plan = SequencePlan::kContiguous;
    request.live = LiveOptions();
    request.live->skip = SkipPolicy::kWait;
    request.live->max_wait = absl::ZeroDuration();
    auto job = engine_->CreateJob(request);
    ASSERT_TRUE(job.ok()) << job.status();
    std::vector<Output> outputs;
    for (int i = 0; i < kFrames; ++i) {
      ASSERT_TRUE((*job)
                      ->AddFrame({.image = *EncodePng(driver_frames_[static_cast<size_t>(i)]),
                                  .pts = 40 * i,
                                  .arrived = absl::Now()})
                      .ok());
      const absl::Status status = RunOut(**job, &outputs);
      ASSERT_TRUE(status.ok()) << status;
      // The first row of four comes together; after it every frame is a row.
      EXPECT_EQ(outputs.size(), i < 3 ? 0u : static_cast<size_t>(i) + 1);
    }
    ASSERT_TRUE((*job)->FinishDriving().ok());
    ASSERT_TRUE(RunOut(**job, &outputs).ok());
    EXPECT_TRUE((*job)->rendered());
    ASSERT_EQ(outputs.size(), size_t{kFrames});
    for (int i = 0; i < kFrames; ++i) EXPECT_EQ(outputs[i].pts, 40 * i);
    EXPECT_GT((*job)->Summary().live.lag, absl::ZeroDuration());
  }
}

}  // namespace
}  // namespace reenact
