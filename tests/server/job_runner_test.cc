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
#include "tests/fakes/fake_clock.h"
#include "tests/fakes/fake_engine.h"
#include "tests/fakes/gate.h"
#include "tests/server/status_is.h"

namespace reenact {
namespace {

using testing::FakeEngine;
using testing::FakeGrowth;
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
  absl::Status Admit(absl::Time deadline = absl::InfiniteFuture(), JobRequest request = {}) {
    request.model = "fake";
    auto job = runner_.Admit(std::move(request), deadline, weak_from_this());
    if (!job.ok()) return job.status();
    Follow(*job);
    return absl::OkStatus();
  }
  // Reads the answers of a job that it listens to already.
  void Follow(const std::shared_ptr<Job>& job) {
    {
      MutexLock lock(&mu_);
      job_ = job;
    }
    OnJobChanged();
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
  // Waits for `num` answers of a kind. False: they never came.
  bool AwaitCount(v1::ReenactResponse::PayloadCase kind, int num) {
    const auto there = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return CountOf(kind) >= num; };
    return Await(there);
  }
  // Waits until the job's progress is as wanted. False: it never was.
  bool AwaitProgress(const std::function<bool(const v1::Progress&)>& wanted) {
    const auto there = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
      return std::any_of(answers_.begin(), answers_.end(), [&](auto& answer) {
        return answer.has_progress() && wanted(answer.progress());
      });
    };
    return Await(there);
  }
  // All of a kind, in order.
  std::vector<v1::ReenactResponse> Answers(v1::ReenactResponse::PayloadCase kind) const {
    std::vector<v1::ReenactResponse> answers;
    MutexLock lock(&mu_);
    std::copy_if(answers_.begin(), answers_.end(), std::back_inserter(answers),
                 [kind](auto& answer) { return answer.payload_case() == kind; });
    return answers;
  }
  // `accepted`, which is there as soon as the job is.
  v1::Accepted accepted() const {
    MutexLock lock(&mu_);
    return answers_.empty() ? v1::Accepted() : answers_.front().accepted();
  }
  // Number of answers of a kind so far.
  int Count(v1::ReenactResponse::PayloadCase kind) const {
    MutexLock lock(&mu_);
    return CountOf(kind);
  }

 private:
  int CountOf(v1::ReenactResponse::PayloadCase kind) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return static_cast<int>(std::count_if(answers_.begin(), answers_.end(), [kind](auto& answer) {
      return answer.payload_case() == kind;
    }));
  }
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
    runner_ = std::make_unique<JobRunner>(config, *engine_, clock_, heartbeat_, metrics_);
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

  testing::LeapingClock clock_;
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
      {"deadline", absl::StatusCode::kDeadlineExceeded,
       [this](Caller&) { clock_.Advance(absl::Hours(1)); }},
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
    ASSERT_THAT(caller->Start(clock_.TimeNow() + absl::Hours(1)), IsOk());
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

TEST_F(JobRunnerTest, EndIsToldWhenTheJobHasLeftTheBooks) {
  // The engine's object goes when the job has ended and still holds its place. Whoever were told
  // of the end then might be refused in its place.
  std::shared_ptr<Job> job;
  std::atomic<int> num_looks{0};
  FakeEngine::Options options;
  options.on_job_gone = [&](const JobRequest&) {
    EXPECT_TRUE(job->ended());
    EXPECT_EQ(runner_->NextAnswer(job).next, Job::Next::kNothing);
    ++num_looks;
  };
  engine_ = std::make_unique<FakeEngine>(std::move(options));
  ServerConfig config;
  config.max_jobs = config.max_active_jobs = 1;
  runner_ = std::make_unique<JobRunner>(config, *engine_, clock_, heartbeat_, metrics_,
                                        JobRunner::Turns::kByCaller);
  const auto caller = NewCaller(), next = NewCaller();
  ASSERT_THAT(caller->Admit(), IsOk());
  ASSERT_TRUE(runner_->RunPreparationTurn());
  job = caller->job();

  runner_->RequestEnd(job, absl::CancelledError("enough"));
  runner_->RunSchedulerTurn();

  EXPECT_EQ(num_looks, 1);
  EXPECT_THAT(caller->AwaitEnd(), StatusIs(absl::StatusCode::kCancelled, "enough"));
  EXPECT_THAT(next->Admit(), IsOk());
  runner_.reset();  // before what the hook looks at
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

TEST_F(AdmissionByCostTest, GrowingJobIsNotRefusedForWhatItGrowsBy) {
  // One row of 30 s at first, then another. A bound of 40 s takes the first beside nothing else.
  ServerConfig config;
  config.max_queued_work = absl::Seconds(40);
  FakeEngine::Options options;
  options.models[0].gflop_per_second = 1;
  options.gflop_per_row_step = 10;
  options.growth_of = [](const JobRequest&) { return FakeGrowth{}; };
  options.on_step = [this](const JobRequest&, int64_t) { return WaitAtGate(); };
  Use(config, std::move(options));
  const auto growing = NewCaller(), other = NewCaller();
  ASSERT_THAT(growing->Admit(), IsOk());
  runner_->PushInput(growing->job(), "1234");
  ASSERT_TRUE(engine_->AwaitSteps(1));

  ASSERT_THAT(other->Admit(), IsOk()) << "30 s of 40 s";
  runner_->PushInput(growing->job(), "5678");
  ASSERT_TRUE(growing->AwaitProgress([](const auto& p) { return p.total_steps() == 6; }));

  const absl::Status status = NewCaller()->Admit();
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kResourceExhausted, "40s of work"));
  EXPECT_EQ(RetryDelay(status), absl::Seconds(20)) << "60 s in a queue of 40 s";
  runner_->FinishInput(growing->job());
  gate_.Open();
  EXPECT_TRUE(growing->AwaitSummary());
  EXPECT_THAT(growing->AwaitEnd(), IsOk());
  runner_->RequestEnd(other->job(), absl::CancelledError(""));
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

  ASSERT_THAT(caller->Admit(clock_.TimeNow() + absl::Hours(1)), IsOk());
  clock_.Advance(absl::Hours(1));

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

// Jobs that are stepped while their driving media comes in: rows of 4 frames, 3 steps each, 2 rows
// ahead at most.
class GrowingJobTest : public JobRunnerTest {
 protected:
  static JobRequest Live(SkipPolicy skip) {
    JobRequest request;
    request.format = OutputFormat::kPng;
    request.live = LiveOptions{.skip = skip, .max_wait = absl::Hours(1)};
    return request;
  }
  // A job of a file in which each byte is a frame.
  static FakeEngine::Options FileOptions() {
    FakeEngine::Options options;
    options.growth_of = [](const JobRequest&) { return FakeGrowth{}; };
    return options;
  }
  FakeEngine::Options Gated(FakeEngine::Options options = {}) {
    options.on_step = [this](const JobRequest&, int64_t) { return WaitAtGate(); };
    return options;
  }
  // Frames `first` to `last`, those with time stamps of 40 units from one to the next.
  void SendFrames(const Caller& caller, int first, int last) {
    for (int i = first; i <= last; ++i) {
      runner_->PushFrame(caller.job(), {.image = "picture", .pts = i * 40, .arrived = absl::Now()});
    }
  }
};

constexpr auto kVideo = v1::ReenactResponse::kVideo;
constexpr auto kFrame = v1::ReenactResponse::kFrame;

TEST_F(GrowingJobTest, OutputComesWhileInputIsStillAwaited) {
  Use({}, FileOptions());
  const auto caller = NewCaller();
  ASSERT_THAT(caller->Admit(), IsOk());
  runner_->PushInput(caller->job(), "1234");

  ASSERT_TRUE(caller->AwaitCount(kVideo, 1 + 4));
  v1::Job job = caller->job()->Snapshot();
  EXPECT_EQ(job.state(), v1::JOB_STATE_RUNNING);
  EXPECT_EQ(job.progress().stage(), v1::STAGE_DENOISING) << "it is not at its end";
  EXPECT_EQ(job.progress().total_steps(), 3);
  EXPECT_TRUE(caller->job()->wants_input());

  runner_->PushInput(caller->job(), "56789");
  ASSERT_TRUE(caller->AwaitCount(kVideo, 1 + 8));
  runner_->FinishInput(caller->job());
  ASSERT_TRUE(caller->AwaitSummary());
  EXPECT_THAT(caller->AwaitEnd(), IsOk());
  EXPECT_EQ(caller->Count(kVideo), 1 + 9);
  EXPECT_EQ(engine_->batch_sizes().size(), 3u * 3u);
}

TEST_F(GrowingJobTest, JobEndsAlthoughItsLastStepRanBeforeTheEndOfItsInput) {
  Use({}, FileOptions());
  const auto caller = NewCaller();
  ASSERT_THAT(caller->Admit(), IsOk());
  runner_->PushInput(caller->job(), "1234");
  ASSERT_TRUE(caller->AwaitCount(kVideo, 1 + 4));

  runner_->FinishInput(caller->job());

  ASSERT_TRUE(caller->AwaitSummary());
  EXPECT_THAT(caller->AwaitEnd(), IsOk());
  EXPECT_EQ(engine_->batch_sizes().size(), 3u);
}

TEST_F(GrowingJobTest, EngineThatIsAheadMakesTheCallerWait) {
  std::atomic<int> num_prepare_calls{0};
  FakeEngine::Options options = Gated(FileOptions());
  options.on_prepare_call = [&](const JobRequest&) { ++num_prepare_calls; };
  ServerConfig config;
  config.max_inbox_bytes = 1000;
  Use(config, std::move(options));
  const auto caller = NewCaller();
  ASSERT_THAT(caller->Admit(), IsOk());
  // 12 frames: 8 make the two rows that may be ahead.
  runner_->PushInput(caller->job(), std::string(12, 'x'));
  ASSERT_TRUE(caller->AwaitProgress([](const auto& p) { return p.frames_total() == 8; }));
  int num_pushed = 0;
  for (; caller->job()->wants_input() && num_pushed < 1000; ++num_pushed) {
    runner_->PushInput(caller->job(), "x");
  }

  // Some of them may have been taken before the engine was ahead, which is once.
  const int in_inbox = 1 + 1000 / (1 + static_cast<int>(Job::kPieceOverheadBytes));
  EXPECT_LE(num_pushed, 2 * in_inbox);
  EXPECT_LE(num_prepare_calls, 2 * (12 + in_inbox));
  EXPECT_EQ(caller->job()->Snapshot().progress().frames_total(), 8);

  runner_->FinishInput(caller->job());
  gate_.Open();
  ASSERT_TRUE(caller->AwaitSummary());
  EXPECT_THAT(caller->AwaitEnd(), IsOk());
  EXPECT_EQ(caller->Count(kVideo), 1 + 12 + num_pushed);
}

TEST_F(GrowingJobTest, PreparationThreadIsShared) {
  constexpr int kCalls = 10;
  Mutex mu;
  std::vector<std::string> calls;
  FakeEngine::Options options;
  options.prepare_calls = kCalls;
  options.on_prepare_call = [&](const JobRequest& request) {
    WaitAtGate().IgnoreError();
    MutexLock lock(&mu);
    calls.push_back(request.job_id);
  };
  ServerConfig config;
  config.preparation_threads = 1;
  Use(config, std::move(options));
  const auto first = NewCaller(), second = NewCaller();
  ASSERT_THAT(first->Start(), IsOk());
  ASSERT_TRUE(gate_.AwaitWaiting(1));
  ASSERT_THAT(second->Start(), IsOk());
  gate_.Open();
  ASSERT_TRUE(first->AwaitSummary());
  ASSERT_TRUE(second->AwaitSummary());

  // Neither has to wait for more than one call of the other, from when both are there.
  MutexLock lock(&mu);
  const auto both = std::find(calls.begin(), calls.end(), second->job()->id());
  ASSERT_LE(both - calls.begin(), 3) << "behind what the first had when it came";
  const auto end = both + std::min<std::ptrdiff_t>(2 * (kCalls - 3), calls.end() - both);
  EXPECT_EQ(std::adjacent_find(both, end), end);
}

TEST_F(GrowingJobTest, LiveFramesComeOutWithTheirTimeStamps) {
  Use({}, {});
  const auto caller = NewCaller();
  ASSERT_THAT(caller->Admit(absl::InfiniteFuture(), Live(SkipPolicy::kWait)), IsOk());
  SendFrames(*caller, 0, 3);
  ASSERT_TRUE(caller->AwaitCount(kFrame, 4)) << "the first row, before the fifth frame";
  SendFrames(*caller, 4, 9);
  runner_->FinishInput(caller->job());
  ASSERT_TRUE(caller->AwaitSummary());

  const auto frames = caller->Answers(kFrame);
  ASSERT_EQ(frames.size(), 10u);
  for (size_t i = 0; i < frames.size(); ++i) {
    EXPECT_EQ(frames[i].frame().index(), static_cast<int64_t>(i));
    EXPECT_EQ(frames[i].frame().pts(), static_cast<int64_t>(i) * 40);
    EXPECT_EQ(frames[i].frame().time_base().denominator(), 1000);
    EXPECT_FALSE(frames[i].frame().repeated());
  }
  const v1::Summary summary = caller->Answers(v1::ReenactResponse::kSummary).at(0).summary();
  EXPECT_EQ(summary.live().frames_in(), 10);
  EXPECT_EQ(summary.live().frames_skipped(), 0);
  EXPECT_GT(summary.live().lag().nanos() + summary.live().lag().seconds(), 0);
}

TEST_F(GrowingJobTest, SlowDeviceSkipsFramesAndSaysSo) {
  Use({}, Gated());
  const auto caller = NewCaller();
  ASSERT_THAT(caller->Admit(absl::InfiniteFuture(), Live(SkipPolicy::kSkip)), IsOk());
  SendFrames(*caller, 0, 19);
  ASSERT_TRUE(caller->AwaitProgress([](const auto& p) { return p.live().frames_in() == 20; }));
  gate_.Open();
  runner_->FinishInput(caller->job());
  ASSERT_TRUE(caller->AwaitSummary());

  const auto frames = caller->Answers(kFrame);
  ASSERT_EQ(frames.size(), 20u) << "a skipped frame has its output too";
  for (size_t i = 0; i < frames.size(); ++i) {
    EXPECT_EQ(frames[i].frame().pts(), static_cast<int64_t>(i) * 40);
    EXPECT_EQ(frames[i].frame().repeated(), i >= 8) << i;
  }
  const v1::Summary summary = caller->Answers(v1::ReenactResponse::kSummary).at(0).summary();
  EXPECT_EQ(summary.live().frames_skipped(), 12);
  EXPECT_EQ(engine_->batch_sizes().size(), 2u * 3u);
}

TEST_F(GrowingJobTest, WaitPolicySkipsNothingAndHoldsTheCallerUp) {
  ServerConfig config;
  config.max_inbox_bytes = 1000;
  Use(config, Gated());
  const auto caller = NewCaller();
  ASSERT_THAT(caller->Admit(absl::InfiniteFuture(), Live(SkipPolicy::kWait)), IsOk());
  SendFrames(*caller, 0, 8);
  ASSERT_TRUE(caller->AwaitProgress([](const auto& p) { return p.live().frames_in() == 8; }));
  int num_frames = 9;
  for (; caller->job()->wants_input() && num_frames < 1000; ++num_frames) {
    SendFrames(*caller, num_frames, num_frames);
  }
  EXPECT_LT(num_frames, 9 + 2 * 1000 / static_cast<int>(Job::kPieceOverheadBytes));
  EXPECT_GT(caller->job()->deadline(), absl::Now() + config.max_job_duration / 2)
      << "nothing is awaited from the caller";

  gate_.Open();
  runner_->FinishInput(caller->job());
  ASSERT_TRUE(caller->AwaitSummary());
  EXPECT_EQ(caller->Count(kFrame), num_frames);
  EXPECT_EQ(caller->Answers(v1::ReenactResponse::kSummary).at(0).summary().live().frames_skipped(),
            0);
}

TEST_F(GrowingJobTest, RunningJobsEndWhileTheyReceive) {
  struct Case {
    const char* name;
    absl::StatusCode code;
    std::function<void(Caller&)> end;
  };
  const Case cases[] = {
      {"client", absl::StatusCode::kCancelled,
       [this](Caller& caller) {
         runner_->CallLost(caller.job(), &caller, absl::CancelledError("gone"));
       }},
      {"operator", absl::StatusCode::kCancelled,
       [this](Caller& caller) { EXPECT_THAT(runner_->CancelJob(caller.job()->id()), IsOk()); }},
      {"drain", absl::StatusCode::kUnavailable,
       [this](Caller&) { runner_->CancelAll(absl::UnavailableError("draining")); }},
      {"bad frame", absl::StatusCode::kInvalidArgument,
       [this](Caller& caller) { SendFrames(caller, 0, 0); }},
      {"deadline", absl::StatusCode::kDeadlineExceeded,
       [this](Caller&) { clock_.Advance(absl::Minutes(30)); }},
      {"silence", absl::StatusCode::kDeadlineExceeded,
       [this](Caller&) { clock_.Advance(absl::Minutes(10)); }},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    const bool silent = std::string(c.name) == "silence";
    ServerConfig config;
    config.receive_timeout = silent ? absl::Minutes(10) : absl::Hours(1);
    runner_.reset();
    Use(config, {});
    const auto caller = NewCaller();
    ASSERT_THAT(caller->Admit(clock_.TimeNow() + absl::Minutes(30), Live(SkipPolicy::kWait)),
                IsOk());
    SendFrames(*caller, 1, 5);
    ASSERT_TRUE(caller->AwaitCount(kFrame, 4));

    c.end(*caller);

    EXPECT_THAT(caller->AwaitEnd(), StatusIs(c.code, silent ? "no driving media came" : ""));
    EXPECT_TRUE(engine_->AwaitAlive(0));
    EXPECT_EQ(engine_->batch_sizes().size(), 3u);
  }
}

TEST_F(GrowingJobTest, CancelStopsAGrowingJobWithinOneStep) {
  Use({}, Gated());
  const auto caller = NewCaller();
  ASSERT_THAT(caller->Admit(absl::InfiniteFuture(), Live(SkipPolicy::kWait)), IsOk());
  SendFrames(*caller, 0, 19);
  ASSERT_TRUE(engine_->AwaitSteps(1));

  runner_->RequestEnd(caller->job(), absl::CancelledError("enough"));
  gate_.Open();

  EXPECT_THAT(caller->AwaitEnd(), StatusIs(absl::StatusCode::kCancelled, "enough"));
  EXPECT_TRUE(engine_->AwaitAlive(0));
  EXPECT_EQ(engine_->batch_sizes().size(), 1u);
}

TEST_F(GrowingJobTest, CompleteLiveJobIsResumedLikeAnyOther) {
  Use({}, Gated());
  const auto first = NewCaller(), second = NewCaller();
  JobRequest request = Live(SkipPolicy::kWait);
  request.model = "fake";
  JobTerms terms;
  terms.idempotency_key = "key";
  const auto begun = runner_->Begin(request, absl::InfiniteFuture(), first, terms);
  ASSERT_THAT(begun, IsOk());
  runner_->PushFrame(begun->job, {.image = "picture", .pts = 1, .arrived = absl::Now()});
  runner_->CompleteInput(begun->job);
  ASSERT_TRUE(engine_->AwaitSteps(1));

  runner_->CallLost(begun->job, first.get(), absl::CancelledError("lost"));
  v1::ResumeJobRequest resume;
  resume.set_idempotency_key("key");
  ASSERT_THAT(runner_->Resume("", resume, absl::InfiniteFuture(), second), IsOk());
  second->Follow(begun->job);
  gate_.Open();

  EXPECT_TRUE(second->AwaitSummary());
  EXPECT_EQ(second->Count(kFrame), 1);
}

TEST_F(GrowingJobTest, JobsOfBothKindsAtOnceEachEndOnce) {
  constexpr int kNumJobs = 16;
  ServerConfig config;
  config.max_queued_jobs = kNumJobs;
  config.max_active_jobs = 5;
  config.max_inbox_bytes = 500;
  config.preparation_threads = 2;
  config.render_threads = 2;
  FakeEngine::Options options;
  options.shape_of = [](const JobRequest&) {
    return testing::FakeShape{.kind = testing::FakeShape::Kind::kRetained};
  };
  Use(config, std::move(options));

  std::vector<std::shared_ptr<Caller>> callers(kNumJobs);
  std::vector<std::thread> threads;
  for (int i = 0; i < kNumJobs; ++i) {
    callers[i] = NewCaller();
    threads.emplace_back([this, i, &callers] {
      const auto& caller = callers[i];
      if (i % 4 == 0) {
        EXPECT_THAT(caller->Start(), IsOk());
      } else {
        const SkipPolicy skip = i % 4 == 1 ? SkipPolicy::kWait : SkipPolicy::kSkip;
        EXPECT_THAT(caller->Admit(absl::InfiniteFuture(), Live(skip)), IsOk());
        SendFrames(*caller, 0, 30);
        if (i % 4 == 3) {
          runner_->RequestEnd(caller->job(), absl::CancelledError("enough"));
        } else {
          runner_->FinishInput(caller->job());
        }
      }
      if (i % 4 != 3) {
        EXPECT_TRUE(caller->AwaitSummary());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();

  for (int i = 0; i < kNumJobs; ++i) {
    const absl::StatusCode expected =
        i % 4 == 3 ? absl::StatusCode::kCancelled : absl::StatusCode::kOk;
    EXPECT_THAT(callers[i]->AwaitEnd(), StatusIs(expected, "")) << i;
    if (i % 4 == 1 || i % 4 == 2) {
      EXPECT_EQ(callers[i]->Count(kFrame), 31);
    }
  }
  EXPECT_TRUE(runner_->AwaitIdle(absl::Now() + kTestTimeout));
  EXPECT_TRUE(engine_->AwaitAlive(0));
}

}  // namespace
}  // namespace reenact
