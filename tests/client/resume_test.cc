// The client library and the tool against the real service with a fake engine, over connections
// that break.
#include <atomic>
#include <fstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/client.h"
#include "tests/client/subprocess.h"
#include "tests/client/tcp_proxy.h"
#include "tests/server/test_client.h"
#include "tests/support/paths.h"

namespace reenact {
namespace {

using testing::FakeEngine;
using ::testing::HasSubstr;
using testing::PictureConfig;
using testing::ServerFixture;
using testing::StatusIs;
using testing::Subprocess;
using testing::TcpProxy;
using testing::TemporaryFolder;

constexpr int64_t kMiB = 1 << 20;

struct Outcome {
  absl::Status status;
  std::string job_id;
  std::string video;
  std::vector<uint64_t> numbers;
  v1::Summary summary;
};

void Note(const v1::ReenactResponse& answer, Outcome& outcome) {
  outcome.numbers.push_back(answer.sequence_number());
  outcome.video += answer.video().data();
  if (answer.has_accepted()) outcome.job_id = answer.accepted().job_id();
  if (answer.has_summary()) outcome.summary = answer.summary();
}

void ReadAll(JobStream& job, Outcome& outcome) {
  while (true) {
    auto next = job.Next();
    outcome.status = next.status();
    if (!next.ok() || !next->has_value()) return;
    Note(**next, outcome);
  }
}

class ClientResumeTest : public ServerFixture {
 protected:
  // 8 MiB of output.
  static FakeEngine::Options Large() {
    FakeEngine::Options options;
    options.num_frames = 128;
    options.bytes_per_frame = 64 << 10;
    return options;
  }
  FakeEngine::Options Gated() {
    FakeEngine::Options options;
    options.on_step = [this](const JobRequest&, int64_t) { return WaitAtGate(); };
    return options;
  }

  void Start(const ServerConfig& config, FakeEngine::Options options) {
    StartServer(config, std::move(options));
    proxy_ = TcpProxy::Start(server_->addresses()[0]);
    ASSERT_NE(proxy_, nullptr);
    auto client = Client::Connect(proxy_->address(), {});
    ASSERT_THAT(client, testing::IsOk());
    client_ = *std::move(client);
    auto direct = Client::Connect(server_->addresses()[0], {});
    ASSERT_THAT(direct, testing::IsOk());
    direct_ = *std::move(direct);
  }

  // Counts what is said of the connection.
  JobOptions Counting() {
    JobOptions options;
    options.resume_backoff = absl::Milliseconds(5);
    options.on_connection_lost = [this](const absl::Status&) { ++num_lost_; };
    options.on_resumed = [this] { ++num_resumed_; };
    return options;
  }
  std::unique_ptr<JobStream> StartJob(const JobOptions& options) {
    return client_->Start(PictureConfig(), MediaFromBytes("media"), options);
  }
  // What an undisturbed job gives.
  std::string WholeVideo() {
    Outcome whole;
    ReadAll(*direct_->Start(PictureConfig(), MediaFromBytes("media"), {}), whole);
    EXPECT_TRUE(whole.status.ok()) << whole.status;
    return whole.video;
  }
  // Reads until the server has all of the driving media.
  static void ReadUntilPrepared(JobStream& job, Outcome& outcome) {
    while (true) {
      auto next = job.Next();
      ASSERT_TRUE(next.ok() && next->has_value()) << next.status();
      Note(**next, outcome);
      if ((*next)->has_video() || (*next)->progress().stage() > v1::STAGE_RECEIVING) return;
    }
  }
  // The job once it has ended.
  v1::Job AwaitEnd(const std::string& id) {
    v1::Job job;
    for (int i = 0; i < 1'000'000; ++i) {
      auto asked = direct_->GetJob(id);
      if (!asked.ok()) ADD_FAILURE() << asked.status();
      if (!asked.ok()) break;
      job = *asked;
      if (job.state() >= v1::JOB_STATE_SUCCEEDED) break;
    }
    return job;
  }

  void TearDown() override {
    client_.reset();
    direct_.reset();
    proxy_.reset();
    ServerFixture::TearDown();
  }

  std::atomic<int> num_lost_{0}, num_resumed_{0};
  std::unique_ptr<TcpProxy> proxy_;
  std::unique_ptr<Client> client_;  // through the proxy
  std::unique_ptr<Client> direct_;
};

TEST_F(ClientResumeTest, BrokenConnectionsAreNotSeenInTheOutput) {
  Start(TestConfig(), Large());
  const std::string whole = WholeVideo();
  for (const int num_cuts : {1, 5}) {
    SCOPED_TRACE(absl::StrCat(num_cuts, " cuts"));
    num_lost_ = num_resumed_ = 0;
    const int cuts_before = proxy_->num_cuts();
    proxy_->CutEvery(kMiB, num_cuts);
    Outcome outcome;

    ReadAll(*StartJob(Counting()), outcome);

    ASSERT_TRUE(outcome.status.ok()) << outcome.status;
    EXPECT_TRUE(outcome.video == whole);
    for (size_t i = 0; i < outcome.numbers.size(); ++i) ASSERT_EQ(outcome.numbers[i], i);
    EXPECT_EQ(outcome.summary.frames_out(), 128);
    EXPECT_EQ(proxy_->num_cuts() - cuts_before, num_cuts);
    // A connection that breaks before it has brought an answer is part of the same loss.
    EXPECT_GE(num_lost_, 1);
    EXPECT_LE(num_lost_, num_cuts);
    EXPECT_EQ(num_resumed_, num_lost_);
  }
}

TEST_F(ClientResumeTest, WhatASlowReaderHasNotReadIsNotLost) {
  // There is one place on the device: when the second job is done, the first has filled all there
  // is to fill. The server keeps a small part of the output.
  FakeEngine::Options options = Large();
  options.num_frames = 512;
  ServerConfig config = TestConfig();
  config.max_active_jobs = 1;
  config.max_outbox_bytes = kMiB;
  config.resume_buffer_bytes = 4 * kMiB;
  Start(config, std::move(options));
  auto job = StartJob(Counting());
  Outcome outcome;
  ReadUntilPrepared(*job, outcome);
  const std::string whole = WholeVideo();

  proxy_->Cut();
  ReadAll(*job, outcome);

  ASSERT_TRUE(outcome.status.ok()) << outcome.status;
  EXPECT_TRUE(outcome.video == whole);
  EXPECT_EQ(num_resumed_, 1);
}

TEST_F(ClientResumeTest, ForgottenJobIsUnavailableAndSaysWhy) {
  ServerConfig config = TestConfig();
  config.resume_timeout = absl::Milliseconds(1);
  FakeEngine::Options options;
  options.num_frames = 1'000'000'000;
  Start(config, std::move(options));
  auto job = StartJob(Counting());
  Outcome outcome;
  ReadUntilPrepared(*job, outcome);
  proxy_->Refuse(true);
  proxy_->Cut();
  EXPECT_EQ(AwaitEnd(outcome.job_id).state(), v1::JOB_STATE_CANCELLED);
  proxy_->Refuse(false);

  ReadAll(*job, outcome);

  EXPECT_THAT(outcome.status,
              StatusIs(absl::StatusCode::kUnavailable, "cannot go on with the job"));
  EXPECT_THAT(std::string(outcome.status.message()), HasSubstr(outcome.job_id));
  EXPECT_EQ(job->Next().status(), outcome.status) << "it repeats its end";
}

TEST_F(ClientResumeTest, AttemptsAreBounded) {
  Start(TestConfig(), Gated());
  struct Case {
    const char* name;
    int max_attempts;
    absl::Duration timeout;
  };
  for (const Case& c :
       {Case{"by number", 3, absl::Hours(1)}, Case{"by time", 1'000'000, absl::Milliseconds(50)}}) {
    SCOPED_TRACE(c.name);
    JobOptions options = Counting();
    options.max_resume_attempts = c.max_attempts;
    options.resume_timeout = c.timeout;
    auto job = StartJob(options);
    Outcome outcome;
    ReadUntilPrepared(*job, outcome);
    proxy_->Refuse(true);
    proxy_->Cut();

    ReadAll(*job, outcome);

    EXPECT_THAT(outcome.status, StatusIs(absl::StatusCode::kUnavailable, "did not come back"));
    proxy_->Refuse(false);
    EXPECT_THAT(direct_->CancelJob(outcome.job_id), testing::IsOk());
    // Until its connection is back.
    for (int i = 0; i < 100'000 && !client_->ListModels().ok(); ++i) {
    }
  }
  EXPECT_EQ(num_lost_, 2);
  EXPECT_EQ(num_resumed_, 0);
  gate_.Open();
}

TEST_F(ClientResumeTest, LostBeforeAllMediaWasSentItEnds) {
  Start(TestConfig(), FakeEngine::Options{});
  auto job = client_->Start(PictureConfig(), Counting());
  ASSERT_TRUE(job->Send("med"));
  Outcome outcome;
  auto accepted = job->Next();
  ASSERT_TRUE(accepted.ok() && accepted->has_value()) << accepted.status();
  Note(**accepted, outcome);

  proxy_->Cut();
  ReadAll(*job, outcome);

  EXPECT_EQ(outcome.status.code(), absl::StatusCode::kUnavailable) << outcome.status;
  EXPECT_EQ(num_lost_, 0);
  // Cancelled as a job without a call; or, if the piece was lost with the connection, failed for
  // want of media, as the server takes the break for the client's half-close.
  EXPECT_THAT(AwaitEnd(outcome.job_id).state(),
              ::testing::AnyOf(v1::JOB_STATE_CANCELLED, v1::JOB_STATE_FAILED));
}

TEST_F(ClientResumeTest, WithoutResumingTheJobEndsWithItsConnection) {
  FakeEngine::Options endless;
  endless.num_frames = 1'000'000'000;
  Start(TestConfig(), std::move(endless));
  JobOptions options = Counting();
  options.resume_timeout = absl::ZeroDuration();
  auto job = StartJob(options);
  Outcome outcome;
  ReadUntilPrepared(*job, outcome);
  ASSERT_TRUE(engine_->AwaitSteps(1));

  proxy_->Cut();
  ReadAll(*job, outcome);

  EXPECT_EQ(outcome.status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(num_lost_, 0);
  EXPECT_EQ(AwaitEnd(outcome.job_id).state(), v1::JOB_STATE_CANCELLED);
}

TEST_F(ClientResumeTest, CancelledJobEndsOnTheServerWithinAStep) {
  Start(TestConfig(), Gated());
  for (const bool dropped : {false, true}) {
    gate_.Shut();
    const size_t steps_before = engine_->batch_sizes().size();
    auto job = StartJob({});
    Outcome outcome;
    ReadUntilPrepared(*job, outcome);
    ASSERT_TRUE(engine_->AwaitSteps(steps_before + 1));

    if (!dropped) {
      job->Cancel();
      ReadAll(*job, outcome);
      EXPECT_EQ(outcome.status.code(), absl::StatusCode::kCancelled) << outcome.status;
    }
    job.reset();  // waits for the server to have heard of it
    gate_.Open();

    EXPECT_EQ(AwaitEnd(outcome.job_id).state(), v1::JOB_STATE_CANCELLED);
    EXPECT_EQ(engine_->batch_sizes().size(), steps_before + 1);
  }
}

TEST_F(ClientResumeTest, CancelWorksWhileTheConnectionIsLost) {
  Start(TestConfig(), Gated());
  JobOptions options = Counting();
  options.resume_backoff = absl::Hours(1);
  options.resume_timeout = absl::Hours(1);
  testing::Gate lost;
  options.on_connection_lost = [&lost](const absl::Status&) { lost.Open(); };
  auto job = StartJob(options);
  Outcome outcome;
  ReadUntilPrepared(*job, outcome);
  proxy_->Refuse(true);
  proxy_->Cut();

  std::thread reading([&] { ReadAll(*job, outcome); });
  EXPECT_TRUE(lost.Await());
  job->Cancel();
  reading.join();

  EXPECT_EQ(outcome.status.code(), absl::StatusCode::kCancelled) << outcome.status;
  gate_.Open();
  EXPECT_THAT(direct_->CancelJob(outcome.job_id), testing::IsOk());
}

TEST_F(ClientResumeTest, DeadlineCountsWhileTheConnectionIsLost) {
  Start(TestConfig(), Gated());
  JobOptions options = Counting();
  options.timeout = absl::Seconds(1);
  options.resume_timeout = absl::Hours(1);
  options.max_resume_attempts = 1'000'000;
  auto job = StartJob(options);
  Outcome outcome;
  ReadUntilPrepared(*job, outcome);
  proxy_->Refuse(true);
  proxy_->Cut();

  ReadAll(*job, outcome);

  EXPECT_EQ(outcome.status.code(), absl::StatusCode::kDeadlineExceeded) << outcome.status;
  gate_.Open();
  EXPECT_EQ(AwaitEnd(outcome.job_id).state(), v1::JOB_STATE_EXPIRED);
}

TEST_F(ClientResumeTest, TenantsSeeTheirOwnJobsOnly) {
  Start(TestConfig(), FakeEngine::Options{});
  ClientOptions options;
  options.tenant = "ann";
  auto ann = Client::Connect(server_->addresses()[0], options);
  ASSERT_THAT(ann, testing::IsOk());
  Outcome outcome;
  ReadAll(*(*ann)->Start(PictureConfig(), MediaFromBytes("media"), {}), outcome);
  ASSERT_TRUE(outcome.status.ok()) << outcome.status;

  EXPECT_THAT((*ann)->GetJob(outcome.job_id), testing::IsOk());
  EXPECT_THAT(direct_->GetJob(outcome.job_id),
              StatusIs(absl::StatusCode::kNotFound, outcome.job_id));
  EXPECT_THAT(direct_->CancelJob(outcome.job_id),
              StatusIs(absl::StatusCode::kNotFound, outcome.job_id));
}

TEST_F(ClientResumeTest, ToolSaysThatItResumedAndWritesTheSameFile) {
#ifdef REENACT_THREAD_SANITIZER
  GTEST_SKIP() << "the tool has no list of what the sanitizer cannot see in gRPC";
#endif
  Start(TestConfig(), Large());
  TemporaryFolder folder;
  const auto run = [&](const std::string& server, const std::string& name) {
    std::ofstream(folder.File("face.png")) << "picture";
    std::ofstream(folder.File("driving.mp4")) << "media";
    Subprocess tool({REENACT_PROGRAM, "run", "--server", server, "-s", folder.File("face.png"),
                     "-d", folder.File("driving.mp4"), "-o", folder.File(name)});
    EXPECT_EQ(tool.Wait(), 0) << tool.err();
    return tool.err();
  };

  EXPECT_THAT(run(server_->addresses()[0], "whole.mp4"),
              ::testing::Not(HasSubstr("connection lost")));
  proxy_->CutEvery(2 * kMiB, 2);
  EXPECT_THAT(run(proxy_->address(), "cut.mp4"), HasSubstr("connection lost, resumed"));

  EXPECT_EQ(proxy_->num_cuts(), 2);
  EXPECT_TRUE(testing::ReadFile(folder.File("cut.mp4")) ==
              testing::ReadFile(folder.File("whole.mp4")));
}

}  // namespace
}  // namespace reenact
