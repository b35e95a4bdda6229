// The whole service on real media: reenactd with the demo bundle, over gRPC on a Unix socket.
//
// One server serves all tests of the program. After every bad input it must still do the same small
// job with the same bytes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <set>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/jpeg_splitter.h"
#include "nlohmann/json.hpp"
#include "tests/client/tcp_proxy.h"
#include "tests/e2e/reenactd_under_test.h"
#include "tests/e2e/whole_jobs.h"

namespace reenact::testing {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::Contains;
using ::testing::Eq;
using ::testing::Gt;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::IsSupersetOf;
using ::testing::Le;
using ::testing::Lt;
using ::testing::Not;

// Denoising steps of jobs whose picture does not matter.
constexpr int kFewSteps = 2;
// Jobs that may wait: small, so that a full queue is quickly made.
constexpr int kMaxQueued = 3;

// Lower case, so that messages may begin a sentence or not.
std::string Message(const absl::Status& status) { return absl::AsciiStrToLower(status.message()); }

bool IsOver(v1::JobState state) {
  return state == v1::JOB_STATE_SUCCEEDED || state == v1::JOB_STATE_FAILED ||
         state == v1::JOB_STATE_CANCELLED || state == v1::JOB_STATE_EXPIRED;
}

class E2eTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (DataDir().empty()) return;
    folder_ = new TemporaryFolder;
    // ffmpeg cuts by re-encoding: exactly these frames, without sound.
    OutputOf({"ffmpeg", "-v", "error", "-i", DataDir() + "/LivePortrait/driving/d18.mp4", "-an",
              "-frames:v", "8", "-c:v", "libx264", folder_->File("short.mp4")});
    auto server = ReenactdUnderTest::Start(
        {"--max-queued-jobs", absl::StrCat(kMaxQueued), "--resume-timeout", "5s"});
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = server->release();
    ASSERT_TRUE(server_->FindMetrics()) << server_->Log();
    const auto models = server_->client().ListModels();
    ASSERT_TRUE(models.ok()) << models.status();
    model_ = new v1::ModelInfo(models->models(0));
  }
  static void TearDownTestSuite() {
    delete std::exchange(server_, nullptr);
    delete std::exchange(folder_, nullptr);
    delete std::exchange(model_, nullptr);
    delete std::exchange(normal_video_, nullptr);
  }

  void SetUp() override {
    REENACT_REQUIRE_DATA();
    ASSERT_NE(server_, nullptr) << "reenactd did not start";
    ASSERT_TRUE(server_->Running()) << "an earlier test ended the server";
  }

  // Every test ends with this: whatever happened, the server does a normal job, always with the
  // same bytes.
  void TearDown() override {
    if (IsSkipped() || server_ == nullptr || model_ == nullptr) return;
    if (HasFatalFailure() && !server_->Running()) return;
    ASSERT_TRUE(server_->Running()) << server_->how_it_ended() << "\n" << server_->Log();
    const Outcome normal = RunJob(NormalConfig(), Short());
    ASSERT_TRUE(normal.status.ok()) << normal.status << "\n" << server_->Log();
    EXPECT_EQ(normal.summary.frames_in(), 8);
    EXPECT_EQ(normal.summary.frames_out(), 8);
    if (normal_video_ == nullptr) normal_video_ = new std::string(normal.video);
    EXPECT_EQ(normal.video.size(), normal_video_->size());
    EXPECT_TRUE(normal.video == *normal_video_) << "the same job gave other bytes";
  }

  static std::string Data(const std::string& name) { return DataDir() + "/" + name; }
  static std::string Face() { return Data("hallo/reference_images/1.jpg"); }
  static std::string Long() { return Data("LivePortrait/driving/d18.mp4"); }
  static std::string Short() { return folder_->File("short.mp4"); }

  static v1::JobConfig ConfigWith(const std::string& image) {
    v1::JobConfig config;
    config.mutable_source()->set_image(image);
    config.set_num_steps(kFewSteps);
    return config;
  }
  static v1::JobConfig NormalConfig() { return ConfigWith(ReadFile(Face())); }
  // Takes minutes if it is not stopped.
  static v1::JobConfig SlowConfig() {
    v1::JobConfig config = NormalConfig();
    config.set_num_steps(model_->max_num_steps());
    return config;
  }

  static std::unique_ptr<JobStream> Start(v1::JobConfig config, const std::string& driving_path,
                                          const JobOptions& options = {}) {
    auto driving = OpenMediaFile(driving_path);
    EXPECT_TRUE(driving.ok()) << driving.status();
    return server_->client().Start(std::move(config), std::move(*driving), options);
  }
  static Outcome RunJob(v1::JobConfig config, const std::string& driving_path,
                        const JobOptions& options = {}) {
    return ReadAll(*Start(std::move(config), driving_path, options));
  }
  static Outcome RunJobWithBytes(v1::JobConfig config, const std::string& driving) {
    return ReadAll(*server_->client().Start(std::move(config), MediaFromBytes(driving), {}));
  }

  // Reads until the job has run a step. Returns what has been read.
  static Outcome ReadUntilStep(JobStream& job) {
    Outcome outcome;
    while (outcome.last_step < 1) {
      auto next = job.Next();
      outcome.status = next.status();
      EXPECT_TRUE(next.ok()) << next.status();
      if (!next.ok() || !next->has_value()) break;
      Note(**next, outcome);
    }
    return outcome;
  }

  // The job once it is over; waits for a minute at most.
  static v1::Job WaitForEnd(const std::string& job_id) {
    const absl::Time deadline = absl::Now() + absl::Minutes(1);
    v1::Job job;
    do {
      auto asked = server_->client().GetJob(job_id);
      EXPECT_TRUE(asked.ok()) << asked.status();
      if (asked.ok()) job = *asked;
    } while (!IsOver(job.state()) && absl::Now() < deadline);
    return job;
  }

  // Waits until the server steps no job any more, for a minute at most: a job may be over while its
  // last step still runs.
  static bool AwaitIdleDevice() {
    const absl::Time deadline = absl::Now() + absl::Minutes(1);
    while (server_->Metric("reenact_jobs_running") != 0 && absl::Now() < deadline) {
    }
    return absl::Now() < deadline;
  }

  // `reenact` with `arguments`.
  static std::vector<std::string> Reenact(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), REENACT_PROGRAM);
    return arguments;
  }

  static TemporaryFolder* folder_;
  static ReenactdUnderTest* server_;
  static v1::ModelInfo* model_;
  static std::string* normal_video_;
};

TemporaryFolder* E2eTest::folder_ = nullptr;
ReenactdUnderTest* E2eTest::server_ = nullptr;
v1::ModelInfo* E2eTest::model_ = nullptr;
std::string* E2eTest::normal_video_ = nullptr;

using BadInputTest = E2eTest;

TEST_F(BadInputTest, SourceIsNotAnImage) {
  const Outcome outcome = RunJob(ConfigWith("this is text, not a picture"), Short());

  EXPECT_EQ(outcome.status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Message(outcome.status), AllOf(HasSubstr("source"), HasSubstr("not an image")));
}

TEST_F(BadInputTest, SourceIsACutJpeg) {
  const Outcome outcome = RunJob(ConfigWith(ReadFile(Data("scikit-image/truncated.jpg"))), Short());

  EXPECT_EQ(outcome.status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Message(outcome.status), AllOf(HasSubstr("source"), HasSubstr("jpeg")));
}

TEST_F(BadInputTest, SourceHasNoFace) {
  for (const char* picture :
       {"LivePortrait/source/s33.jpg", "scikit-image/chelsea.png", "scikit-image/coffee.png"}) {
    const Outcome outcome = RunJob(ConfigWith(ReadFile(Data(picture))), Short());

    EXPECT_EQ(outcome.status.code(), absl::StatusCode::kFailedPrecondition)
        << picture << ": " << outcome.status;
    EXPECT_THAT(Message(outcome.status), AllOf(HasSubstr("no face"), HasSubstr("source")));
  }
}

TEST_F(BadInputTest, SourceClaimsAHugeSize) {
  // Signature, IHDR of 20,000 x 20,000 8-bit RGB with its CRC, and nothing else.
  const std::string png(
      "\x89PNG\r\n\x1a\n"
      "\0\0\0\x0dIHDR\0\0\x4e\x20\0\0\x4e\x20\x08\x02\0\0\0"
      "\x6c\x12\xd1\x6e",
      8 + 25);
  const int64_t before = server_->Memory();

  const Outcome outcome = RunJob(ConfigWith(png), Short());

  EXPECT_EQ(outcome.status.code(), absl::StatusCode::kResourceExhausted) << outcome.status;
  EXPECT_THAT(Message(outcome.status), AllOf(HasSubstr("source"), HasSubstr("20000 x 20000")));
  EXPECT_EQ(RetryDelay(outcome.status), std::nullopt) << "trying again would not help";
  // 1.2 GB if it had been decoded.
  EXPECT_LT(server_->Memory() - before, 200 << 20);
}

TEST_F(BadInputTest, DrivingIsAText) {
  const Outcome outcome = RunJob(NormalConfig(), Data("SOURCES.md"));

  EXPECT_EQ(outcome.status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Message(outcome.status), AllOf(HasSubstr("driving"), HasSubstr("video")));
}

TEST_F(BadInputTest, DrivingIsAPicture) {
  const Outcome outcome =
      RunJobWithBytes(NormalConfig(), ReadFile(Data("scikit-image/coffee.png")));

  EXPECT_EQ(outcome.status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Message(outcome.status), HasSubstr("driving"));
}

TEST_F(BadInputTest, DrivingIsCutInTheMiddle) {
  // The index at the front, so that half of the frames can be read; and at the back, so that none
  // can.
  const std::string front = folder_->File("front.mp4"), back = folder_->File("back.mp4");
  OutputOf({"ffmpeg", "-y", "-v", "error", "-i", Long(), "-c", "copy", "-movflags", "+faststart",
            front});
  OutputOf({"ffmpeg", "-y", "-v", "error", "-i", Long(), "-c", "copy", back});
  for (const std::string& path : {front, back}) {
    const std::string whole = ReadFile(path);

    const Outcome outcome = RunJobWithBytes(NormalConfig(), whole.substr(0, whole.size() / 2));

    EXPECT_EQ(outcome.status.code(), absl::StatusCode::kInvalidArgument) << outcome.status;
    EXPECT_THAT(Message(outcome.status), AllOf(HasSubstr("driving"), HasSubstr("video")));
    if (path == front) {
      EXPECT_THAT(Message(outcome.status), HasSubstr("frame"));
    }
  }
}

TEST_F(BadInputTest, DrivingHasNoFrames) {
  const std::string sound = folder_->File("sound.mp4");
  OutputOf({"ffmpeg", "-y", "-v", "error", "-i", Long(), "-vn", "-c", "copy", sound});

  const Outcome only_sound = RunJob(NormalConfig(), sound);
  const Outcome nothing = RunJobWithBytes(NormalConfig(), "");

  EXPECT_EQ(only_sound.status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Message(only_sound.status), AllOf(HasSubstr("driving"), HasSubstr("no video")));
  EXPECT_EQ(nothing.status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Message(nothing.status), HasSubstr("driving"));
}

TEST_F(BadInputTest, DrivingHasNoFaceInAnyFrame) {
  const std::string bars = folder_->File("bars.mp4");
  OutputOf({"ffmpeg", "-y", "-v", "error", "-f", "lavfi", "-i", "testsrc=size=320x240:rate=25",
            "-frames:v", "5", "-c:v", "libx264", "-pix_fmt", "yuv420p", bars});

  const Outcome outcome = RunJob(NormalConfig(), bars);

  EXPECT_EQ(outcome.status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Message(outcome.status), AllOf(HasSubstr("no face"), HasSubstr("driving")));
}

TEST_F(BadInputTest, ModelIsUnknown) {
  v1::JobConfig config = NormalConfig();
  config.set_model("mona-lisa-9000");

  const Outcome outcome = RunJob(config, Short());

  EXPECT_EQ(outcome.status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(Message(outcome.status), HasSubstr("mona-lisa-9000"));
}

TEST_F(BadInputTest, AWindowIsWiderThanARow) {
  v1::JobConfig config = NormalConfig();
  config.set_long_video_method(v1::LONG_VIDEO_METHOD_OVERLAPPED);
  config.mutable_window()->set_frames(model_->frames_per_row() + 1);
  const Outcome outcome = RunJob(config, Short());
  EXPECT_EQ(outcome.status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Message(outcome.status),
              HasSubstr(absl::StrCat("must be 1 to ", model_->frames_per_row())));
}

TEST_F(BadInputTest, NumbersAreOutOfRange) {
  v1::JobConfig config = NormalConfig();
  config.set_num_steps(0);
  const Outcome steps = RunJob(config, Short());
  config = NormalConfig();
  config.mutable_output()->set_size(model_->max_output_size() + 2);
  const Outcome size = RunJob(config, Short());

  EXPECT_EQ(steps.status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Message(steps.status),
              AllOf(HasSubstr("num_steps is 0"), HasSubstr(absl::StrCat(model_->max_num_steps()))));
  EXPECT_EQ(size.status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Message(size.status), HasSubstr("size"));
}

// Messages in an order no library of ours would send.
class WrongOrderTest : public E2eTest {
 protected:
  static grpc::Status Send(const std::vector<v1::ReenactRequest>& requests) {
    auto stub = v1::ReenactService::NewStub(
        grpc::CreateChannel(server_->target(), grpc::InsecureChannelCredentials()));
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Minutes(2)));
    auto stream = stub->Reenact(&context);
    for (const v1::ReenactRequest& request : requests) {
      if (!stream->Write(request)) break;
    }
    stream->WritesDone();
    v1::ReenactResponse response;
    while (stream->Read(&response)) {
    }
    return stream->Finish();
  }
  static v1::ReenactRequest Config() {
    v1::ReenactRequest request;
    *request.mutable_config() = NormalConfig();
    return request;
  }
  static v1::ReenactRequest Chunk() {
    v1::ReenactRequest request;
    request.set_driving_chunk(ReadFile(Short()));
    return request;
  }
};

TEST_F(WrongOrderTest, ChunkBeforeConfig) {
  const grpc::Status status = Send({Chunk(), Config()});

  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), AllOf(HasSubstr("driving_chunk"), HasSubstr("config")));
}

TEST_F(WrongOrderTest, SecondConfig) {
  const grpc::Status status = Send({Config(), Chunk(), Config()});

  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("config"));
}

TEST_F(WrongOrderTest, NothingAtAll) {
  const grpc::Status status = Send({});

  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("config"));
}

// Live driving: the frames of a clip as JPEG files.
class LiveTest : public E2eTest {
 protected:
  // The first frames of the long clip as a stream of JPEG files.
  static std::string JpegStream(int num_frames) {
    const std::string path = folder_->File(absl::StrCat("stream", num_frames, ".mjpeg"));
    OutputOf({"ffmpeg", "-v", "error", "-y", "-i", Long(), "-an", "-frames:v",
              absl::StrCat(num_frames), "-c:v", "mjpeg", "-q:v", "2", "-f", "mjpeg", path});
    return path;
  }
  static std::vector<std::string> Pictures(int num_frames) {
    std::vector<std::string> pictures;
    JpegSplitter splitter(16 << 20);
    EXPECT_TRUE(splitter.Push(ReadFile(JpegStream(num_frames)), pictures).ok());
    EXPECT_EQ(static_cast<int>(pictures.size()), num_frames);
    return pictures;
  }
  static v1::JobConfig LiveConfig(v1::SkipPolicy skip, v1::OutputFormat format) {
    v1::JobConfig config = NormalConfig();
    config.mutable_live()->set_skip_policy(skip);
    config.mutable_output()->set_format(format);
    return config;
  }

  struct LiveOutcome : Outcome {
    std::vector<v1::Frame> frames;
  };
  // Reads until the job is over or has `num_frames` output frames in all.
  static void ReadFrames(JobStream& job, size_t num_frames, LiveOutcome& outcome) {
    while (outcome.frames.size() < num_frames) {
      auto next = job.Next();
      outcome.status = next.status();
      if (!next.ok() || !next->has_value()) return;
      Note(**next, outcome);
      if ((*next)->has_frame()) outcome.frames.push_back((*next)->frame());
    }
  }
  static constexpr size_t kAll = std::numeric_limits<size_t>::max();
};

TEST_F(LiveTest, FramesInAreFramesOutWithTheirTimeStamps) {
  constexpr int kNumFrames = 3 * 8 + 2;
  v1::JobConfig config = LiveConfig(v1::SKIP_POLICY_WAIT, v1::OUTPUT_FORMAT_JPEG);
  config.mutable_live()->mutable_time_base()->set_numerator(1);
  config.mutable_live()->mutable_time_base()->set_denominator(90'000);
  const std::vector<std::string> pictures = Pictures(kNumFrames);
  std::vector<int64_t> pts;
  for (int i = 0; i < kNumFrames; ++i) pts.push_back(123'456 + 3600 * i + 17 * (i % 5));

  const auto job = server_->client().Start(config, JobOptions{});
  std::thread sender([&] {
    for (size_t i = 0; i < pictures.size(); ++i) {
      EXPECT_TRUE(job->SendFrame({.image = pictures[i], .pts = pts[i]}));
    }
    EXPECT_TRUE(job->FinishSending());
  });
  LiveOutcome outcome;
  ReadFrames(*job, kAll, outcome);
  sender.join();

  ASSERT_TRUE(outcome.status.ok()) << outcome.status;
  ASSERT_EQ(outcome.frames.size(), pictures.size());
  for (size_t i = 0; i < pictures.size(); ++i) {
    EXPECT_EQ(outcome.frames[i].index(), static_cast<int64_t>(i));
    EXPECT_EQ(outcome.frames[i].pts(), pts[i]);
    EXPECT_EQ(outcome.frames[i].time_base().denominator(), 90'000);
    EXPECT_EQ(outcome.frames[i].width(), model_->image_size());
    EXPECT_FALSE(outcome.frames[i].repeated());
  }
  EXPECT_EQ(outcome.summary.frames_in(), kNumFrames);
  EXPECT_EQ(outcome.summary.frames_out(), kNumFrames);
  EXPECT_EQ(outcome.summary.live().frames_in(), kNumFrames);
  EXPECT_EQ(outcome.summary.live().frames_skipped(), 0);
  EXPECT_GT(outcome.summary.live().real_time_ratio(), 0);
  EXPECT_GT(outcome.summary.live().lag().nanos() + outcome.summary.live().lag().seconds(), 0);
}

TEST_F(LiveTest, OutputComesBeforeTheLastInputIsSent) {
  // A frame's output leaves when its duration is known, which takes the next frame.
  const int row = model_->frames_per_row();
  const std::vector<std::string> pictures = Pictures(2 * row);
  v1::JobConfig config = LiveConfig(v1::SKIP_POLICY_WAIT, v1::OUTPUT_FORMAT_RAW_RGB);
  config.mutable_live()->mutable_max_wait()->set_seconds(10);
  const auto job = server_->client().Start(config, JobOptions{});
  LiveOutcome outcome;

  for (int i = 0; i <= row; ++i) ASSERT_TRUE(job->SendFrame({pictures[i], i}));
  ReadFrames(*job, row, outcome);
  ASSERT_EQ(static_cast<int>(outcome.frames.size()), row) << outcome.status;
  const auto running = server_->client().GetJob(outcome.job_id);
  ASSERT_TRUE(running.ok()) << running.status();
  EXPECT_EQ(running->state(), v1::JOB_STATE_RUNNING);
  EXPECT_EQ(running->progress().stage(), v1::STAGE_DENOISING);

  for (int i = row + 1; i < 2 * row; ++i) ASSERT_TRUE(job->SendFrame({pictures[i], i}));
  ReadFrames(*job, 2 * row - 1, outcome);
  ASSERT_EQ(static_cast<int>(outcome.frames.size()), 2 * row - 1) << outcome.status;
  ASSERT_TRUE(job->FinishSending());
  ReadFrames(*job, kAll, outcome);

  EXPECT_TRUE(outcome.status.ok()) << outcome.status;
  EXPECT_EQ(outcome.summary.frames_out(), 2 * row);
}

TEST_F(LiveTest, PicturesDoNotDependOnWhenFramesCame) {
  const int num_frames = 2 * model_->frames_per_row() - 1;
  const std::vector<std::string> pictures = Pictures(num_frames);
  v1::JobConfig config = LiveConfig(v1::SKIP_POLICY_WAIT, v1::OUTPUT_FORMAT_RAW_RGB);
  config.mutable_live()->mutable_max_wait()->set_seconds(10);
  std::vector<std::string> runs[2];
  for (const bool one_by_one : {false, true}) {
    const auto job = server_->client().Start(config, JobOptions{});
    LiveOutcome outcome;
    for (int i = 0; i < num_frames; ++i) {
      ASSERT_TRUE(job->SendFrame({pictures[i], i}));
      // A row's worth of frames, and its output, before the next.
      if (one_by_one && i == model_->frames_per_row()) ReadFrames(*job, i, outcome);
    }
    ASSERT_TRUE(job->FinishSending());
    ReadFrames(*job, kAll, outcome);
    ASSERT_TRUE(outcome.status.ok()) << outcome.status;
    for (const v1::Frame& frame : outcome.frames) runs[one_by_one].push_back(frame.data());
  }
  EXPECT_EQ(static_cast<int>(runs[0].size()), num_frames);
  EXPECT_TRUE(runs[0] == runs[1]) << "the pictures depend on when frames came";
}

TEST_F(LiveTest, FramesThatComeTooFastAreRepeatedAndNoted) {
  // All at once, with so many steps that no machine keeps up.
  constexpr int kNumFrames = 60;
  const std::vector<std::string> pictures = Pictures(kNumFrames);
  v1::JobConfig config = LiveConfig(v1::SKIP_POLICY_SKIP, v1::OUTPUT_FORMAT_RAW_RGB);
  config.set_num_steps(std::min(50, model_->max_num_steps()));
  const auto job = server_->client().Start(config, JobOptions{});
  std::thread sender([&] {
    for (int i = 0; i < kNumFrames; ++i) EXPECT_TRUE(job->SendFrame({pictures[i], 40 * i}));
    EXPECT_TRUE(job->FinishSending());
  });
  LiveOutcome outcome;
  ReadFrames(*job, kAll, outcome);
  sender.join();

  ASSERT_TRUE(outcome.status.ok()) << outcome.status;
  ASSERT_EQ(outcome.frames.size(), size_t{kNumFrames});
  std::vector<int64_t> repeated, noted;
  for (int i = 0; i < kNumFrames; ++i) {
    const v1::Frame& frame = outcome.frames[i];
    EXPECT_EQ(frame.pts(), 40 * i);
    if (!frame.repeated()) continue;
    repeated.push_back(i);
    ASSERT_GT(i, 0);
    EXPECT_TRUE(frame.data() == outcome.frames[i - 1].data()) << i;
  }
  for (const v1::FrameNote& note : outcome.summary.frame_notes()) {
    if (absl::StrContains(note.note(), "skipped")) noted.push_back(note.frame());
  }
  EXPECT_THAT(repeated, Not(IsEmpty()));
  EXPECT_EQ(repeated, noted);
  EXPECT_EQ(outcome.summary.live().frames_in(), kNumFrames);
  EXPECT_EQ(outcome.summary.live().frames_skipped(), static_cast<int64_t>(repeated.size()));
  EXPECT_FALSE(outcome.frames.back().repeated()) << "the newest is never left out";
}

TEST_F(LiveTest, ToolMakesAVideoOfAStream) {
  constexpr int kNumFrames = 20;
  const std::string out = folder_->File("live.mp4");
  OutputOf(Reenact({"live", "--source", Face(), "--driving", JpegStream(kNumFrames), "--fps",
                    "30000/1001", "--skip", "never", "--steps", absl::StrCat(kFewSteps), "--out",
                    out, "--server", server_->target()}));

  const auto times = FrameTimes(out);

  ASSERT_EQ(times.size(), size_t{kNumFrames});
  for (int64_t i = 0; i < kNumFrames; ++i) {
    EXPECT_EQ(times[i].first * 30'000, 1001 * i * times[i].second) << i;
  }
}

TEST_F(LiveTest, BadFramesAreToldWhyAndWhich) {
  const std::vector<std::string> pictures = Pictures(3);
  const std::string other_size = folder_->File("small.jpg");
  OutputOf(
      {"ffmpeg", "-v", "error", "-y", "-i", Long(), "-frames:v", "1", "-s", "64x64", other_size});
  struct Case {
    const char* name;
    std::vector<std::string> images;
    std::vector<int64_t> pts;
    std::vector<const char*> words;
  };
  const Case cases[] = {
      {"no picture", {pictures[0], "text"}, {0, 1}, {"frame 1"}},
      {"cut short", {pictures[0].substr(0, pictures[0].size() / 2)}, {0}, {"frame 0"}},
      {"another size", {pictures[0], ReadFile(other_size)}, {0, 1}, {"frame 1", "64x64"}},
      {"time runs backward", {pictures[0], pictures[1]}, {5, 4}, {"frame 1", "pts is 4"}},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    const auto job = server_->client().Start(
        LiveConfig(v1::SKIP_POLICY_WAIT, v1::OUTPUT_FORMAT_JPEG), JobOptions{});
    for (size_t i = 0; i < c.images.size(); ++i) {
      if (!job->SendFrame({c.images[i], c.pts[i]})) break;
    }
    LiveOutcome outcome;
    ReadFrames(*job, kAll, outcome);
    EXPECT_EQ(outcome.status.code(), absl::StatusCode::kInvalidArgument) << outcome.status;
    for (const char* word : c.words) EXPECT_THAT(Message(outcome.status), HasSubstr(word));
  }
}

TEST_F(LiveTest, ClientThatLeavesEndsTheJob) {
  const std::vector<std::string> pictures = Pictures(model_->frames_per_row() + 1);
  auto job = server_->client().Start(LiveConfig(v1::SKIP_POLICY_SKIP, v1::OUTPUT_FORMAT_JPEG),
                                     JobOptions{});
  for (size_t i = 0; i < pictures.size(); ++i) {
    ASSERT_TRUE(job->SendFrame({pictures[i], static_cast<int64_t>(i)}));
  }
  LiveOutcome outcome;
  ReadFrames(*job, pictures.size() - 1, outcome);
  ASSERT_EQ(outcome.frames.size(), pictures.size() - 1) << outcome.status;

  job.reset();

  EXPECT_EQ(WaitForEnd(outcome.job_id).state(), v1::JOB_STATE_CANCELLED);
}

using EndTest = E2eTest;

TEST_F(EndTest, ClientGoneFreesTheMemory) {
  int64_t before = 0;
  for (int round = 0; round < 4; ++round) {
    auto job = Start(SlowConfig(), Long());
    const Outcome seen = ReadUntilStep(*job);
    ASSERT_FALSE(seen.job_id.empty());

    job.reset();  // the call is reset, as by a client that has gone

    const v1::Job ended = WaitForEnd(seen.job_id);
    EXPECT_EQ(ended.state(), v1::JOB_STATE_CANCELLED);
    ASSERT_TRUE(AwaitIdleDevice());
    EXPECT_LT(ended.progress().step(), ended.progress().total_steps());
    // One step may have been running, and progress may have been on its way. Progress counts rows,
    // a step has at most eight.
    EXPECT_LE(ended.progress().step(), seen.last_step + 3 * 8);
    // The first round fills what the server keeps for good (arenas, caches).
    if (round == 0) before = server_->Memory();
  }
  // One job holds the whole clip: its pictures, its latents and a row's activations.
  EXPECT_LT(server_->Memory(), before + before / 10 + (32 << 20)) << "from " << before;
}

TEST_F(EndTest, ClientGoneStopsTheSteps) {
  // With and without a job that could be resumed.
  for (const absl::Duration resume_timeout : {absl::ZeroDuration(), absl::Hours(1)}) {
    JobOptions options;
    options.resume_timeout = resume_timeout;
    auto job = Start(SlowConfig(), Long(), options);
    const Outcome seen = ReadUntilStep(*job);

    job.reset();

    EXPECT_EQ(WaitForEnd(seen.job_id).state(), v1::JOB_STATE_CANCELLED);
    ASSERT_TRUE(AwaitIdleDevice());
    const double steps = server_->Metric("reenact_steps_total");
    ASSERT_GT(steps, 0) << "no metrics";
    for (int i = 0; i < 100; ++i) ASSERT_TRUE(server_->client().GetJob(seen.job_id).ok());
    EXPECT_EQ(server_->Metric("reenact_steps_total"), steps);
  }
}

TEST_F(EndTest, KilledClientIsNoticed) {
  Subprocess client(
      Reenact({"run", "--server", server_->target(), "-s", Face(), "-d", Long(), "-o",
               folder_->File("killed.mp4"), "--steps", absl::StrCat(model_->max_num_steps())}));
  ASSERT_TRUE(client.ReadUntil([&] { return absl::StrContains(client.err(), "denoising"); }))
      << client.err();
  const size_t id = client.err().find("job ") + 4;
  const std::string job_id = client.err().substr(id, 32);

  client.Signal(SIGKILL);

  // Its connection might have broken: the server waits for it to come back, for as long as it was
  // told.
  const v1::Job job = WaitForEnd(job_id);
  EXPECT_EQ(job.state(), v1::JOB_STATE_CANCELLED);
  EXPECT_THAT(job.error_message(), HasSubstr("nobody resumed the job in 5s"));
}

TEST_F(EndTest, DeadlineShorterThanTheJob) {
  JobOptions options;
  options.timeout = absl::Seconds(2);

  const Outcome outcome = RunJob(SlowConfig(), Long(), options);

  EXPECT_EQ(outcome.status.code(), absl::StatusCode::kDeadlineExceeded);
  ASSERT_FALSE(outcome.job_id.empty());
  EXPECT_EQ(WaitForEnd(outcome.job_id).state(), v1::JOB_STATE_EXPIRED);
}

TEST_F(EndTest, CancelJobEndsIt) {
  auto job = Start(SlowConfig(), Long());
  const Outcome seen = ReadUntilStep(*job);

  Subprocess cancel(Reenact({"cancel", seen.job_id, "--server", server_->target()}));
  EXPECT_EQ(cancel.Wait(), 0) << cancel.err();

  EXPECT_EQ(ReadAll(*job).status.code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(WaitForEnd(seen.job_id).state(), v1::JOB_STATE_CANCELLED);
}

TEST_F(EndTest, FullQueueRefusesAndSaysWhenToComeBack) {
  // Admitted, and waiting for their driving media.
  std::vector<std::unique_ptr<JobStream>> waiting;
  std::vector<std::string> ids;
  for (int i = 0; i < kMaxQueued; ++i) {
    waiting.push_back(server_->client().Start(NormalConfig(), JobOptions{}));
    auto accepted = waiting.back()->Next();
    ASSERT_TRUE(accepted.ok() && accepted->has_value()) << accepted.status();
    ids.push_back((*accepted)->accepted().job_id());
  }

  const Outcome refused = RunJob(NormalConfig(), Short());

  EXPECT_EQ(refused.status.code(), absl::StatusCode::kResourceExhausted) << refused.status;
  EXPECT_THAT(Message(refused.status), HasSubstr("queue"));
  EXPECT_GT(RetryDelay(refused.status).value_or(absl::ZeroDuration()), absl::ZeroDuration());
  waiting.clear();
  for (const std::string& id : ids) EXPECT_EQ(WaitForEnd(id).state(), v1::JOB_STATE_CANCELLED);
}

using GoodInputTest = E2eTest;

TEST_F(GoodInputTest, OneFrameGivesOneFrame) {
  const std::string one = folder_->File("one.mp4"), out = folder_->File("one-out.mp4");
  OutputOf({"ffmpeg", "-y", "-v", "error", "-i", Long(), "-an", "-frames:v", "1", "-c:v", "libx264",
            one});

  const Outcome outcome = RunJob(NormalConfig(), one);

  ASSERT_TRUE(outcome.status.ok()) << outcome.status;
  EXPECT_EQ(outcome.summary.frames_out(), 1);
  std::ofstream(out, std::ios::binary) << outcome.video;
  EXPECT_EQ(FrameTimes(out), FrameTimes(one));
}

TEST_F(GoodInputTest, WholeClipKeepsFramesTimesAndSound) {
  const std::string out = folder_->File("d18.mp4");
  Subprocess run(Reenact({"run", "--server", server_->target(), "-s", Face(), "-d", Long(), "-o",
                          out, "--steps", absl::StrCat(kFewSteps)}));
  ASSERT_EQ(run.Wait(absl::Minutes(9)), 0) << run.err();

  const auto times = FrameTimes(Long());
  EXPECT_EQ(times.size(), 216u);
  EXPECT_EQ(FrameTimes(out), times);
  EXPECT_EQ(SoundMd5(out), SoundMd5(Long()));
}

TEST_F(GoodInputTest, VariableRateKeepsItsTimes) {
  // 29.97 frames a second of which some are left out.
  const std::string uneven = folder_->File("uneven.mp4"), out = folder_->File("uneven-out.mp4");
  OutputOf({"ffmpeg", "-y", "-v", "error", "-i", Long(), "-an", "-vf",
            "setpts=N/(30000/1001)/TB,select='lt(n,16)*not(between(n,5,7))*mod(n,4)'", "-fps_mode",
            "vfr", "-video_track_timescale", "30000", "-c:v", "libx264", uneven});

  const Outcome outcome = RunJob(NormalConfig(), uneven);

  ASSERT_TRUE(outcome.status.ok()) << outcome.status;
  std::ofstream(out, std::ios::binary) << outcome.video;
  const auto times = FrameTimes(uneven);
  EXPECT_GT(times.size(), 5u);
  EXPECT_EQ(FrameTimes(out), times);
}

TEST_F(GoodInputTest, TwoClientsAtOnceGetWhatEachGetsAlone) {
  const auto run = [](int seed, const std::string& name) {
    return Reenact({"run", "--server", server_->target(), "-s", Face(), "-d", Short(), "-o",
                    folder_->File(name), "--steps", "40", "--seed", absl::StrCat(seed)});
  };
  for (int seed : {5, 6}) {
    Subprocess alone(run(seed, absl::StrCat("alone", seed, ".mp4")));
    ASSERT_EQ(alone.Wait(), 0) << alone.err();
  }

  // Jobs in the denoising steps beyond one each: those that shared a step with another job.
  const auto sharing = [] {
    return server_->Metric("reenact_step_jobs_sum") - server_->Metric("reenact_step_jobs_count");
  };
  const double shared_before = sharing();
  // On a busy machine the first may be done when the second has only started.
  for (int attempt = 0; attempt < 10 && sharing() <= shared_before; ++attempt) {
    Subprocess five(run(5, "together5.mp4"));
    Subprocess six(run(6, "together6.mp4"));
    ASSERT_EQ(five.Wait(), 0) << five.err();
    ASSERT_EQ(six.Wait(), 0) << six.err();
  }

  EXPECT_GT(sharing(), shared_before) << "the two never met, so nothing was tested";
  const auto content = [](const std::string& name) { return ReadFile(folder_->File(name)); };
  EXPECT_TRUE(content("together5.mp4") == content("alone5.mp4"));
  EXPECT_TRUE(content("together6.mp4") == content("alone6.mp4"));
  EXPECT_FALSE(content("alone5.mp4") == content("alone6.mp4")) << "the seed has no effect";
}

TEST_F(GoodInputTest, FramesComeInOrderWithTheirTimes) {
  v1::JobConfig config = NormalConfig();
  config.mutable_output()->set_format(v1::OUTPUT_FORMAT_PNG);
  auto job = Start(config, Short());
  std::vector<std::pair<int64_t, int64_t>> times;
  while (true) {
    auto next = job->Next();
    ASSERT_TRUE(next.ok()) << next.status();
    if (!next->has_value()) break;
    if (!(*next)->has_frame()) continue;
    const v1::Frame& frame = (*next)->frame();
    EXPECT_EQ(frame.index(), static_cast<int64_t>(times.size()));
    EXPECT_TRUE(frame.data().starts_with("\x89PNG"));
    EXPECT_EQ(frame.width(), model_->image_size());
    const int64_t top = frame.pts() * frame.time_base().numerator();
    const int64_t divisor = std::gcd(top, int64_t{frame.time_base().denominator()});
    times.emplace_back(top / divisor, frame.time_base().denominator() / divisor);
  }
  EXPECT_EQ(times, FrameTimes(Short()));
}

TEST_F(GoodInputTest, TheWholePictureInAnotherCodec) {
  const std::string out = folder_->File("whole.mp4"), source = Data("scikit-image/astronaut.png");
  Subprocess run(Reenact({"run",
                          "--server",
                          server_->target(),
                          "-s",
                          source,
                          "-d",
                          Short(),
                          "-o",
                          out,
                          "--steps",
                          absl::StrCat(kFewSteps),
                          "--paste-back",
                          "--codec",
                          "vp9",
                          "--encoding-speed",
                          "fastest",
                          "--source-face",
                          source,
                          "--driver-face",
                          "0.5,0.5",
                          "--motion-mouth",
                          "1.5"}));
  ASSERT_EQ(run.Wait(absl::Minutes(2)), 0) << run.err();

  EXPECT_EQ(FrameTimes(out), FrameTimes(Short()));
  const auto probed =
      nlohmann::json::parse(OutputOf({"ffprobe", "-v", "error", "-show_entries",
                                      "stream=codec_name,width,height", "-of", "json", out}));
  EXPECT_EQ(probed["streams"][0]["codec_name"], "vp9");
  EXPECT_EQ(probed["streams"][0]["width"], 512);
  EXPECT_EQ(probed["streams"][0]["height"], 512);
}

TEST_F(GoodInputTest, APosterAndAMatteBelow) {
  const std::string out = folder_->File("matte.mp4"), poster = folder_->File("poster.jpg");
  Subprocess run(
      Reenact({"run", "--server", server_->target(), "-s", Face(), "-d", Short(), "-o", out,
               "--steps", absl::StrCat(kFewSteps), "--poster", poster, "--matte", "below"}));
  ASSERT_EQ(run.Wait(absl::Minutes(2)), 0) << run.err();

  EXPECT_EQ(FrameTimes(out), FrameTimes(Short()));
  const auto size_of = [](const std::string& path) {
    const auto probed =
        nlohmann::json::parse(OutputOf({"ffprobe", "-v", "error", "-show_entries",
                                        "stream=codec_name,width,height", "-of", "json", path}));
    const auto& stream = probed["streams"][0];
    return std::tuple(stream["codec_name"].get<std::string>(), stream["width"].get<int>(),
                      stream["height"].get<int>());
  };
  const int side = model_->image_size();
  EXPECT_EQ(size_of(out), std::tuple("h264", side, 2 * side));
  EXPECT_EQ(size_of(poster), std::tuple("mjpeg", side, side));
  EXPECT_TRUE(ReadFile(poster).starts_with("\xFF\xD8\xFF"));
}

TEST_F(GoodInputTest, AMatteIsAFourthChannel) {
  v1::JobConfig config = NormalConfig();
  config.mutable_output()->set_format(v1::OUTPUT_FORMAT_RAW_RGB);
  config.mutable_output()->set_matte(v1::MATTE_ALPHA);
  config.mutable_output()->set_poster(true);
  auto job = Start(config, Short());
  std::vector<v1::Frame> frames;
  int num_posters = 0;
  while (true) {
    auto next = job->Next();
    ASSERT_TRUE(next.ok()) << next.status();
    if (!next->has_value()) break;
    if ((*next)->has_poster()) {
      ++num_posters;
      EXPECT_TRUE(frames.empty()) << "it comes first";
      EXPECT_EQ((*next)->poster().width(), model_->image_size());
    }
    if ((*next)->has_frame()) frames.push_back((*next)->frame());
  }
  EXPECT_EQ(num_posters, 1);
  ASSERT_EQ(frames.size(), 8u);
  for (const v1::Frame& frame : frames) {
    EXPECT_EQ(frame.width(), model_->image_size());
    EXPECT_EQ(frame.height(), model_->image_size());
    ASSERT_EQ(frame.data().size(), size_t{4} * frame.width() * frame.height());
    // The middle is the face, the corner is not.
    const size_t middle =
        static_cast<size_t>(frame.height() / 2 * frame.width() + frame.width() / 2);
    EXPECT_EQ(static_cast<uint8_t>(frame.data()[4 * middle + 3]), 255);
    EXPECT_EQ(frame.data()[3], 0);
  }
}

TEST_F(GoodInputTest, AFaceIsReplacedInAVideo) {
  // Shorter than the driving, and of another size and rate.
  const std::string source = folder_->File("source.mp4"), out = folder_->File("replaced.mp4");
  OutputOf({"ffmpeg", "-v", "error", "-i", Data("LivePortrait/driving/d6.mp4"), "-an", "-vf",
            "scale=322:-2,fps=12", "-frames:v", "3", "-c:v", "libx264", source});
  Subprocess run(Reenact({"run", "--server", server_->target(), "-s", source, "-d", Short(), "-o",
                          out, "--steps", absl::StrCat(kFewSteps), "--paste-back"}));
  ASSERT_EQ(run.Wait(absl::Minutes(2)), 0) << run.err();

  EXPECT_THAT(run.err(), HasSubstr("of the source video"));
  EXPECT_EQ(FrameTimes(out), FrameTimes(Short()));
  const auto probe = [](const std::string& path) {
    return OutputOf({"ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries",
                     "stream=width,height", "-of", "csv", path});
  };
  EXPECT_EQ(probe(out), probe(source));
}

TEST_F(GoodInputTest, TwoPeopleDriveTwo) {
  const std::string driving = folder_->File("two.mp4"), out = folder_->File("two_out.mp4");
  OutputOf({"ffmpeg", "-v", "error", "-y", "-i", Long(), "-i", Data("LivePortrait/driving/d3.mp4"),
            "-filter_complex", "[0]scale=256:256[a];[1]scale=256:256[b];[a][b]hstack", "-an",
            "-frames:v", "6", "-c:v", "libx264", driving});
  Subprocess run(
      Reenact({"run", "--server", server_->target(), "-s", Face(), "--driver-face", "0", "--pair",
               absl::StrCat("driver-face=1; source=", Data("LivePortrait/source/s9.jpg")), "-d",
               driving, "-o", out, "--steps", absl::StrCat(kFewSteps)}));
  ASSERT_EQ(run.Wait(absl::Minutes(2)), 0) << run.err();

  EXPECT_THAT(run.err(), HasSubstr("pair 1: its driver's face was found in 6 of 6 frames"));
  EXPECT_EQ(FrameTimes(out), FrameTimes(driving));
  const auto probed = nlohmann::json::parse(OutputOf(
      {"ffprobe", "-v", "error", "-show_entries", "stream=width,height", "-of", "json", out}));
  EXPECT_EQ(probed["streams"][0]["width"], 2 * model_->image_size());
  EXPECT_EQ(probed["streams"][0]["height"], model_->image_size());
}

TEST_F(BadInputTest, OnePersonCannotDriveTwo) {
  v1::JobConfig config = NormalConfig();
  v1::FacePair& pair = *config.add_further_faces();
  pair.mutable_source()->set_image(ReadFile(Face()));
  pair.mutable_driver_face()->set_index(1);
  const Outcome outcome = RunJob(config, Short());
  EXPECT_EQ(outcome.status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Message(outcome.status),
              HasSubstr("further_faces[0].driver_face: no face found in any of the 8 frames"));
}

TEST_F(BadInputTest, SourceVideoHasNoFace) {
  const std::string source = folder_->File("bars.mp4");
  OutputOf({"ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=size=160x120:rate=10:duration=1",
            "-c:v", "libx264", "-y", source});
  v1::JobConfig config = NormalConfig();
  config.mutable_source()->clear_image();
  config.mutable_source()->set_video(ReadFile(source));
  const Outcome outcome = RunJob(config, Short());
  EXPECT_EQ(outcome.status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(Message(outcome.status), AllOf(HasSubstr("source.video"), HasSubstr("no face")));
}

TEST_F(BadInputTest, SourceVideoIsNone) {
  v1::JobConfig config = NormalConfig();
  config.mutable_source()->clear_image();
  config.mutable_source()->set_video("neither video nor picture");
  const Outcome outcome = RunJob(config, Short());
  EXPECT_EQ(outcome.status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Message(outcome.status), HasSubstr("source.video"));
}

TEST_F(GoodInputTest, TheSummaryTellsOfEveryFramesFace) {
  const Outcome outcome = RunJob(NormalConfig(), Short());
  ASSERT_TRUE(outcome.status.ok()) << outcome.status;
  const v1::FrameFaces& faces = outcome.summary.frame_faces();
  ASSERT_EQ(faces.origin_size(), 8);
  ASSERT_EQ(faces.confidence_size(), 8);
  ASSERT_EQ(faces.person_size(), 8);
  for (int i = 0; i < 8; ++i) {
    EXPECT_EQ(faces.origin(i), v1::FrameFaces::ORIGIN_FOUND);
    EXPECT_GT(faces.confidence(i), 0.5);
    EXPECT_EQ(faces.person(i), 0);
  }
}

TEST_F(GoodInputTest, AFaceThatIsNotThereIsAnError) {
  v1::JobConfig config = NormalConfig();
  config.mutable_source()->mutable_face()->set_index(3);
  const Outcome outcome = RunJob(config, Short());
  EXPECT_EQ(outcome.status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(outcome.status.message()), HasSubstr("source.face"));
}

TEST_F(GoodInputTest, AContiguousJobIsDoneWhileItIsRead) {
  v1::JobConfig config = NormalConfig();
  config.set_sequence_plan(v1::SEQUENCE_PLAN_CONTIGUOUS);
  const std::string out = folder_->File("contiguous.mp4");
  const Outcome outcome = RunJob(config, Long());
  ASSERT_TRUE(outcome.status.ok()) << outcome.status;
  EXPECT_EQ(outcome.summary.frames_out(), 216);
  std::ofstream(out, std::ios::binary) << outcome.video;
  EXPECT_EQ(FrameTimes(out), FrameTimes(Long()));
  EXPECT_EQ(SoundMd5(out), SoundMd5(Long()));
}

TEST_F(GoodInputTest, EveryMethodForLongVideosMakesItsOwnVideo) {
  const std::vector<std::vector<std::string>> choices = {
      {"--method", "multidiffusion", "--window", "4", "--overlap", "2"},
      {"--method", "overlapped", "--window", "4"},
      {"--method", "independent", "--window", "3"}};
  std::set<std::string> videos;
  for (const std::vector<std::string>& choice : choices) {
    SCOPED_TRACE(absl::StrJoin(choice, " "));
    const std::string out = folder_->File("method.mp4");
    std::vector<std::string> command = {"run",
                                        "-s",
                                        Face(),
                                        "-d",
                                        Short(),
                                        "-o",
                                        out,
                                        "--steps",
                                        absl::StrCat(kFewSteps),
                                        "--server",
                                        server_->target()};
    command.insert(command.end(), choice.begin(), choice.end());
    Subprocess run(Reenact(command));
    ASSERT_EQ(run.Wait(absl::Minutes(5)), 0) << run.err();
    EXPECT_EQ(FrameTimes(out), FrameTimes(Short()));
    EXPECT_TRUE(videos.insert(ReadFile(out)).second) << "the same video as another method";
  }
  // Eight frames in windows of three: the last window is moved back and has one of them twice.
  v1::JobConfig config = NormalConfig();
  config.set_long_video_method(v1::LONG_VIDEO_METHOD_INDEPENDENT);
  config.mutable_window()->set_frames(3);
  const Outcome windows = RunJob(config, Short());
  ASSERT_TRUE(windows.status.ok()) << windows.status;
  EXPECT_EQ(windows.summary.rows(), 3);
  EXPECT_EQ(windows.summary.padding_slots(), 1);
  EXPECT_EQ(windows.summary.rows_run(), 3 * kFewSteps);
  // One scene needs no other anchor.
  config = NormalConfig();
  const Outcome single = RunJob(config, Short());
  config.set_anchor_placement(v1::ANCHOR_PLACEMENT_PER_SCENE);
  const Outcome per_scene = RunJob(config, Short());
  ASSERT_TRUE(per_scene.status.ok()) << per_scene.status;
  EXPECT_TRUE(per_scene.video == single.video);
  EXPECT_FALSE(videos.contains(single.video));
  config.set_sequence_plan(v1::SEQUENCE_PLAN_BALANCED);
  const Outcome balanced = RunJob(config, Short());
  ASSERT_TRUE(balanced.status.ok()) << balanced.status;
  EXPECT_EQ(balanced.summary.frames_out(), 8);
}

TEST_F(GoodInputTest, BrokenConnectionIsNotSeenInTheVideo) {
  const std::string clip = folder_->File("clip.mp4");
  OutputOf({"ffmpeg", "-y", "-v", "error", "-i", Long(), "-an", "-frames:v", "24", "-c:v",
            "libx264", clip});
  v1::JobConfig config = NormalConfig();
  config.set_sequence_plan(v1::SEQUENCE_PLAN_CONTIGUOUS);
  config.set_num_steps(10);
  const Outcome whole = RunJob(config, clip);
  ASSERT_TRUE(whole.status.ok()) << whole.status;

  const auto proxy = TcpProxy::Start(server_->target());
  ASSERT_NE(proxy, nullptr);
  const auto client = Client::Connect(proxy->address(), {});
  ASSERT_TRUE(client.ok()) << client.status();
  JobOptions options;
  int num_resumed = 0;
  options.on_resumed = [&num_resumed] { ++num_resumed; };
  auto driving = OpenMediaFile(clip);
  ASSERT_TRUE(driving.ok()) << driving.status();
  auto job = (*client)->Start(config, std::move(*driving), options);
  Outcome cut;
  bool has_frames = false;
  while (!has_frames) {
    auto next = job->Next();
    ASSERT_TRUE(next.ok() && next->has_value()) << next.status();
    Note(**next, cut);
    has_frames = (*next)->video().num_frames() > 0;
  }

  proxy->Cut();
  const Outcome rest = ReadAll(*job);

  ASSERT_TRUE(rest.status.ok()) << rest.status;
  EXPECT_EQ(num_resumed, 1);
  EXPECT_LT(cut.video.size(), whole.video.size());
  EXPECT_TRUE(cut.video + rest.video == whole.video);
  EXPECT_EQ(rest.summary.frames_out(), 24);
}

TEST_F(GoodInputTest, PythonClientGetsTheSameBytes) {
  const std::string python =
      FromEnvironmentOr("REENACT_PYTHON", REENACT_SOURCE_DIR "/.deps/python/bin/python3");
  if (!std::filesystem::exists(python)) {
    if (MustHaveData()) FAIL() << python << " is not there: scripts/setup.sh makes it";
    GTEST_SKIP() << python << " is not there: scripts/setup.sh makes it";
  }
  const std::string by_tool = folder_->File("tool.mp4"), by_python = folder_->File("python.mp4");
  Subprocess tool(Reenact({"run", "--server", server_->target(), "-s", Face(), "-d", Short(), "-o",
                           by_tool, "--seed", "11", "--steps", "4"}));
  ASSERT_EQ(tool.Wait(), 0) << tool.err();

  Subprocess client({python, REENACT_SOURCE_DIR "/tests/e2e/python_client.py", server_->target(),
                     Face(), Short(), by_python, "--seed", "11", "--steps", "4"});
  ASSERT_EQ(client.Wait(), 0) << client.err() << client.out();

  EXPECT_TRUE(ReadFile(by_python) == ReadFile(by_tool));
  const auto learned = nlohmann::json::parse(client.out());
  EXPECT_EQ(learned["frames_out"], 8);
  EXPECT_EQ(learned["seed"], 11);
  EXPECT_EQ(learned["health"], "SERVING");
  EXPECT_EQ(learned["health reenact.v1.ReenactService"], "SERVING");
  EXPECT_THAT(learned["services"].get<std::vector<std::string>>(),
              IsSupersetOf({"reenact.v1.ReenactService", "grpc.health.v1.Health"}));
  EXPECT_THAT(learned["methods"].get<std::vector<std::string>>(),
              IsSupersetOf({"Reenact", "CancelJob", "GetJob", "ListModels", "ResumeJob"}));
  EXPECT_THAT(learned["models"].get<std::vector<std::string>>(), Contains(model_->name()));
}

TEST_F(GoodInputTest, HealthModelsAndMetricsAnswer) {
  Subprocess health(Reenact({"health", "--server", server_->target()}));
  EXPECT_EQ(health.Wait(), 0) << health.err();
  EXPECT_THAT(health.out(), HasSubstr("alive, ready"));

  Subprocess models(Reenact({"models", "--server", server_->target()}));
  EXPECT_EQ(models.Wait(), 0) << models.err();
  EXPECT_THAT(models.out(), HasSubstr(model_->name()));

  const std::string metrics = server_->Metrics();
  EXPECT_THAT(metrics, HasSubstr("200 OK"));
  for (const char* name :
       {"reenact_jobs_queued", "reenact_jobs_running", "reenact_jobs_accepted_total",
        "reenact_requests_refused_total", "reenact_jobs_ended_total", "reenact_steps_total",
        "reenact_step_seconds", "reenact_rows_total", "reenact_stage_seconds",
        "reenact_frames_total", "reenact_time_to_first_frame_seconds",
        "reenact_worker_heartbeat_age_seconds", "reenact_model_info", "reenact_ready 1"}) {
    EXPECT_THAT(metrics, HasSubstr(name));
  }
}

TEST_F(GoodInputTest, OneCommandDoesItAll) {
  const std::string out = folder_->File("private.mp4");
  Subprocess run(
      Reenact({"run", "-s", Face(), "-d", Short(), "-o", out, "--steps", absl::StrCat(kFewSteps)}),
      {{"REENACTD", FromEnvironmentOr("REENACTD", REENACTD_PROGRAM)},
       {"REENACT_BUNDLE", FromEnvironmentOr("REENACT_BUNDLE", REENACT_SOURCE_DIR "/demo")}});
  ASSERT_EQ(run.Wait(absl::Minutes(5)), 0) << run.err();

  const Outcome served = RunJob(NormalConfig(), Short());

  EXPECT_TRUE(ReadFile(out) == served.video) << "a private server gives other bytes";
}

TEST_F(GoodInputTest, TerminatedServerEndsCleanly) {
  auto server = ReenactdUnderTest::Start({});
  ASSERT_TRUE(server.ok()) << server.status();
  const absl::Time start = absl::Now();

  (*server)->Stop();

  EXPECT_EQ((*server)->how_it_ended(), "exit code 0");
  EXPECT_LT(absl::Now() - start, absl::Seconds(10));
}

}  // namespace
}  // namespace reenact::testing
