// Whole jobs through the engine's interface: real faces drive a small network with random weights.
#include "pipeline/reenactor/reenactor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <numeric>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "pipeline/diffusion/schedule.h"
#include "pipeline/media/image_codec.h"
#include "pipeline/media/resize.h"
#include "pipeline/media/video_reader.h"
#include "pipeline/media/video_writer.h"
#include "pipeline/reenactor/source_embedding.h"
#include "tests/pipeline/reenactor/random_model.h"
#include "tests/support/encode_clip.h"
#include "tests/support/paths.h"

namespace reenact {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr int kFrames = 12;

// What came out of a job.
struct Result {
  JobPlan plan;
  JobSummary summary;
  std::vector<Output> outputs;
  int64_t steps_at_first_output = -1;
  bool complete_at_first_output = false;

  std::string Bytes() const {
    std::string all;
    for (const Output& output : outputs) all += output.data;
    return all;
  }
};

class ReenactorTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (testing::DataDir().empty()) return;
    folder_ = testing::WriteRandomModel("reenactor_test");
    auto engine = CreateReenactor(Options());
    ASSERT_TRUE(engine.ok()) << engine.status();
    engine_ = engine->release();

    const std::string source_path = testing::DataDir() + "/LivePortrait/driving/d18.mp4";
    auto reader = VideoReader::Open(testing::ReadFile(source_path));
    ASSERT_TRUE(reader.ok()) << reader.status();
    faces_.clear();  // run once for every suite that derives from this one
    for (int i = 0; i < 5 * kFrames; ++i) {
      auto frame = (*reader)->Next();
      ASSERT_TRUE(frame.ok() && frame->has_value());
      if (i % 5 == 0) faces_.push_back(ResizeImage((*frame)->image, 256, 256));
    }
    auto cup = DecodeImage(DataFile("scikit-image/coffee.png"));
    ASSERT_TRUE(cup.ok()) << cup.status();
    cup_ = ResizeImage(*cup, 256, 256);
  }
  static void TearDownTestSuite() {
    delete engine_;
    engine_ = nullptr;
    if (!folder_.empty()) fs::remove_all(folder_);
  }
  void SetUp() override { REENACT_REQUIRE_DATA(); }

  static std::string DataFile(const std::string& name) {
    return testing::ReadFile(testing::DataDir() + "/" + name);
  }
  static ReenactorOptions Options() { return testing::RandomModelOptions(folder_); }

  // A video of variable rate: frame i lasts 512 or 1024 units of 1/12800 s, and the first begins
  // at 256.
  static std::vector<int64_t> Times(size_t count) {
    std::vector<int64_t> times = {256};
    for (size_t i = 1; i <= count; ++i) times.push_back(times.back() + (i % 3 == 0 ? 1024 : 512));
    return times;
  }
  static std::string Video(const std::vector<Image>& images) {
    VideoWriter::Options options;
    options.time_base_den = 12800;
    options.crf = 10;
    return testing::EncodeClip(std::move(options), images, Times(images.size()));
  }
  static std::string Driving() { return Video(faces_); }

  static JobRequest Request() {
    JobRequest request;
    request.source.image = DataFile("scikit-image/astronaut.png");
    request.num_steps = 3;
    request.seed = 11;
    return request;
  }

  // One step of every job with as many rows as it can use.
  static std::vector<absl::Status> Step(Engine& engine, const std::vector<EngineJob*>& jobs) {
    std::vector<StepShare> shares;
    for (EngineJob* job : jobs) {
      shares.push_back({.job = job, .num_rows = job->row_demand().max_rows});
    }
    return engine.Step(shares);
  }

  // Reads all that was handed over.
  static absl::Status PrepareAll(EngineJob& job) {
    while (true) {
      const auto prepared = job.Prepare();
      if (!prepared.ok()) return prepared.status();
      if (*prepared != EngineJob::Preparation::kMore) return absl::OkStatus();
    }
  }

  // Runs a job to its end on this thread; `status` gets the first error.
  static Result Run(Engine& engine, const JobRequest& request, const std::string& driving,
                    absl::Status* status = nullptr) {
    Result result;
    const auto fail = [&](const absl::Status& error) {
      if (status == nullptr) {
        ADD_FAILURE() << error;
      } else {
        *status = error;
      }
      return result;
    };
    auto job = engine.CreateJob(request);
    if (!job.ok()) return fail(job.status());
    for (size_t at = 0; at < driving.size(); at += 10'000) {
      const auto added = (*job)->AddDriving(std::string_view(driving).substr(at, 10'000));
      if (!added.ok()) return fail(added);
    }
    if (auto finished = (*job)->FinishDriving(); !finished.ok()) return fail(finished);
    for (int64_t step = 1; !(*job)->rendered();) {
      // As a server may: preparation runs ahead as far as it wants to.
      if (auto prepared = PrepareAll(**job); !prepared.ok()) return fail(prepared);
      const int64_t before = (*job)->steps_done();
      const int num_rows = (*job)->row_demand().max_rows;
      if (num_rows > 0) {
        const auto statuses = Step(engine, {job->get()});
        if (!statuses[0].ok()) return fail(statuses[0]);
        ++step;
      }
      EXPECT_EQ((*job)->steps_done(), before + num_rows);
      bool rendered_any = false;
      while ((*job)->renderable()) {
        auto outputs = (*job)->Render();
        if (!outputs.ok()) return fail(outputs.status());
        rendered_any = true;
        for (Output& output : *outputs) {
          if (result.steps_at_first_output < 0) {
            result.steps_at_first_output = step - 1;
            result.complete_at_first_output = (*job)->plan().complete;
          }
          result.outputs.push_back(std::move(output));
        }
      }
      if (num_rows == 0 && !rendered_any && !(*job)->rendered()) {
        ADD_FAILURE() << "nothing moves";
        break;
      }
    }
    EXPECT_TRUE((*job)->denoised());
    result.plan = (*job)->plan();
    EXPECT_TRUE(result.plan.complete);
    EXPECT_EQ((*job)->steps_done(), result.plan.total_steps);
    EXPECT_EQ((*job)->frames_done(), result.plan.num_frames);
    result.summary = (*job)->Summary();
    return result;
  }
  static Result Run(const JobRequest& request) { return Run(*engine_, request, Driving()); }
  static absl::Status Error(const JobRequest& request, const std::string& driving) {
    absl::Status status;
    Run(*engine_, request, driving, &status);
    return status;
  }
  // Of two raw clips of equal size.
  static int LargestDifference(const std::string& a, const std::string& b) {
    EXPECT_EQ(a.size(), b.size());
    int largest = 0;
    for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
      largest =
          std::max(largest, std::abs(static_cast<uint8_t>(a[i]) - static_cast<uint8_t>(b[i])));
    }
    return largest;
  }
  // The engine still does its work.
  static void ExpectHealthy() {
    JobRequest request = Request();
    request.num_steps = 2;
    EXPECT_EQ(Run(request).summary.frames_out, kFrames);
  }

  static std::string folder_;
  static Engine* engine_;
  static std::vector<Image> faces_;  // of one person
  static Image cup_;                 // no face
};

std::string ReenactorTest::folder_;
Engine* ReenactorTest::engine_ = nullptr;
std::vector<Image> ReenactorTest::faces_;
Image ReenactorTest::cup_;

TEST_F(ReenactorTest, SaysWhatTheModelCanDo) {
  ASSERT_EQ(engine_->models().size(), 1u);
  const ModelInfo& info = engine_->models()[0];
  EXPECT_EQ(info.name, "random");
  EXPECT_EQ(info.image_size, 64);
  EXPECT_EQ(info.frames_per_row, 4);
  EXPECT_EQ(info.bundle_sha256.size(), 64u);
  EXPECT_EQ(info.default_num_steps, 10);
  EXPECT_TRUE(info.accepts_text);
}

TEST_F(ReenactorTest, EveryFrameComesOutAtItsTime) {
  const Result result = Run(Request());

  // 12 frames at T = 4: anchor 6, B = max(ceil(6/2), ceil(5/1)) = 5 rows, one pass of 3 steps.
  EXPECT_EQ(result.plan.num_frames, kFrames);
  EXPECT_EQ(result.plan.num_rows, 5);
  EXPECT_EQ(result.plan.num_padding_slots, 5 * 3 - 11);
  EXPECT_EQ(result.plan.total_steps, 15);
  EXPECT_EQ(result.summary.rows_run, 15);
  EXPECT_EQ(result.summary.frames_in, kFrames);
  EXPECT_EQ(result.summary.frames_out, kFrames);
  EXPECT_EQ(result.summary.bytes_out, static_cast<int64_t>(result.Bytes().size()));
  EXPECT_TRUE(result.summary.frame_notes.empty());
  ASSERT_FALSE(result.outputs.empty());
  EXPECT_EQ(result.outputs[0].kind, Output::Kind::kInitSegment);

  auto reader = VideoReader::Open(result.Bytes());
  ASSERT_TRUE(reader.ok()) << reader.status();
  const VideoInfo& info = (*reader)->info();
  EXPECT_EQ(info.width, 64);
  const auto times = Times(kFrames);
  for (int i = 0; i < kFrames; ++i) {
    const auto frame = (*reader)->Next();
    ASSERT_TRUE(frame.ok() && frame->has_value()) << "frame " << i << ": " << frame.status();
    // Same rational time, whatever unit the container took.
    EXPECT_EQ((*frame)->pts * info.time_base_num * 12800, times[i] * info.time_base_den)
        << "frame " << i;
  }
  EXPECT_FALSE((*(*reader)->Next()).has_value());
}

TEST_F(ReenactorTest, TheSeedDecidesTheBytes) {
  JobRequest request = Request();
  const std::string first = Run(request).Bytes();

  EXPECT_TRUE(Run(request).Bytes() == first);
  request.seed = 12;
  EXPECT_FALSE(Run(request).Bytes() == first);
}

TEST_F(ReenactorTest, EveryFormOfTheTraceGivesTheSameBytes) {
  using Trace = ReenactorOptions::Trace;
  const std::string driving = Driving();
  const Result expected = Run(*engine_, Request(), driving);
  EXPECT_EQ(expected.plan.total_steps, 5 * 3);
  ReenactorOptions options = Options();
  options.max_active_rows = 2;
  for (const auto& [trace, budget, row_steps] :
       {std::tuple{Trace::kRetained, int64_t{1} << 20, 5 * 3},
        std::tuple{Trace::kAuto, int64_t{1} << 20, 5 * 3},
        // Nothing may be kept, and five rows are too many for lock-step: passes of two.
        std::tuple{Trace::kAuto, int64_t{0}, 4 * 2 * 3},
        std::tuple{Trace::kLockStep, int64_t{0}, 5 * 3},
        std::tuple{Trace::kRecomputed, int64_t{0}, 4 * 2 * 3}}) {
    options.trace = trace;
    options.max_trace_bytes = budget;
    auto engine = CreateReenactor(options);
    ASSERT_TRUE(engine.ok()) << engine.status();
    const Result result = Run(**engine, Request(), driving);
    EXPECT_EQ(result.plan.total_steps, row_steps);
    EXPECT_TRUE(result.Bytes() == expected.Bytes());
  }
}

TEST_F(ReenactorTest, ATraceThatMustBeKeptAndDoesNotFitIsRefused) {
  ReenactorOptions options = Options();
  options.trace = ReenactorOptions::Trace::kRetained;
  options.max_trace_bytes = 1000;
  auto engine = CreateReenactor(options);
  ASSERT_TRUE(engine.ok()) << engine.status();
  absl::Status status;
  Run(**engine, Request(), Driving(), &status);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()), HasSubstr("of 1000 are free"));
}

TEST_F(ReenactorTest, TraceMemoryComesBackWithTheJob) {
  ReenactorOptions options = Options();
  options.trace = ReenactorOptions::Trace::kRetained;
  // 3 steps of one clip's trace, and not of two.
  const SDiTConfig config = SmallBundleConfig().sdit;
  const int64_t tokens = config.tokens_side() * config.tokens_side();
  options.max_trace_bytes = 3 * config.depth * 2 * tokens * config.hidden_size * 4;
  auto engine = CreateReenactor(options);
  ASSERT_TRUE(engine.ok()) << engine.status();
  const std::string driving = Driving();
  for (int i = 0; i < 2; ++i) {
    auto job = (*engine)->CreateJob(Request());
    ASSERT_TRUE(job.ok());
    ASSERT_TRUE((*job)->AddDriving(driving).ok());
    ASSERT_TRUE((*job)->FinishDriving().ok());
    EXPECT_TRUE(PrepareAll(**job).ok());
    auto second = (*engine)->CreateJob(Request());
    ASSERT_TRUE(second.ok());
    ASSERT_TRUE((*second)->AddDriving(driving).ok());
    ASSERT_TRUE((*second)->FinishDriving().ok());
    EXPECT_EQ(PrepareAll(**second).code(), absl::StatusCode::kResourceExhausted);
  }
}

TEST_F(ReenactorTest, Bfloat16DrawsAboutTheSame) {
  JobRequest request = Request();
  request.format = OutputFormat::kRawRgb;
  ReenactorOptions options = Options();
  options.precision = ReenactorOptions::Precision::kBfloat16;
  auto engine = CreateReenactor(options);
  ASSERT_TRUE(engine.ok()) << engine.status();
  const std::string bf16 = Run(**engine, request, Driving()).Bytes();
  const std::string fp32 = Run(request).Bytes();
  EXPECT_FALSE(bf16 == fp32);
  EXPECT_LE(LargestDifference(bf16, fp32), 8);
}

TEST_F(ReenactorTest, ModelsKnowTheirSpeedAndJobsTheirWork) {
  EXPECT_GT(engine_->models()[0].gflop_per_second, 0);
  JobRequest request = Request();
  const double plain = Run(request).plan.gflop_per_row_step;
  EXPECT_GT(plain, 0);
  request.guidance_scale = 2;
  EXPECT_DOUBLE_EQ(Run(request).plan.gflop_per_row_step, 2 * plain);
}

TEST_F(ReenactorTest, FirstFramesLeaveEarlyWithTheContiguousPlan) {
  std::vector<Image> images;
  for (int i = 0; i < 5; ++i) images.insert(images.end(), faces_.begin(), faces_.end());
  JobRequest request = Request();
  request.plan = SequencePlan::kContiguous;
  request.format = OutputFormat::kJpeg;
  const Result result = Run(*engine_, request, Video(images));

  // Row 0, the first four frames, runs alone, while most of the video has not been read.
  EXPECT_EQ(result.steps_at_first_output, 3);
  EXPECT_FALSE(result.complete_at_first_output);
  ASSERT_EQ(result.outputs.size(), images.size());
  for (size_t i = 0; i < result.outputs.size(); ++i) {
    EXPECT_EQ(result.outputs[i].first_frame, static_cast<int64_t>(i));
  }
  // B = ceil(59 / 3).
  EXPECT_EQ(result.plan.num_rows, 20);
  EXPECT_EQ(result.plan.total_steps, 60);

  request.format = OutputFormat::kFragmentedMp4;
  const Result video = Run(*engine_, request, Video(images));
  EXPECT_EQ(video.steps_at_first_output, 3);
  ASSERT_GT(video.outputs.size(), 2u);
  EXPECT_EQ(video.outputs[1].num_frames, 4) << "the first fragment is row 0";
}

TEST_F(ReenactorTest, AContiguousJobGivesTheSameBytesInEveryFormOfTheTrace) {
  using Trace = ReenactorOptions::Trace;
  JobRequest request = Request();
  request.plan = SequencePlan::kContiguous;
  const std::string driving = Driving();
  const std::string expected = Run(*engine_, request, driving).Bytes();
  ReenactorOptions options = Options();
  options.max_active_rows = 2;
  for (const Trace trace : {Trace::kRetained, Trace::kLockStep, Trace::kRecomputed}) {
    options.trace = trace;
    auto engine = CreateReenactor(options);
    ASSERT_TRUE(engine.ok()) << engine.status();
    const Result result = Run(**engine, request, driving);
    EXPECT_TRUE(result.Bytes() == expected);
    EXPECT_EQ(result.plan.total_steps, result.summary.rows_run);
  }
}

// A live job, turn by turn.
class LiveTest : public ReenactorTest {
 protected:
  static JobRequest LiveRequest(SkipPolicy skip) {
    JobRequest request = Request();
    request.plan = SequencePlan::kContiguous;
    request.format = OutputFormat::kRawRgb;
    request.live = LiveOptions();
    request.live->skip = skip;
    request.live->max_wait = absl::Hours(1);
    return request;
  }
  static std::string Png(const Image& image) {
    auto png = EncodePng(image);
    EXPECT_TRUE(png.ok()) << png.status();
    return *std::move(png);
  }
  static LiveFrame Frame(const Image& image, int64_t pts) {
    return {.image = Png(image), .pts = pts, .arrived = absl::Now()};
  }
  // Prepares, steps and renders until nothing moves.
  static void RunOut(EngineJob& job, std::vector<Output>* outputs, int max_steps = 1000) {
    for (int step = 0; step < max_steps; ++step) {
      const absl::Status prepared = PrepareAll(job);
      ASSERT_TRUE(prepared.ok()) << prepared;
      const bool stepped = job.row_demand().max_rows > 0;
      if (stepped) {
        ASSERT_TRUE(Step(*engine_, {&job})[0].ok());
      }
      const bool rendered = job.renderable();
      while (job.renderable()) {
        auto more = job.Render();
        ASSERT_TRUE(more.ok()) << more.status();
        for (Output& output : *more) outputs->push_back(std::move(output));
      }
      if (!stepped && !rendered) return;
    }
  }
};

TEST_F(LiveTest, GivesWhatAFileOfTheSameFramesGives) {
  // At other times, which filters see.
  const auto plain = [] {
    JobRequest request = LiveRequest(SkipPolicy::kWait);
    request.smoothing = 0;
    request.motion_mode = MotionMode::kAbsolute;
    return request;
  };
  JobRequest request = plain();
  request.live.reset();
  const std::string driving = Driving();
  const Result file = Run(*engine_, request, driving);

  auto job = engine_->CreateJob(plain());
  ASSERT_TRUE(job.ok()) << job.status();
  auto reader = VideoReader::Open(driving);
  ASSERT_TRUE(reader.ok());
  std::vector<Output> outputs;
  size_t before_the_end = 0;
  for (int i = 0; i < kFrames; ++i) {
    auto frame = (*reader)->Next();
    ASSERT_TRUE(frame.ok() && frame->has_value());
    ASSERT_TRUE((*job)->AddFrame(Frame((*frame)->image, 10 * i)).ok());
    ASSERT_NO_FATAL_FAILURE(RunOut(**job, &outputs));
    before_the_end = outputs.size();
  }
  EXPECT_EQ(before_the_end, 10u) << "rows of 4, 3 and 3 frames, none of which waits for the next";
  EXPECT_FALSE((*job)->plan().complete);
  ASSERT_TRUE((*job)->FinishDriving().ok());
  ASSERT_NO_FATAL_FAILURE(RunOut(**job, &outputs));

  EXPECT_TRUE((*job)->denoised());
  EXPECT_TRUE((*job)->rendered());
  EXPECT_TRUE((*job)->plan().complete);
  ASSERT_EQ(outputs.size(), static_cast<size_t>(kFrames));
  std::string bytes;
  for (int i = 0; i < kFrames; ++i) {
    EXPECT_EQ(outputs[i].first_frame, i);
    EXPECT_EQ(outputs[i].pts, 10 * i);
    EXPECT_EQ(outputs[i].time_base_den, 1000);
    EXPECT_FALSE(outputs[i].repeated);
    bytes += outputs[i].data;
  }
  EXPECT_TRUE(bytes == file.Bytes());
  const JobSummary summary = (*job)->Summary();
  EXPECT_EQ(summary.frames_in, kFrames);
  EXPECT_EQ(summary.frames_out, kFrames);
  EXPECT_EQ(summary.live.frames_in, kFrames);
  EXPECT_EQ(summary.live.frames_skipped, 0);
  EXPECT_GT(summary.live.lag, absl::ZeroDuration());
  EXPECT_GT(summary.live.real_time_ratio, 0);
}

TEST_F(LiveTest, SkippedFramesRepeatTheOneBeforeAndKeepTheirTimes) {
  for (const OutputFormat format : {OutputFormat::kRawRgb, OutputFormat::kFragmentedMp4}) {
    JobRequest request = LiveRequest(SkipPolicy::kSkip);
    request.format = format;
    auto job = engine_->CreateJob(request);
    ASSERT_TRUE(job.ok()) << job.status();
    std::vector<Output> outputs;
    // The anchor row, then a burst of seven frames in which only three fit.
    for (int i = 0; i < kFrames; ++i) {
      ASSERT_TRUE((*job)->AddFrame(Frame(faces_[i], 40 * i)).ok());
      if (i == 3 || i == 10 || i == 11) {
        ASSERT_NO_FATAL_FAILURE(RunOut(**job, &outputs));
      }
    }
    ASSERT_TRUE((*job)->FinishDriving().ok());
    ASSERT_NO_FATAL_FAILURE(RunOut(**job, &outputs));

    EXPECT_TRUE((*job)->rendered());
    const JobSummary summary = (*job)->Summary();
    EXPECT_EQ(summary.frames_out, kFrames);
    EXPECT_EQ(summary.live.frames_skipped, 4);
    EXPECT_EQ((*job)->live_status().frames_skipped, 4);
    std::vector<int64_t> noted;
    for (const FrameNote& note : summary.frame_notes) {
      noted.push_back(note.frame);
      EXPECT_THAT(note.note, HasSubstr("skipped"));
    }
    EXPECT_THAT(noted, ::testing::ElementsAre(4, 5, 7, 9));
    if (format == OutputFormat::kRawRgb) {
      ASSERT_EQ(outputs.size(), static_cast<size_t>(kFrames));
      for (int i = 0; i < kFrames; ++i) {
        EXPECT_EQ(outputs[i].pts, 40 * i);
        const bool skipped = i == 4 || i == 5 || i == 7 || i == 9;
        EXPECT_EQ(outputs[i].repeated, skipped) << i;
        if (i > 0) {
          EXPECT_EQ(outputs[i].data == outputs[i - 1].data, skipped) << i;
        }
      }
      continue;
    }
    std::string bytes;
    for (const Output& output : outputs) bytes += output.data;
    auto reader = VideoReader::Open(bytes);
    ASSERT_TRUE(reader.ok()) << reader.status();
    for (int i = 0; i < kFrames; ++i) {
      const auto frame = (*reader)->Next();
      ASSERT_TRUE(frame.ok() && frame->has_value()) << i;
      EXPECT_EQ((*frame)->pts * (*reader)->info().time_base_num * 1000,
                int64_t{40} * i * (*reader)->info().time_base_den);
    }
  }
}

TEST_F(LiveTest, PreparationStaysAFewRowsAheadWhereNothingMayBeSkipped) {
  auto job = engine_->CreateJob(LiveRequest(SkipPolicy::kWait));
  ASSERT_TRUE(job.ok());
  int frames = 0;
  auto prepared = EngineJob::Preparation::kNeedsInput;
  while (prepared == EngineJob::Preparation::kNeedsInput && frames < 100) {
    ASSERT_TRUE((*job)->AddFrame(Frame(faces_[frames % kFrames], frames)).ok());
    ++frames;
    const auto more = (*job)->Prepare();
    ASSERT_TRUE(more.ok()) << more.status();
    prepared = *more;
    if (prepared == EngineJob::Preparation::kNeedsInput) (*job)->row_demand();
  }
  EXPECT_EQ(prepared, EngineJob::Preparation::kAhead);
  EXPECT_GE(frames, 10);
  EXPECT_LE(frames, 20);
  // Steps make room.
  for (int step = 0; step < 20 && prepared == EngineJob::Preparation::kAhead; ++step) {
    ASSERT_TRUE(Step(*engine_, {job->get()})[0].ok());
    const auto more = (*job)->Prepare();
    ASSERT_TRUE(more.ok());
    prepared = *more;
  }
  EXPECT_NE(prepared, EngineJob::Preparation::kAhead);
}

TEST_F(LiveTest, BadFramesAreNamed) {
  const auto error = [](const std::vector<LiveFrame>& frames) {
    auto job = engine_->CreateJob(LiveRequest(SkipPolicy::kSkip));
    EXPECT_TRUE(job.ok()) << job.status();
    absl::Status status;
    for (const LiveFrame& frame : frames) status.Update((*job)->AddFrame(frame));
    if (frames.empty()) status.Update((*job)->FinishDriving());
    status.Update(PrepareAll(**job));
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return std::string(status.message());
  };
  const LiveFrame good = Frame(faces_[0], 5);
  EXPECT_THAT(error({}), HasSubstr("no driving media"));
  EXPECT_THAT(error({good, Frame(faces_[1], 5)}),
              HasSubstr("driving frame 1: pts is 5, must be above 5"));
  EXPECT_THAT(error({good, {"no image", 6, absl::Now()}}), HasSubstr("driving frame 1"));
  EXPECT_THAT(error({good, Frame(ResizeImage(faces_[1], 128, 96), 6)}),
              HasSubstr("driving frame 1 has 128x96 pixels, must have 256x256"));

  JobRequest request = LiveRequest(SkipPolicy::kSkip);
  request.plan = SequencePlan::kCentralRandom;
  EXPECT_EQ(engine_->CreateJob(request).status().code(), absl::StatusCode::kInvalidArgument);
  auto live = engine_->CreateJob(LiveRequest(SkipPolicy::kSkip));
  EXPECT_EQ((*live)->AddDriving("bytes").code(), absl::StatusCode::kInvalidArgument);
  auto file = engine_->CreateJob(Request());
  EXPECT_EQ((*file)->AddFrame(good).code(), absl::StatusCode::kInvalidArgument);
  ExpectHealthy();
}

TEST_F(ReenactorTest, NoRoomForWaitingPicturesOnlyDelaysThem) {
  JobRequest request = Request();
  request.format = OutputFormat::kRawRgb;
  ReenactorOptions options = Options();
  options.max_active_rows = 2;
  auto roomy = CreateReenactor(options);
  options.max_waiting_bytes = 0;
  auto tight = CreateReenactor(options);
  ASSERT_TRUE(roomy.ok() && tight.ok());

  EXPECT_TRUE(Run(**roomy, request, Driving()).Bytes() == Run(**tight, request, Driving()).Bytes());
}

TEST_F(ReenactorTest, FrameFormatsCarryIndexTimeAndSize) {
  for (const OutputFormat format :
       {OutputFormat::kJpeg, OutputFormat::kPng, OutputFormat::kRawRgb}) {
    JobRequest request = Request();
    request.format = format;
    request.output_size = 96;
    const Result result = Run(request);
    ASSERT_EQ(result.outputs.size(), static_cast<size_t>(kFrames));
    const auto times = Times(kFrames);
    for (int i = 0; i < kFrames; ++i) {
      const Output& output = result.outputs[i];
      EXPECT_EQ(output.kind, Output::Kind::kFrame);
      EXPECT_EQ(output.first_frame, i);
      EXPECT_EQ(output.num_frames, 1);
      EXPECT_EQ(output.pts * output.time_base_num * 12800, times[i] * output.time_base_den);
      EXPECT_EQ(output.width, 96);
      if (format == OutputFormat::kRawRgb) {
        EXPECT_EQ(output.data.size(), 96u * 96 * 3);
      } else {
        const auto image = DecodeImage(output.data);
        ASSERT_TRUE(image.ok()) << image.status();
        EXPECT_EQ(image->width, 96);
      }
    }
  }
}

TEST_F(ReenactorTest, OneFrameIsAClip) {
  const Result result = Run(*engine_, Request(), Video({faces_[0]}));

  EXPECT_EQ(result.plan.num_rows, 1);
  EXPECT_EQ(result.summary.frames_out, 1);
}

TEST_F(ReenactorTest, TextAndImageAreSources) {
  JobRequest request = Request();
  request.format = OutputFormat::kRawRgb;
  const std::string image = Run(request).Bytes();
  request.source.text = "the face and the face";
  request.source.edit_strength = 0;
  EXPECT_LE(LargestDifference(Run(request).Bytes(), image), 1) << "strength 0 is the image alone";
  request.source.edit_strength = 1;
  const std::string edited = Run(request).Bytes();
  EXPECT_FALSE(edited == image);
  request.source.image.clear();
  const std::string text = Run(request).Bytes();
  EXPECT_FALSE(text == edited) << "without an image there are no source tokens";
  request.source.text = "and";
  EXPECT_FALSE(Run(request).Bytes() == text);

  for (int i = 0; i < 100; ++i) request.source.text += " and";
  EXPECT_THAT(
      Run(request).summary.notes,
      ::testing::ElementsAre(HasSubstr("source.text is longer than the model's 77 tokens")));
}

TEST_F(ReenactorTest, AnEditMovesThePictureFromOneTextToAnother) {
  JobRequest request = Request();
  request.format = OutputFormat::kRawRgb;
  const std::string image = Run(request).Bytes();
  request.source.edit_from = "the face";
  request.source.edit_to = "and the face";
  request.source.edit_strength = 0;
  EXPECT_LE(LargestDifference(Run(request).Bytes(), image), 1) << "no step";
  request.source.edit_strength = 1;
  const std::string edited = Run(request).Bytes();
  EXPECT_FALSE(edited == image);
  EXPECT_EQ(Run(request).Bytes(), edited);
  request.source.edit_strength = 0.5;
  EXPECT_FALSE(Run(request).Bytes() == edited);

  request.source.edit_strength = 1;
  request.source.edit_from = "and the face";
  EXPECT_EQ(LargestDifference(Run(request).Bytes(), image), 0) << "from a text to itself";

  for (int i = 0; i < 100; ++i) request.source.edit_to += " and";
  EXPECT_THAT(Run(request).summary.notes,
              ::testing::ElementsAre(HasSubstr("source.edit.to is longer")));
}

TEST_F(ReenactorTest, TextsChangeWhoIsShownAsStated) {
  const auto bundle = ReadBundle(folder_);
  ASSERT_TRUE(bundle.ok()) << bundle.status();
  const Image crop = ResizeImage(faces_[0], 64, 64);
  const auto embed = [&](const SourceRequest& source, const Image& picture) {
    auto identity = EmbedIdentity(*bundle, source, picture);
    EXPECT_TRUE(identity.ok()) << identity.status();
    return *std::move(identity);
  };
  const auto of_text = [&](const std::string& text) {
    SourceRequest source;
    source.text = text;
    return embed(source, Image()).G;
  };
  const auto near = [](const torch::Tensor& a, const torch::Tensor& b) {
    return torch::allclose(a, b / b.norm(), 0, 1e-6);
  };
  const SourceIdentity plain = embed({}, crop);
  EXPECT_NEAR(plain.G.norm().item<double>(), 1, 1e-6);
  ASSERT_TRUE(plain.latent.has_value());

  SourceRequest source;
  source.edit_strength = 0.7;
  source.text = "the face";
  EXPECT_TRUE(near(embed(source, crop).G, 0.3 * plain.G + 0.7 * of_text("the face")));
  source.edit_strength = 0;
  EXPECT_TRUE(torch::equal(embed(source, crop).G, plain.G)) << "it counts for nothing";
  source.edit_strength = 0.7;

  source.text.clear();
  source.edit_from = "the face";
  source.edit_to = "and";
  const SourceIdentity edited = embed(source, crop);
  EXPECT_TRUE(near(edited.G, plain.G + 0.7 * (of_text("and") - of_text("the face"))));
  EXPECT_FALSE(near(edited.G, plain.G)) << "too little to tell";
  EXPECT_TRUE(torch::equal(*edited.latent, *plain.latent));
  source.edit_to = source.edit_from;
  EXPECT_TRUE(torch::equal(embed(source, crop).G, plain.G)) << "from a text to itself";
}

TEST_F(ReenactorTest, TextsTellTheNetworkHowFarTheyMoveGIfItReadsThat) {
  auto bundle = ReadBundle(folder_);
  ASSERT_TRUE(bundle.ok()) << bundle.status();
  bundle->config.sdit.identity_change = true;
  const Image crop = ResizeImage(faces_[0], 64, 64);
  const int64_t width = bundle->config.sdit.clip_dim;
  const auto embed = [&](const SourceRequest& source, const Image& picture) {
    const auto identity = EmbedIdentity(*bundle, source, picture);
    EXPECT_TRUE(identity.ok()) << identity.status();
    return identity->G.split(width);
  };
  SourceRequest source;

  const auto plain = embed(source, crop);
  source.text = "the face";
  source.edit_strength = 0.7;
  const auto moved = embed(source, crop), text = embed(source, Image());

  ASSERT_EQ(plain.size(), 2U);
  EXPECT_FALSE(plain[1].any().item<bool>());
  EXPECT_TRUE(torch::equal(moved[1], moved[0] - plain[0]));
  EXPECT_TRUE(moved[1].any().item<bool>());
  EXPECT_FALSE(text[1].any().item<bool>()) << "there is no picture that it could change";
}

TEST_F(ReenactorTest, AnEditNeedsAPictureAndBothTexts) {
  const auto message = [&](const SourceRequest& source) {
    JobRequest request = Request();
    request.source = source;
    const auto job = engine_->CreateJob(request);
    EXPECT_EQ(job.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(job.status().message());
  };
  SourceRequest source = Request().source;
  source.edit_from = "the face";
  EXPECT_THAT(message(source), HasSubstr("source.edit"));
  source.edit_to = "and";
  source.text = "the";
  EXPECT_THAT(message(source), HasSubstr("source.edit"));
  source.text.clear();
  source.image.clear();
  EXPECT_THAT(message(source), HasSubstr("source.edit"));
}

TEST_F(ReenactorTest, SamplersStepsAndGuidanceMatter) {
  JobRequest request = Request();
  request.format = OutputFormat::kRawRgb;
  std::vector<std::string> all = {Run(request).Bytes()};
  request.sampler = Sampler::kDdpm;
  all.push_back(Run(request).Bytes());
  request.sampler = Sampler::kDdim;
  request.ddim_eta = 1;
  all.push_back(Run(request).Bytes());
  request.ddim_eta = 0;
  request.num_steps = 4;
  all.push_back(Run(request).Bytes());
  request.guidance_scale = 4;
  all.push_back(Run(request).Bytes());

  for (size_t i = 0; i < all.size(); ++i) {
    for (size_t k = 0; k < i; ++k) EXPECT_FALSE(all[i] == all[k]) << i << " and " << k;
  }
}

TEST_F(ReenactorTest, TrailingStepsAreThoseOfAScheduleThatEndsInNoise) {
  JobRequest request = Request();
  request.format = OutputFormat::kRawRgb;
  const auto run = [&](const char* schedule, bool trailing) {
    const std::string folder = testing::WriteRandomModel("steps", [&](BundleConfig& config) {
      config.prediction = Prediction::kV;
      config.schedule = schedule;
      config.trailing_steps = trailing;
    });
    auto engine = CreateReenactor(testing::RandomModelOptions(folder));
    EXPECT_TRUE(engine.ok()) << engine.status();
    std::string bytes = engine.ok() ? Run(**engine, request, Driving()).Bytes() : "";
    std::filesystem::remove_all(folder);
    return bytes;
  };

  EXPECT_FALSE(run("linear", true) == run("linear", false));
  // Whose steps trail in any case.
  EXPECT_TRUE(run(kLinearZeroTerminalSnr, true) == run(kLinearZeroTerminalSnr, false));
}

TEST_F(ReenactorTest, MotionOptionsMatter) {
  JobRequest request = Request();
  request.format = OutputFormat::kRawRgb;
  const std::string driving = Driving();
  for (const SequencePlan plan : {SequencePlan::kCentralRandom, SequencePlan::kContiguous}) {
    request = Request();
    request.format = OutputFormat::kRawRgb;
    request.plan = plan;
    std::vector<std::string> all = {Run(*engine_, request, driving).Bytes()};
    request.motion_mode = MotionMode::kRelative;
    EXPECT_TRUE(Run(*engine_, request, driving).Bytes() == all[0]) << "the source has a face";
    request.motion_mode = MotionMode::kAbsolute;
    all.push_back(Run(*engine_, request, driving).Bytes());
    request.smoothing = 0;
    all.push_back(Run(*engine_, request, driving).Bytes());
    request.motion.mouth = 0;
    all.push_back(Run(*engine_, request, driving).Bytes());
    for (size_t i = 0; i < all.size(); ++i) {
      for (size_t k = 0; k < i; ++k) EXPECT_FALSE(all[i] == all[k]) << i << " and " << k;
    }
    // Without motion every frame is told the same: only its noise differs.
    request.motion_mode = MotionMode::kRelative;
    request.motion.strength = 0;
    const std::string still = Run(*engine_, request, driving).Bytes();
    request.no_face = NoFacePolicy::kHold;
    EXPECT_TRUE(Run(*engine_, request, Video(std::vector<Image>(kFrames, faces_[2]))).Bytes() ==
                still);
  }
}

TEST_F(ReenactorTest, FramesWithoutAFaceAreFilledAndNamed) {
  std::vector<Image> images = faces_;
  images[3] = images[4] = images[11] = cup_;
  JobRequest request = Request();

  const Result result = Run(*engine_, request, Video(images));

  EXPECT_EQ(result.summary.frames_out, kFrames);
  std::vector<int64_t> noted, cuts;
  for (const FrameNote& note : result.summary.frame_notes) {
    (note.note == "begins a new scene" ? cuts : noted).push_back(note.frame);
  }
  EXPECT_THAT(noted, ::testing::ElementsAre(3, 4, 11));
  // The cup is another scene, so nothing is interpolated across it.
  EXPECT_THAT(cuts, ::testing::ElementsAre(3, 5, 11));
  ASSERT_EQ(result.summary.frame_faces.size(), static_cast<size_t>(kFrames));
  for (int i = 0; i < kFrames; ++i) {
    const FrameFace& face = result.summary.frame_faces[i];
    const bool found = i != 3 && i != 4 && i != 11;
    EXPECT_EQ(face.origin, found ? FrameFace::Origin::kFound : FrameFace::Origin::kHeld) << i;
    EXPECT_EQ(face.confidence > 0.5f, found) << i;
    EXPECT_EQ(face.cut, i == 3 || i == 5 || i == 11) << i;
  }

  request.no_face = NoFacePolicy::kFail;
  const absl::Status status = Error(request, Video(images));
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("frame 3"));
}

TEST_F(ReenactorTest, TheFaceThatIsMeantIsTaken) {
  const auto nth = [](int index) {
    FaceSelection selection;
    selection.by = FaceSelection::By::kIndex;
    selection.index = index;
    return selection;
  };
  // Two people side by side, the left one smaller.
  auto left = DecodeImage(DataFile("scikit-image/astronaut.png"));
  ASSERT_TRUE(left.ok());
  const Image small = ResizeImage(*left, 200, 200), large = ResizeImage(faces_[0], 256, 256);
  Image both;
  both.width = 456;
  both.height = 256;
  both.rgb.assign(size_t{456} * 256 * 3, 128);
  for (const auto& [part, x0] : {std::pair{&small, 0}, std::pair{&large, 200}}) {
    for (int y = 0; y < part->height; ++y) {
      std::copy_n(part->rgb.begin() + ptrdiff_t{3} * y * part->width, ptrdiff_t{3} * part->width,
                  both.rgb.begin() + ptrdiff_t{3} * (y * both.width + x0));
    }
  }
  JobRequest request = Request();
  request.format = OutputFormat::kRawRgb;
  request.source.image = *EncodePng(both);
  const std::string driving = Driving();
  const Result largest = Run(*engine_, request, driving);
  EXPECT_THAT(largest.summary.notes, ::testing::ElementsAre(HasSubstr("2 faces")));
  request.source.face = nth(1);
  EXPECT_TRUE(Run(*engine_, request, driving).Bytes() == largest.Bytes());
  request.source.face.index = 0;
  const std::string first = Run(*engine_, request, driving).Bytes();
  EXPECT_FALSE(first == largest.Bytes());
  request.source.face.by = FaceSelection::By::kPosition;
  request.source.face.x = 0.1;
  EXPECT_TRUE(Run(*engine_, request, driving).Bytes() == first);
  request.source.face = {.by = FaceSelection::By::kReference,
                         .reference_image = DataFile("scikit-image/astronaut.png")};
  EXPECT_TRUE(Run(*engine_, request, driving).Bytes() == first);
  request.source.face = nth(5);
  const absl::Status none = Error(request, driving);
  EXPECT_EQ(none.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(none.message()), HasSubstr("source.face fits none of the 2 faces"));
  request.source.face.index = 64;
  EXPECT_THAT(std::string(Error(request, driving).message()),
              HasSubstr("source.face.index must be 0..63, is 64"));
  request.source.face = {.by = FaceSelection::By::kReference, .reference_image = "no image"};
  EXPECT_THAT(std::string(Error(request, driving).message()),
              HasSubstr("source.face.reference_image"));
}

TEST_F(ReenactorTest, PastesTheSquareBackIntoTheSource) {
  const auto source = DecodeImage(DataFile("scikit-image/astronaut.png"));
  ASSERT_TRUE(source.ok());
  JobRequest request = Request();
  request.composition = Composition::kPasteBack;
  request.format = OutputFormat::kRawRgb;
  const Result result = Run(request);
  ASSERT_EQ(result.outputs.size(), static_cast<size_t>(kFrames));
  const Output& output = result.outputs[5];
  EXPECT_EQ(output.width, source->width);
  EXPECT_EQ(output.height, source->height);
  ASSERT_EQ(output.data.size(), source->rgb.size());
  // What changed lies within a square around the face, in the upper middle of this picture.
  int left = source->width, right = 0, top = source->height, bottom = 0;
  for (int y = 0; y < source->height; ++y) {
    for (int x = 0; x < source->width; ++x) {
      const size_t at = 3 * (static_cast<size_t>(y) * static_cast<size_t>(source->width) +
                             static_cast<size_t>(x));
      if (std::equal(&output.data[at], &output.data[at] + 3, &source->rgb[at],
                     [](char a, uint8_t b) { return static_cast<uint8_t>(a) == b; })) {
        continue;
      }
      left = std::min(left, x);
      right = std::max(right, x);
      top = std::min(top, y);
      bottom = std::max(bottom, y);
    }
  }
  EXPECT_GT(right - left, 60);
  EXPECT_LT(right - left, 300);
  EXPECT_GT(left, 60);
  EXPECT_LT(bottom, 350);

  request.format = OutputFormat::kFragmentedMp4;
  auto video = VideoReader::Open(Run(request).Bytes());
  ASSERT_TRUE(video.ok()) << video.status();
  EXPECT_EQ((*video)->info().width, source->width);
}

TEST_F(ReenactorTest, EveryCodecMakesAVideo) {
  const std::string driving = Video({faces_[0], faces_[1], faces_[2]});
  for (const VideoCodec codec :
       {VideoCodec::kVp9, VideoCodec::kAv1, VideoCodec::kMjpeg, VideoCodec::kLossless}) {
    JobRequest request = Request();
    request.encoding.codec = codec;
    request.encoding.speed = EncodingSpeed::kFastest;
    auto video = VideoReader::Open(Run(*engine_, request, driving).Bytes());
    ASSERT_TRUE(video.ok()) << NameOf(codec) << ": " << video.status();
    int frames = 0;
    while (true) {
      const auto frame = (*video)->Next();
      ASSERT_TRUE(frame.ok()) << frame.status();
      if (!frame->has_value()) break;
      ++frames;
    }
    EXPECT_EQ(frames, 3) << NameOf(codec);
  }
}

TEST_F(ReenactorTest, BadSources) {
  JobRequest request = Request();
  request.source.image = DataFile("scikit-image/coffee.png");
  EXPECT_EQ(Error(request, "").code(), absl::StatusCode::kFailedPrecondition);
  request.source.image = DataFile("scikit-image/chelsea.png");
  EXPECT_EQ(Error(request, "").code(), absl::StatusCode::kFailedPrecondition);
  request.source.image = DataFile("scikit-image/truncated.jpg");
  EXPECT_EQ(Error(request, "").code(), absl::StatusCode::kInvalidArgument);
  request.source.image = "not an image";
  EXPECT_EQ(Error(request, "").code(), absl::StatusCode::kInvalidArgument);
  request.source.image.clear();
  EXPECT_EQ(Error(request, "").code(), absl::StatusCode::kInvalidArgument);
  ExpectHealthy();
}

TEST_F(ReenactorTest, BadDrivingMedia) {
  const JobRequest request = Request();
  EXPECT_EQ(Error(request, "").code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Error(request, "just a text, no video").code(), absl::StatusCode::kInvalidArgument);
  const std::string whole = DataFile("LivePortrait/driving/d18.mp4");
  EXPECT_EQ(Error(request, whole.substr(0, whole.size() / 2)).code(),
            absl::StatusCode::kInvalidArgument);
  const absl::Status no_face = Error(request, Video({cup_, cup_}));
  EXPECT_EQ(no_face.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(no_face.message()), HasSubstr("any of the 2 frames"));
  ExpectHealthy();
}

TEST_F(ReenactorTest, LimitsOnTheDrivingMedia) {
  ReenactorOptions options = Options();
  options.max_driving_bytes = 1000;
  auto small = CreateReenactor(options);
  ASSERT_TRUE(small.ok());
  absl::Status status;
  Run(**small, Request(), Driving(), &status);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()), HasSubstr("1000 bytes"));

  options = Options();
  options.max_frames = 5;
  auto few = CreateReenactor(options);
  ASSERT_TRUE(few.ok());
  Run(**few, Request(), Driving(), &status);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
}

TEST_F(ReenactorTest, BadRequestsNameTheField) {
  const auto message = [](const JobRequest& request) {
    const auto job = engine_->CreateJob(request);
    EXPECT_EQ(job.status().code(), absl::StatusCode::kInvalidArgument) << job.status();
    return std::string(job.status().message());
  };
  JobRequest request = Request();
  request.num_steps = 0;
  EXPECT_THAT(message(request), HasSubstr("num_steps must be 2..250, is 0"));
  request = Request();
  request.ddim_eta = NAN;
  EXPECT_THAT(message(request), HasSubstr("ddim_eta"));
  request = Request();
  request.guidance_scale = 20.5;
  EXPECT_THAT(message(request), HasSubstr("guidance_scale"));
  request = Request();
  request.output_size = 8;
  EXPECT_THAT(message(request), HasSubstr("output_size"));
  request = Request();
  request.encoding.crf = 52;
  EXPECT_THAT(message(request), HasSubstr("quality (CRF)"));
  request = Request();
  request.paste_back.border = 0.5;
  EXPECT_THAT(message(request), HasSubstr("border"));
  request = Request();
  request.composition = Composition::kPasteBack;
  request.output_size = 64;
  EXPECT_THAT(message(request), HasSubstr("output_size"));
  request = Request();
  request.source.edit_strength = 1.5;
  EXPECT_THAT(message(request), HasSubstr("edit_strength"));
  request = Request();
  request.smoothing = 4.5;
  EXPECT_THAT(message(request), HasSubstr("smoothing"));
  request = Request();
  request.motion.strength = 2;
  EXPECT_THAT(message(request), HasSubstr("motion.strength"));
  request = Request();
  request.source.image.clear();
  request.source.text = "a face";
  request.motion_mode = MotionMode::kRelative;
  EXPECT_THAT(message(request), HasSubstr("motion.mode"));
  request = Request();
  request.model = "nobody";
  EXPECT_EQ(engine_->CreateJob(request).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(ReenactorTest, JobsEndByDestructionAtAnyPoint) {
  const std::string driving = Driving();
  for (int stage = 0; stage < 4; ++stage) {
    auto job = engine_->CreateJob(Request());
    ASSERT_TRUE(job.ok()) << job.status();
    if (stage > 0) {
      ASSERT_TRUE((*job)->AddDriving(driving).ok());
    }
    if (stage > 1) {
      ASSERT_TRUE((*job)->FinishDriving().ok());
      ASSERT_TRUE(PrepareAll(**job).ok());
    }
    if (stage > 2) {
      ASSERT_TRUE(Step(*engine_, {job->get()})[0].ok());
    }
  }
  ExpectHealthy();
}

TEST_F(ReenactorTest, CallsOutOfOrderAreErrors) {
  auto job = engine_->CreateJob(Request());
  ASSERT_TRUE(job.ok());
  EXPECT_EQ((*job)->row_demand().max_rows, 0);
  EXPECT_EQ(Step(*engine_, {job->get()})[0].code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_FALSE((*job)->denoised());
  EXPECT_FALSE((*job)->renderable());
  EXPECT_EQ((*job)->Prepare().value(), EngineJob::Preparation::kNeedsInput);
  ASSERT_TRUE((*job)->AddDriving(Driving()).ok());
  ASSERT_TRUE((*job)->FinishDriving().ok());
  EXPECT_EQ((*job)->AddDriving("more").code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ((*job)->FinishDriving().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(ReenactorTest, CancelEndsTheReadingOfALongVideo) {
  std::vector<Image> many;
  for (int i = 0; i < 40; ++i) many.insert(many.end(), faces_.begin(), faces_.end());
  auto job = engine_->CreateJob(Request());
  ASSERT_TRUE(job.ok());
  ASSERT_TRUE((*job)->AddDriving(Video(many)).ok());
  ASSERT_TRUE((*job)->FinishDriving().ok());
  std::thread canceller([&] { (*job)->Cancel(); });
  EXPECT_EQ(PrepareAll(**job).code(), absl::StatusCode::kCancelled);
  canceller.join();
  ExpectHealthy();
}

TEST_F(ReenactorTest, CancelEndsRendering) {
  auto job = engine_->CreateJob(Request());
  ASSERT_TRUE(job.ok());
  ASSERT_TRUE((*job)->AddDriving(Driving()).ok());
  ASSERT_TRUE((*job)->FinishDriving().ok());
  ASSERT_TRUE(PrepareAll(**job).ok());
  while (!(*job)->renderable()) ASSERT_TRUE(Step(*engine_, {job->get()})[0].ok());
  (*job)->Cancel();
  EXPECT_EQ((*job)->Render().status().code(), absl::StatusCode::kCancelled);
}

TEST_F(ReenactorTest, RenderRunsBesideStepAndGivesTheSameBytes) {
  ReenactorOptions options = Options();
  options.max_active_rows = 2;
  auto engine = CreateReenactor(options);
  ASSERT_TRUE(engine.ok());
  const std::string driving = Driving();
  const std::string expected = Run(**engine, Request(), driving).Bytes();

  auto a = (*engine)->CreateJob(Request());
  auto b = (*engine)->CreateJob(Request());
  ASSERT_TRUE(a.ok() && b.ok());
  for (auto* job : {&a, &b}) {
    ASSERT_TRUE((**job)->AddDriving(driving).ok());
    ASSERT_TRUE((**job)->FinishDriving().ok());
    ASSERT_TRUE(PrepareAll(***job).ok());
  }
  std::string bytes_a, bytes_b;
  std::thread renderer([&] {
    while (!(*a)->rendered() || !(*b)->rendered()) {
      for (auto& [job, bytes] : {std::pair{a->get(), &bytes_a}, std::pair{b->get(), &bytes_b}}) {
        auto outputs = job->Render();
        ASSERT_TRUE(outputs.ok()) << outputs.status();
        for (const Output& output : *outputs) *bytes += output.data;
      }
      std::this_thread::yield();
    }
  });
  while (!(*a)->denoised()) {
    for (const auto& status : Step(**engine, {a->get(), b->get()})) {
      EXPECT_TRUE(status.ok()) << status;
    }
  }
  renderer.join();

  EXPECT_TRUE(bytes_a == expected);
  EXPECT_TRUE(bytes_b == expected);
}

TEST_F(ReenactorTest, RefusesWrongOptions) {
  ReenactorOptions options = Options();
  options.bundles = {};
  EXPECT_EQ(CreateReenactor(options).status().code(), absl::StatusCode::kInvalidArgument);
  options.bundles = {folder_, folder_};
  EXPECT_THAT(std::string(CreateReenactor(options).status().message()),
              HasSubstr("two bundles are named random"));
  options.bundles = {folder_ + "_absent"};
  EXPECT_EQ(CreateReenactor(options).status().code(), absl::StatusCode::kNotFound);
  options = Options();
  options.max_active_rows = 1;
  EXPECT_EQ(CreateReenactor(options).status().code(), absl::StatusCode::kInvalidArgument);
  options = Options();
  options.face_models = folder_;
  const auto status = CreateReenactor(options).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr("face_detection_short_range.tflite"));
}

}  // namespace
}  // namespace reenact
