// Layer 3: real threads, a fake engine, no gRPC. Meant for ThreadSanitizer as well.
#include "server/job_runner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "reenact/internal/rpc_status.pb.h"
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
  // `accepted`, which is there as soon as the job is.
  v1::Accepted accepted() const {
    MutexLock lock(&mu_);
    return answers_.empty() ? v1::Accepted() : answers_.front().accepted();
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

TEST_F(JobRunnerTest, CancelStopsTheReadingOfALongVideo) {
  // What a client, an operator and a deadline can do while FinishDriving runs.
  struct Case {
    const char* name;
    absl::StatusCode code;
    std::function<void(Caller&)> end;
  };
  const Case cases[] = {
      {"client", absl::StatusCode::kCancelled,
       [this](Caller& caller) {
         runner_->RequestEnd(caller.job(), absl::CancelledError("enough"));
       }},
      {"operator", absl::StatusCode::kCancelled,
       [this](Caller& caller) { EXPECT_THAT(runner_->CancelJob(caller.job()->id()), IsOk()); }},
      {"all", absl::StatusCode::kUnavailable,
       [this](Caller&) { runner_->CancelAll(absl::UnavailableError("")); }},
      {"deadline", absl::StatusCode::kDeadlineExceeded, [](Caller&) {}},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    Gate in_preparation(false), cancelled(false);
    FakeEngine::Options options;
    options.on_prepare = [&](const JobRequest&, const std::string&) {
      in_preparation.Open();
      return cancelled.Await() ? absl::OkStatus() : absl::InternalError("was not cancelled");
    };
    options.on_cancel = [&](const JobRequest& request) {
      // With a lock of the runner or the job held, this would not return.
      EXPECT_THAT(runner_->GetJob(request.job_id), IsOk());
      cancelled.Open();
    };
    runner_.reset();
    Use({}, std::move(options));
    const auto caller = NewCaller();
    const bool expires = c.code == absl::StatusCode::kDeadlineExceeded;
    ASSERT_THAT(
        caller->Start(expires ? absl::Now() + absl::Milliseconds(200) : absl::InfiniteFuture()),
        IsOk());
    ASSERT_TRUE(in_preparation.Await());

    c.end(*caller);

    EXPECT_EQ(caller->AwaitEnd().code(), c.code);
    EXPECT_TRUE(engine_->AwaitAlive(0));
    EXPECT_THAT(engine_->batch_sizes(), IsEmpty());
  }
}

TEST_F(JobRunnerTest, CancelStopsTheRenderingOfALongRow) {
  Gate in_render(false), cancelled(false);
  FakeEngine::Options options;
  options.on_render = [&](const JobRequest&) {
    in_render.Open();
    return cancelled.Await() ? absl::CancelledError("of the engine") : absl::InternalError("not");
  };
  options.on_cancel = [&](const JobRequest&) { cancelled.Open(); };
  Use({}, std::move(options));
  const auto caller = NewCaller();
  ASSERT_THAT(caller->Start(), IsOk());
  ASSERT_TRUE(in_render.Await());

  runner_->RequestEnd(caller->job(), absl::CancelledError("enough"));

  EXPECT_THAT(caller->AwaitEnd(), StatusIs(absl::StatusCode::kCancelled, "enough"));
  EXPECT_TRUE(engine_->AwaitAlive(0));
}

TEST_F(JobRunnerTest, EndOfAJobStopsTheCallsThatStillRunForIt) {
  // The step fails while an earlier row is being rendered.
  Gate in_render(false), cancelled(false);
  FakeEngine::Options options;
  options.on_render = [&](const JobRequest&) {
    in_render.Open();
    return cancelled.Await() ? absl::OkStatus() : absl::InternalError("was not cancelled");
  };
  options.on_step = [&](const JobRequest&, int64_t step) {
    if (step < 4) return absl::OkStatus();
    in_render.Await();
    return absl::ResourceExhaustedError("no memory");
  };
  options.on_cancel = [&](const JobRequest&) { cancelled.Open(); };
  Use({}, std::move(options));
  const auto caller = NewCaller();

  ASSERT_THAT(caller->Start(), IsOk());

  EXPECT_THAT(caller->AwaitEnd(), StatusIs(absl::StatusCode::kResourceExhausted, "no memory"));
  EXPECT_TRUE(engine_->AwaitAlive(0));
}

TEST_F(JobRunnerTest, JobCancelledBeforeItHasAnEngineObjectIsNotPrepared) {
  std::atomic<bool> prepared{false};
  FakeEngine::Options options;
  options.on_create = [this](const JobRequest&) { return WaitAtGate(); };
  options.on_prepare = [&](const JobRequest&, const std::string&) {
    prepared = true;
    return absl::OkStatus();
  };
  Use({}, std::move(options));
  const auto caller = NewCaller();
  ASSERT_THAT(caller->Start(), IsOk());
  ASSERT_TRUE(gate_.AwaitWaiting(1));

  runner_->RequestEnd(caller->job(), absl::CancelledError("enough"));
  gate_.Open();

  EXPECT_THAT(caller->AwaitEnd(), StatusIs(absl::StatusCode::kCancelled, "enough"));
  EXPECT_TRUE(engine_->AwaitAlive(0));
  EXPECT_FALSE(prepared);
}

TEST_F(JobRunnerTest, ThousandCancelsEachStopTheirJobWithinOneStep) {
  // 20 rounds of 50 jobs that run together and would never end by themselves.
  constexpr int kNumRounds = 20, kNumJobs = 50;
  Mutex mu;
  size_t num_steps = 0;                     // begun
  std::map<std::string, size_t> last_step;  // of a job
  std::map<std::string, size_t> steps_at_cancel;
  FakeEngine::Options options;
  options.num_frames = 1'000'000'000;
  options.on_step_begin = [&](const auto& rows_by_job) {
    MutexLock lock(&mu);
    for (const auto& [id, rows] : rows_by_job) last_step[id] = num_steps;
    ++num_steps;
  };
  ServerConfig config;
  config.max_queued_jobs = config.max_jobs = config.max_active_jobs = kNumJobs;
  config.max_batch_rows = 8;
  config.render_threads = 2;
  Use(config, std::move(options));

  for (int round = 0; round < kNumRounds; ++round) {
    std::vector<std::shared_ptr<Caller>> callers(kNumJobs);
    for (auto& caller : callers) {
      caller = NewCaller();
      ASSERT_THAT(caller->Start(), IsOk());
    }
    ASSERT_TRUE(engine_->AwaitSteps(engine_->batch_sizes().size() + 5));
    for (const auto& caller : callers) {
      runner_->RequestEnd(caller->job(), absl::CancelledError("enough"));
      MutexLock lock(&mu);
      steps_at_cancel[caller->job()->id()] = num_steps;
    }
    for (const auto& caller : callers) {
      EXPECT_THAT(caller->AwaitEnd(), StatusIs(absl::StatusCode::kCancelled, "enough"));
    }
  }

  MutexLock lock(&mu);
  EXPECT_EQ(steps_at_cancel.size(), size_t{kNumRounds * kNumJobs});
  EXPECT_GT(last_step.size(), 100u) << "most were cancelled before their first step";
  for (const auto& [id, step] : last_step) {
    // Steps are numbered from 0: of those that had not begun, one may have been on its way.
    EXPECT_LE(step, steps_at_cancel[id]);
  }
}

// RetryInfo of a refusal; zero: there is none.
absl::Duration RetryDelay(const absl::Status& status) {
  internal::RetryInfo info;
  const auto payload = status.GetPayload("type.googleapis.com/google.rpc.RetryInfo");
  if (payload.has_value()) info.ParseFromString(std::string(*payload));
  return absl::Seconds(info.retry_delay().seconds()) +
         absl::Nanoseconds(info.retry_delay().nanos());
}

// Every job is 2 rows of 3 steps of 10 GFLOP on a device of 1 GFLOP/s: 60 s. No step ends before
// the gate opens.
class AdmissionByCostTest : public JobRunnerTest {
 protected:
  void UseBound(absl::Duration max_queued_work) {
    ServerConfig config;
    config.max_queued_work = max_queued_work;
    config.max_active_jobs = 1;
    FakeEngine::Options options;
    options.models[0].gflop_per_second = 1;
    options.gflop_per_row_step = 10;
    options.on_step = [this](const JobRequest&, int64_t) { return WaitAtGate(); };
    Use(config, std::move(options));
  }
};

TEST_F(AdmissionByCostTest, RefusesAJobThatIsTooMuchAndSaysWhenItWouldFit) {
  UseBound(absl::Seconds(100));
  const auto first = NewCaller(), second = NewCaller();
  ASSERT_THAT(first->Start(), IsOk());
  ASSERT_TRUE(engine_->AwaitSteps(1));

  ASSERT_THAT(second->Start(), IsOk());
  const absl::Status status = second->AwaitEnd();

  EXPECT_THAT(status, StatusIs(absl::StatusCode::kResourceExhausted, "1m40s of work"));
  EXPECT_EQ(RetryDelay(status), absl::Seconds(20)) << "60 s + 60 s in a queue of 100 s";
  gate_.Open();
  EXPECT_TRUE(first->AwaitSummary());
  ExpectNormalJobSucceeds();
}

TEST_F(AdmissionByCostTest, LoneJobAlwaysRunsAndTheOthersAreRefusedAtOnce) {
  UseBound(absl::Seconds(50));
  const auto lone = NewCaller(), other = NewCaller();
  ASSERT_THAT(lone->Start(), IsOk());
  ASSERT_TRUE(engine_->AwaitSteps(1));

  const absl::Status status = other->Start();

  EXPECT_THAT(status, StatusIs(absl::StatusCode::kResourceExhausted, "50s of work"));
  EXPECT_EQ(RetryDelay(status), absl::Seconds(10));
  gate_.Open();
  EXPECT_TRUE(lone->AwaitSummary());
}

TEST_F(AdmissionByCostTest, AcceptedTellsTheExpectedWait) {
  UseBound(absl::Hours(1));
  const auto first = NewCaller(), second = NewCaller(), third = NewCaller();
  ASSERT_THAT(first->Start(), IsOk());
  ASSERT_TRUE(engine_->AwaitSteps(1));
  ASSERT_THAT(second->Start(), IsOk());
  ASSERT_THAT(third->Start(), IsOk());

  EXPECT_TRUE(first->accepted().has_expected_wait());
  EXPECT_EQ(first->accepted().expected_wait().seconds(), 0);
  EXPECT_EQ(second->accepted().expected_wait().seconds(), 60);
  // The second, prepared or not, is expected to be like the first.
  EXPECT_EQ(third->accepted().expected_wait().seconds(), 120);
  gate_.Open();
  for (const auto& caller : {first, second, third}) EXPECT_TRUE(caller->AwaitSummary());
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
  // 1000 frames in 250 rows; the outbox holds the output of two.
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

  // Rendered at most: just less than the outbox holds (7 frames), then one Render call of the row
  // that was being computed and the one row ahead.
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
