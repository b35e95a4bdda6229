// Layer 3: real threads, a fake engine, no gRPC. Meant for ThreadSanitizer as well.
#include "server/job_runner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/fakes/fake_engine.h"
#include "tests/fakes/gate.h"
#include "tests/server/status_is.h"

namespace reenact {
namespace {

using testing::FakeEngine;
using testing::Gate;
using ::testing::IsEmpty;
using testing::IsOk;
using testing::kTestTimeout;
using testing::StatusIs;

// A caller without gRPC: reads every answer as soon as it may.
class Caller : public Job::Listener, public std::enable_shared_from_this<Caller> {
 public:
  explicit Caller(JobRunner& runner) : runner_(runner) {}

  // Admits a job and sends its driving media.
  absl::Status Start(absl::Time deadline = absl::InfiniteFuture(), std::string driving = "media") {
    if (const absl::Status status = Admit(deadline); !status.ok()) return status;
    if (!driving.empty()) runner_.PushInput(job(), std::move(driving));
    runner_.FinishInput(job());
    return absl::OkStatus();
  }
  absl::Status Admit(absl::Time deadline = absl::InfiniteFuture()) {
    JobRequest request;
    request.model = "fake";
    auto job = runner_.Admit(std::move(request), deadline, weak_from_this());
    if (!job.ok()) return job.status();
    {
      MutexLock lock(&mu_);
      job_ = *job;
    }
    OnJobChanged();
    return absl::OkStatus();
  }
  std::shared_ptr<Job> job() const {
    MutexLock lock(&mu_);
    return job_;
  }
  // While not reading, answers stay in the job's outbox.
  void SetReading(bool reading) {
    {
      MutexLock lock(&mu_);
      reading_ = reading;
    }
    OnJobChanged();
  }

  void OnJobChanged() override {
    {
      MutexLock lock(&mu_);
      changed_ = true;
      if (busy_) return;
      busy_ = true;
    }
    while (true) {
      std::shared_ptr<Job> current;
      {
        MutexLock lock(&mu_);
        if (!std::exchange(changed_, false) || job_ == nullptr || !reading_) {
          busy_ = false;
          return;
        }
        current = job_;
      }
      Job::Answer answer = runner_.NextAnswer(current);
      MutexLock lock(&mu_);
      if (answer.next == Job::Next::kAnswer) {
        answers_.push_back(answer.response);
        changed_ = true;
        summary_read_ = summary_read_ || answer.last;
      } else if (answer.next == Job::Next::kEnded) {
        status_ = answer.status;
      }
    }
  }

  // Waits for the summary and takes it as sent, as the gRPC stream does.
  bool AwaitSummary() {
    const auto read = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return summary_read_; };
    if (!Await(read)) return false;
    runner_.OnSummarySent(job());
    return true;
  }
  // Waits for the end; the status the caller would see.
  absl::Status AwaitEnd() {
    const auto ended = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return status_.has_value(); };
    if (!Await(ended)) return absl::UnknownError("no end");
    MutexLock lock(&mu_);
    return *status_;
  }
  // Number of answers of a kind so far.
  int Count(v1::ReenactResponse::PayloadCase kind) const {
    MutexLock lock(&mu_);
    return static_cast<int>(std::count_if(answers_.begin(), answers_.end(), [kind](auto& answer) {
      return answer.payload_case() == kind;
    }));
  }

 private:
  template <typename Reached>
  bool Await(const Reached& reached) {
    MutexLock lock(&mu_);
    return mu_.AwaitWithTimeout(absl::Condition(&reached), kTestTimeout);
  }

  JobRunner& runner_;
  mutable Mutex mu_;
  std::shared_ptr<Job> job_ ABSL_GUARDED_BY(mu_);
  bool reading_ ABSL_GUARDED_BY(mu_) = true;
  bool busy_ ABSL_GUARDED_BY(mu_) = false;
  bool changed_ ABSL_GUARDED_BY(mu_) = false;
  bool summary_read_ ABSL_GUARDED_BY(mu_) = false;
  std::optional<absl::Status> status_ ABSL_GUARDED_BY(mu_);
  std::vector<v1::ReenactResponse> answers_ ABSL_GUARDED_BY(mu_);
};

class JobRunnerTest : public ::testing::Test {
 protected:
  void Use(ServerConfig config, FakeEngine::Options options) {
    engine_ = std::make_unique<FakeEngine>(std::move(options));
    runner_ = std::make_unique<JobRunner>(config, *engine_, Clock::Real(), heartbeat_, metrics_);
  }
  void TearDown() override {
    gate_.Open();
    runner_.reset();
    EXPECT_EQ(engine_->num_alive(), 0);
    EXPECT_THAT(engine_->violations(), IsEmpty());
  }
  std::shared_ptr<Caller> NewCaller() { return std::make_shared<Caller>(*runner_); }

  void ExpectNormalJobSucceeds() {
    const auto caller = NewCaller();
    ASSERT_THAT(caller->Start(), IsOk());
    ASSERT_TRUE(caller->AwaitSummary());
    EXPECT_THAT(caller->AwaitEnd(), IsOk());
    EXPECT_EQ(caller->Count(v1::ReenactResponse::kVideo), 1 + 8);
    EXPECT_EQ(caller->Count(v1::ReenactResponse::kSummary), 1);
  }

  // Steps wait here if the options say so.
  absl::Status WaitAtGate() {
    return gate_.Await() ? absl::OkStatus() : absl::InternalError("the gate stayed shut");
  }

  Heartbeat heartbeat_;
  Metrics metrics_;
  Gate gate_;
  std::unique_ptr<FakeEngine> engine_;
  std::unique_ptr<JobRunner> runner_;
};

TEST_F(JobRunnerTest, JobSucceeds) {
  Use({}, {});
  ExpectNormalJobSucceeds();
  EXPECT_TRUE(runner_->AwaitIdle(absl::Now() + kTestTimeout));
}

TEST_F(JobRunnerTest, ManyJobsAtOnceEachEndOnce) {
  constexpr int kNumJobs = 24;
  ServerConfig config;
  config.max_queued_jobs = kNumJobs;
  config.preparation_threads = 3;
  config.render_threads = 2;
  Use(config, {});

  std::vector<std::shared_ptr<Caller>> callers(kNumJobs);
  std::vector<std::thread> threads;
  for (int i = 0; i < kNumJobs; ++i) {
    callers[i] = NewCaller();
    threads.emplace_back([this, i, &callers] {
      EXPECT_THAT(callers[i]->Start(), IsOk());
      if (i % 3 == 0) runner_->RequestEnd(callers[i]->job(), absl::CancelledError("enough"));
      if (i % 3 != 0) {
        EXPECT_TRUE(callers[i]->AwaitSummary());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();

  for (int i = 0; i < kNumJobs; ++i) {
    const absl::StatusCode expected =
        i % 3 == 0 ? absl::StatusCode::kCancelled : absl::StatusCode::kOk;
    EXPECT_THAT(callers[i]->AwaitEnd(), StatusIs(expected, "")) << i;
  }
  EXPECT_TRUE(runner_->AwaitIdle(absl::Now() + kTestTimeout));
  EXPECT_TRUE(engine_->AwaitAlive(0));
}

TEST_F(JobRunnerTest, CancelStopsWorkWithinOneStepAndFreesTheJob) {
  FakeEngine::Options options;
  options.num_frames = 10000;
  options.on_step = [this](const JobRequest&, int64_t) { return WaitAtGate(); };
  Use({}, std::move(options));
  const auto caller = NewCaller();
  ASSERT_THAT(caller->Start(), IsOk());
  ASSERT_TRUE(engine_->AwaitSteps(1));

  runner_->RequestEnd(caller->job(), absl::CancelledError("enough"));
  gate_.Open();

  EXPECT_THAT(caller->AwaitEnd(), StatusIs(absl::StatusCode::kCancelled, "enough"));
  EXPECT_TRUE(engine_->AwaitAlive(0));
  EXPECT_EQ(engine_->batch_sizes().size(), 1u);
}

TEST_F(JobRunnerTest, QueueFullIsRefusedWithADelayAndTheOthersAreUnharmed) {
  FakeEngine::Options options;
  options.on_step = [this](const JobRequest&, int64_t) { return WaitAtGate(); };
  ServerConfig config;
  config.max_queued_jobs = 1;
  config.max_active_jobs = 1;
  config.retry_delay = absl::Seconds(3);
  Use(config, std::move(options));
  const auto running = NewCaller(), queued = NewCaller(), refused = NewCaller();
  ASSERT_THAT(running->Start(), IsOk());
  ASSERT_TRUE(engine_->AwaitSteps(1));
  ASSERT_THAT(queued->Start(), IsOk());

  const absl::Status status = refused->Start();

  EXPECT_THAT(status, StatusIs(absl::StatusCode::kResourceExhausted, "1 jobs"));
  EXPECT_TRUE(status.GetPayload("type.googleapis.com/google.rpc.RetryInfo").has_value());
  gate_.Open();
  EXPECT_TRUE(running->AwaitSummary());
  EXPECT_TRUE(queued->AwaitSummary());
  ExpectNormalJobSucceeds();
}

TEST_F(JobRunnerTest, JobsStillBeingSentCountAgainstMaxJobs) {
  ServerConfig config;
  config.max_jobs = 1;
  config.max_active_jobs = 1;
  Use(config, {});
  const auto first = NewCaller(), second = NewCaller();
  ASSERT_THAT(first->Start(), IsOk());

  EXPECT_THAT(second->Admit(), StatusIs(absl::StatusCode::kResourceExhausted, "as many jobs"));
  EXPECT_TRUE(first->AwaitSummary());
  ExpectNormalJobSucceeds();
}

TEST_F(JobRunnerTest, SlowReaderIsPausedWhileAnotherJobFinishes) {
  // 1000 frames in 250 passes; the outbox holds the output of two.
  FakeEngine::Options options;
  options.num_frames = 1000;
  options.bytes_per_frame = 100;
  ServerConfig config;
  config.max_outbox_bytes = 800;
  config.max_rows_ahead = 1;
  config.max_active_jobs = 1;
  Use(config, std::move(options));
  const auto slow = NewCaller(), quick = NewCaller();
  slow->SetReading(false);
  ASSERT_THAT(slow->Start(), IsOk());

  // With one place on the device, `quick` can finish only if `slow` gives its place up.
  ASSERT_THAT(quick->Start(), IsOk());
  ASSERT_TRUE(quick->AwaitSummary());

  // Rendered at most: just less than the outbox holds (7 frames), then one Render call of the pass
  // that was being computed and the one pass ahead.
  EXPECT_LE(slow->job()->Snapshot().progress().frames_done(), 7 + 2 * 4);
  EXPECT_FALSE(slow->job()->ended());
  slow->SetReading(true);
  EXPECT_TRUE(slow->AwaitSummary());
  EXPECT_EQ(slow->Count(v1::ReenactResponse::kVideo), 1 + 1000);
}

TEST_F(JobRunnerTest, EveryStageCanFailAndTheNextJobSucceeds) {
  struct Case {
    const char* name;
    absl::StatusCode code;
  };
  std::string failing;
  Mutex mu;
  const auto fail = [&](const std::string& stage, absl::Status status) {
    MutexLock lock(&mu);
    return failing == stage ? status : absl::OkStatus();
  };
  FakeEngine::Options options;
  options.on_create = [&](auto&) {
    return fail("create", absl::FailedPreconditionError("no face in the source"));
  };
  options.on_prepare = [&](auto&, auto&) {
    return fail("prepare", absl::InvalidArgumentError("frame 7 does not decode"));
  };
  options.on_step = [&](auto&, int64_t) { return fail("step", absl::InternalError("/a/path.cc")); };
  options.on_render = [&](auto&) { return fail("render", absl::UnknownError("odd")); };
  Use({}, std::move(options));

  for (const Case& c :
       {Case{"create", absl::StatusCode::kFailedPrecondition},
        Case{"prepare", absl::StatusCode::kInvalidArgument},
        Case{"step", absl::StatusCode::kInternal}, Case{"render", absl::StatusCode::kInternal}}) {
    {
      MutexLock lock(&mu);
      failing = c.name;
    }
    const auto caller = NewCaller();
    ASSERT_THAT(caller->Start(), IsOk());
    const absl::Status status = caller->AwaitEnd();
    EXPECT_EQ(status.code(), c.code) << c.name << ": " << status;
    if (c.code == absl::StatusCode::kInternal) {
      EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr(caller->job()->id()));
    }
    EXPECT_TRUE(engine_->AwaitAlive(0));
    {
      MutexLock lock(&mu);
      failing.clear();
    }
    ExpectNormalJobSucceeds();
  }
}

TEST_F(JobRunnerTest, BadSourceFailsBeforeTheDrivingMediaIsThere) {
  FakeEngine::Options options;
  options.on_create = [](auto&) { return absl::InvalidArgumentError("not an image"); };
  Use({}, std::move(options));
  const auto caller = NewCaller();

  ASSERT_THAT(caller->Admit(), IsOk());

  EXPECT_THAT(caller->AwaitEnd(), StatusIs(absl::StatusCode::kInvalidArgument, "not an image"));
}

TEST_F(JobRunnerTest, ZeroBytesOfDrivingMediaAreRefused) {
  Use({}, {});
  const auto caller = NewCaller();

  ASSERT_THAT(caller->Start(absl::InfiniteFuture(), ""), IsOk());

  EXPECT_THAT(caller->AwaitEnd(),
              StatusIs(absl::StatusCode::kInvalidArgument, "without driving media"));
}

TEST_F(JobRunnerTest, DeadlineEndsAJobThatNobodyFeeds) {
  Use({}, {});
  const auto caller = NewCaller();

  ASSERT_THAT(caller->Admit(absl::Now() + absl::Milliseconds(20)), IsOk());

  EXPECT_THAT(caller->AwaitEnd(), StatusIs(absl::StatusCode::kDeadlineExceeded, ""));
  EXPECT_TRUE(engine_->AwaitAlive(0));
}

TEST_F(JobRunnerTest, RemembersEndedJobsUpToTheLimit) {
  ServerConfig config;
  config.max_remembered_jobs = 1;
  Use(config, {});
  const auto first = NewCaller(), second = NewCaller();
  ASSERT_THAT(first->Start(), IsOk());
  ASSERT_TRUE(first->AwaitSummary());
  EXPECT_EQ(runner_->GetJob(first->job()->id())->state(), v1::JOB_STATE_SUCCEEDED);

  ASSERT_THAT(second->Start(), IsOk());
  ASSERT_TRUE(second->AwaitSummary());

  EXPECT_EQ(runner_->GetJob(second->job()->id())->state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_THAT(runner_->GetJob(first->job()->id()), StatusIs(absl::StatusCode::kNotFound, "job_id"));
  EXPECT_THAT(runner_->CancelJob("nope"), StatusIs(absl::StatusCode::kNotFound, "\"nope\""));
}

TEST_F(JobRunnerTest, DrainingRefusesNewJobsAndFinishesRunningOnes) {
  FakeEngine::Options options;
  options.on_step = [this](const JobRequest&, int64_t) { return WaitAtGate(); };
  Use({}, std::move(options));
  const auto running = NewCaller(), late = NewCaller();
  ASSERT_THAT(running->Start(), IsOk());
  ASSERT_TRUE(engine_->AwaitSteps(1));

  runner_->StopAdmitting();

  EXPECT_THAT(late->Start(), StatusIs(absl::StatusCode::kUnavailable, "draining"));
  EXPECT_FALSE(runner_->AwaitIdle(absl::Now()));
  gate_.Open();
  EXPECT_TRUE(running->AwaitSummary());
  EXPECT_TRUE(runner_->AwaitIdle(absl::Now() + kTestTimeout));
}

TEST_F(JobRunnerTest, DestructionEndsWhatIsLeft) {
  Use({}, {});
  const auto receiving = NewCaller();
  ASSERT_THAT(receiving->Admit(), IsOk());

  runner_.reset();

  EXPECT_EQ(receiving->job()->state(), JobState::kCancelled);
}

}  // namespace
}  // namespace reenact
