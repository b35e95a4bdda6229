// Random lives of jobs over the real JobRunner and StepScheduler, with a fake engine, a fake clock
// and no thread: every turn is taken by the test, so a seed is a schedule and can be run again.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>
#include <map>
#include <memory>
#include <numeric>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/job_runner.h"
#include "server/log.h"
#include "tests/fakes/fake_clock.h"
#include "tests/fakes/fake_engine.h"
#include "tests/server/status_is.h"

namespace reenact {
namespace {

using testing::FakeClock;
using testing::FakeEngine;
using testing::FakeGrowth;
using testing::FakeShape;
using ::testing::IsEmpty;
using testing::IsOk;

constexpr absl::Duration kMaxJobDuration = absl::Seconds(300);

// The sum of all series of a metric; of a histogram the sum of what it observed.
double Value(const Metrics& metrics, const std::string& name) {
  double sum = 0;
  for (const prometheus::MetricFamily& family : metrics.Collect()) {
    if (family.name != name) continue;
    for (const prometheus::ClientMetric& metric : family.metric) {
      sum += metric.counter.value + metric.gauge.value + metric.histogram.sample_sum;
    }
  }
  return sum;
}

// What a job is like and what befalls it.
struct Fate {
  int num_frames = 1;
  int num_steps = 1;
  FakeShape shape;
  // Whether its driving media is a file that is read when it is complete, a file in which each
  // chunk is a frame, or live frames; the latter two are stepped while they come in.
  enum class Driving { kFile, kGrowingFile, kLiveSkip, kLiveWait } driving = Driving::kFile;
  int max_rows_ahead = 1;  // of the reading before the denoising
  int priority = 0;
  std::string tenant;
  absl::Duration until_deadline = absl::InfiniteDuration();
  int num_chunks = 1;
  bool never_finishes_input = false;
  bool has_key = false;        // an idempotency key: can be resumed
  bool never_resumes = false;  // once it has lost its call
  enum class Reader { kQuick, kSlow, kNever } reader = Reader::kQuick;
  enum class Failure { kNone, kCreate, kPrepare, kStep, kRender } failure = Failure::kNone;
  int64_t failing_step = 0;
};

// A call without gRPC.
struct Client : Job::Listener {
  explicit Client(Fate its_fate) : fate(std::move(its_fate)) {}
  void OnJobChanged() override {}

  const Fate fate;
  std::shared_ptr<Job> job;
  int chunks_sent = 0;
  bool input_finished = false;

  std::vector<int64_t> frames_of_answers;
  bool has_summary = false;
  bool lost = false;  // has no call
  bool was_lost = false;
  size_t num_acknowledged = 0;  // answers, when it last resumed
  std::optional<absl::Status> end;

  bool cancelled = false;
  size_t steps_at_cancel = 0;

  // While it is runnable, wherever that can be seen from outside: steps that passed it over.
  int64_t passed_over = 0;
  int64_t most_active = 0;
  // While it waits: jobs that got a place instead.
  int64_t bypassed = 0;
  int64_t most_waiting = 0;
};

class Simulation {
 public:
  explicit Simulation(uint32_t seed) : random_(seed) {
    config_.max_batch_rows = 1 + Below(8);
    config_.max_rows_ahead = Below(5);
    config_.max_active_jobs = 1 + Below(6);
    config_.max_queued_jobs = 2 + Below(12);
    config_.max_jobs = config_.max_active_jobs + Below(12);
    config_.max_inbox_bytes = 1 + Below(1000);
    config_.max_outbox_bytes = 10 + Below(200);
    config_.max_job_duration = kMaxJobDuration;
    config_.max_queued_work = Below(3) == 0 ? absl::Milliseconds(50 + Below(500)) : absl::Hours(1);

    FakeEngine::Options options;
    options.models[0].gflop_per_second = Below(3) == 0 ? 0 : 1 + Below(100);
    options.gflop_per_row_step = Below(4) == 0 ? 0 : 1 + Below(10);
    options.frames_of = [this](const auto& request) { return FateOf(request).num_frames; };
    options.shape_of = [this](const auto& request) { return FateOf(request).shape; };
    options.growth_of = [this](const auto& request) -> std::optional<FakeGrowth> {
      if (FateOf(request).driving == Fate::Driving::kFile) return std::nullopt;
      return FakeGrowth{.max_rows_ahead = FateOf(request).max_rows_ahead};
    };
    options.now = [this] { return clock_.TimeNow(); };
    options.prepare_calls = 1 + Below(3);
    options.on_create = [this](const auto& r) { return FailIf(r, Fate::Failure::kCreate); };
    options.on_prepare = [this](const auto& r, const auto&) {
      return FailIf(r, Fate::Failure::kPrepare);
    };
    options.on_render = [this](const auto& r) { return FailIf(r, Fate::Failure::kRender); };
    options.on_step = [this](const auto& r, int64_t step) {
      return step >= FateOf(r).failing_step ? FailIf(r, Fate::Failure::kStep) : absl::OkStatus();
    };
    options.on_step_begin = [this](const auto& rows) { OnStep(rows); };
    engine_ = std::make_unique<FakeEngine>(std::move(options));
    runner_ = std::make_unique<JobRunner>(config_, *engine_, clock_, heartbeat_, metrics_,
                                          JobRunner::Turns::kByCaller);
  }

  // Arrivals and everything else at random, then whatever is needed until all jobs have ended.
  void Run() {
    int num_arrivals = 1 + Below(12);
    for (int i = 0; i < 300; ++i) {
      const int action = Below(20);
      if (action <= 1 && num_arrivals > 0) {
        --num_arrivals;
        Arrive();
      } else if (action <= 5) {
        for (int j = 0; j < 3; ++j) {
          if (Client* client = AnyLive()) Send(*client);
        }
      } else if (action <= 8) {
        runner_->RunPreparationTurn();
      } else if (action <= 12) {
        SchedulerTurn();
      } else if (action <= 15) {
        runner_->RunRenderTurn();
      } else if (action <= 18) {
        if (Client* client = AnyLive()) client->lost ? MaybeResume(*client) : Read(*client);
      } else if (Below(15) == 0) {
        if (Client* client = AnyLive()) LoseCall(*client);
      } else if (Below(40) == 0) {
        if (Client* client = AnyLive()) Cancel(*client);
      } else {
        clock_.Advance(absl::Milliseconds(Below(300)));
      }
    }
    Finish();
  }

  void CheckEnd() {
    for (const auto& client : clients_) CheckClient(*client);
    EXPECT_TRUE(runner_->AwaitIdle(clock_.TimeNow()));
    EXPECT_EQ(engine_->num_alive(), 0);
    EXPECT_THAT(engine_->violations(), IsEmpty());

    const auto num_jobs = static_cast<double>(clients_.size());
    EXPECT_EQ(Value(metrics_, "reenact_jobs_accepted_total"), num_jobs);
    EXPECT_EQ(Value(metrics_, "reenact_jobs_ended_total"), num_jobs);
    for (const char* gauge :
         {"reenact_jobs_live", "reenact_jobs_queued", "reenact_queued_work_seconds"}) {
      EXPECT_EQ(Value(metrics_, gauge), 0) << gauge;
    }
    double num_jobs_stepped = 0, num_rows = 0;
    for (const auto& rows_by_job : steps_) {
      num_jobs_stepped += static_cast<double>(rows_by_job.size());
      for (const auto& [id, rows] : rows_by_job) num_rows += rows;
    }
    EXPECT_EQ(Value(metrics_, "reenact_steps_total"), static_cast<double>(steps_.size()));
    EXPECT_EQ(Value(metrics_, "reenact_step_jobs"), num_jobs_stepped);
    EXPECT_EQ(Value(metrics_, "reenact_step_rows"), num_rows);
    EXPECT_EQ(Value(metrics_, "reenact_rows_total"), num_rows);
  }

  // What happened, to see that the schedules are worth their name.
  struct Tally {
    std::map<absl::StatusCode, int> ends;
    size_t num_steps = 0;
    size_t num_shared_steps = 0;
    int64_t most_passed_over = 0;
    int64_t most_bypassed = 0;
    int num_refused = 0;
    int num_cancels = 0;
    int num_resumed = 0;
    int num_steps_while_receiving = 0;
    int64_t num_skipped = 0;
  };
  void AddTo(Tally& tally) const {
    for (const auto& client : clients_) {
      ++tally.ends[client->end->code()];
      tally.num_cancels += client->cancelled ? 1 : 0;
    }
    tally.num_steps += steps_.size();
    for (const auto& step : steps_) tally.num_shared_steps += step.size() > 1 ? 1 : 0;
    tally.most_passed_over = std::max(tally.most_passed_over, most_passed_over_);
    tally.most_bypassed = std::max(tally.most_bypassed, most_bypassed_);
    tally.num_refused += num_refused_;
    tally.num_resumed += num_resumed_;
    tally.num_steps_while_receiving += num_steps_while_receiving_;
    tally.num_skipped += static_cast<int64_t>(Value(metrics_, "reenact_live_frames_skipped_total"));
  }

 private:
  int Below(int n) { return static_cast<int>(random_() % static_cast<uint32_t>(n)); }

  Fate RandomFate() {
    Fate fate;
    fate.num_frames = 1 + Below(Below(2) == 0 ? 4 : 60);
    fate.num_steps = 1 + Below(4);
    fate.shape.kind = static_cast<FakeShape::Kind>(Below(3));
    fate.shape.width = 2 + Below(9);
    fate.priority = Below(3) - 1;
    fate.tenant = std::string(Below(3), 't');
    if (Below(4) == 0) fate.until_deadline = absl::Seconds(1 + Below(30));
    fate.num_chunks = 1 + Below(3);
    if (Below(2) == 0) {
      fate.driving = static_cast<Fate::Driving>(1 + Below(3));
      fate.shape.kind = static_cast<FakeShape::Kind>(Below(2));  // what can grow
      fate.num_chunks = fate.num_frames;
      fate.max_rows_ahead = 1 + Below(5);
    }
    fate.never_finishes_input = Below(25) == 0;
    fate.has_key = Below(2) == 0;
    fate.never_resumes = Below(4) == 0;
    fate.reader = Below(3) != 0   ? Fate::Reader::kQuick
                  : Below(4) != 0 ? Fate::Reader::kSlow
                                  : Fate::Reader::kNever;
    if (Below(6) == 0) fate.failure = static_cast<Fate::Failure>(Below(5));
    fate.failing_step = Below(20);
    return fate;
  }
  const Fate& FateOf(const JobRequest& request) const { return clients_[request.seed]->fate; }
  absl::Status FailIf(const JobRequest& request, Fate::Failure failure) const {
    return FateOf(request).failure == failure ? absl::FailedPreconditionError("fate")
                                              : absl::OkStatus();
  }

  void Arrive() {
    const auto client = std::make_shared<Client>(RandomFate());
    const Fate& fate = client->fate;
    JobRequest request;
    request.model = "fake";
    request.seed = clients_.size();
    request.num_steps = fate.num_steps;
    if (fate.driving == Fate::Driving::kLiveSkip || fate.driving == Fate::Driving::kLiveWait) {
      request.live = LiveOptions{
          .skip = fate.driving == Fate::Driving::kLiveSkip ? SkipPolicy::kSkip : SkipPolicy::kWait};
    }
    JobTerms terms;
    terms.tenant = fate.tenant;
    terms.priority = fate.priority;
    if (fate.has_key) terms.idempotency_key = absl::StrCat("key ", request.seed);
    const auto begun = runner_->Begin(std::move(request), clock_.TimeNow() + fate.until_deadline,
                                      client, std::move(terms));
    if (!begun.ok()) {
      EXPECT_EQ(begun.status().code(), absl::StatusCode::kResourceExhausted) << begun.status();
      ++num_refused_;
      return;
    }
    EXPECT_FALSE(begun->was_there);
    client->job = begun->job;
    clients_.push_back(client);
  }

  Client* AnyLive() {
    std::vector<Client*> live;
    for (const auto& client : clients_) {
      if (!client->end.has_value()) live.push_back(client.get());
    }
    return live.empty() ? nullptr : live[Below(static_cast<int>(live.size()))];
  }

  void Send(Client& client) {
    if (client.lost || client.input_finished || !client.job->wants_input()) return;
    if (client.chunks_sent < client.fate.num_chunks) {
      ++client.chunks_sent;
      if (client.job->live()) {
        runner_->PushFrame(
            client.job,
            {.image = "picture", .pts = client.chunks_sent, .arrived = clock_.TimeNow()});
      } else {
        const bool grows = client.fate.driving == Fate::Driving::kGrowingFile;
        runner_->PushInput(client.job, grows ? "m" : "media");
      }
    } else if (!client.fate.never_finishes_input) {
      client.input_finished = true;
      client.fate.has_key ? runner_->CompleteInput(client.job) : runner_->FinishInput(client.job);
    }
  }

  void Read(Client& client) {
    if (client.fate.reader == Fate::Reader::kNever && !client.job->ended()) return;
    const int most = client.fate.reader == Fate::Reader::kQuick ? 1000 : 1;
    for (int i = 0; i < most && !client.end.has_value(); ++i) {
      const Job::Answer answer = runner_->NextAnswer(client.job, &client);
      switch (answer.next) {
        case Job::Next::kNothing:
          return;
        case Job::Next::kEnded:
          client.end = answer.status;
          return;
        case Job::Next::kAnswer:
          EXPECT_EQ(answer.response.sequence_number(), client.frames_of_answers.size());
          EXPECT_FALSE(client.has_summary) << "an answer after the last";
          client.frames_of_answers.push_back(answer.response.video().num_frames());
          client.has_summary = answer.last;
          if (answer.last) runner_->OnSummarySent(client.job);
      }
    }
  }

  void Cancel(Client& client) {
    if (client.cancelled || client.job->ended()) return;
    client.cancelled = true;
    client.steps_at_cancel = steps_.size();
    runner_->RequestEnd(client.job, absl::CancelledError("fate"));
  }

  // The connection breaks; the last answers have not arrived.
  void LoseCall(Client& client) {
    if (client.lost || client.job->ended()) return;
    const bool can_resume = client.fate.has_key && client.input_finished;
    if (!can_resume && !client.cancelled) {
      client.cancelled = true;
      client.steps_at_cancel = steps_.size();
    }
    client.lost = client.was_lost = true;
    runner_->CallLost(client.job, &client, absl::CancelledError("fate"));
    const size_t num_sent = client.frames_of_answers.size();
    client.frames_of_answers.resize(num_sent -
                                    std::min<size_t>(num_sent - client.num_acknowledged, Below(4)));
  }

  void MaybeResume(Client& client) {
    if (!client.job->ended() && (client.fate.never_resumes || client.cancelled)) return;
    v1::ResumeJobRequest request;
    request.set_job_id(client.job->id());
    request.set_next_sequence_number(client.frames_of_answers.size());
    const auto job =
        runner_->Resume(client.fate.tenant, request, clock_.TimeNow() + client.fate.until_deadline,
                        clients_[IndexOf(client)]);
    if (job.ok()) {
      client.lost = false;
      client.num_acknowledged = client.frames_of_answers.size();
      ++num_resumed_;
      return;
    }
    // Too late, or it could not be resumed in the first place.
    EXPECT_EQ(job.status().code(), absl::StatusCode::kNotFound) << job.status();
    EXPECT_TRUE(client.job->ended());
    EXPECT_NE(client.job->state(), JobState::kSucceeded);
    client.end = absl::CancelledError("the job is gone");
  }
  size_t IndexOf(const Client& client) const {
    return static_cast<size_t>(
        std::find_if(clients_.begin(), clients_.end(),
                     [&client](const auto& other) { return other.get() == &client; }) -
        clients_.begin());
  }

  void SchedulerTurn() {
    std::vector<Client*> waiting;
    for (const auto& client : clients_) {
      if (client->job->state() == JobState::kWaiting) waiting.push_back(client.get());
    }
    runner_->RunSchedulerTurn();
    std::vector<Client*> still_waiting;
    int64_t num_activated = 0;
    for (Client* client : waiting) {
      if (client->job->state() == JobState::kWaiting) {
        still_waiting.push_back(client);
      } else if (!client->job->ended()) {
        ++num_activated;
      }
    }
    for (Client* client : still_waiting) {
      client->most_waiting = std::max(client->most_waiting, static_cast<int64_t>(waiting.size()));
      client->bypassed += num_activated;
      EXPECT_LE(client->bypassed, policy_.MaxPassedOver(client->most_waiting));
      most_bypassed_ = std::max(most_bypassed_, client->bypassed);
    }
  }

  // Inside Engine::Step, before anything is stepped.
  void OnStep(const std::vector<std::pair<std::string, int>>& rows_by_job) {
    steps_.push_back(rows_by_job);
    int num_rows = 0;
    std::set<std::string> stepped;
    for (const auto& [id, rows] : rows_by_job) {
      num_rows += rows;
      stepped.insert(id);
    }
    EXPECT_TRUE(num_rows <= config_.max_batch_rows || rows_by_job.size() == 1);

    std::vector<Client*> active;
    for (const auto& client : clients_) {
      if (client->job->state() == JobState::kRunning && !client->job->denoised()) {
        active.push_back(client.get());
      }
    }
    for (Client* client : active) {
      bool surely_runnable = false;
      if (const Job::EngineUse use(*client->job); use.get() != nullptr) {
        // With output that waits it may be paused.
        surely_runnable = !use->renderable() && use->row_demand().max_rows > 0;
      }
      if (stepped.contains(client->job->id()) && !client->input_finished) {
        ++num_steps_while_receiving_;
      }
      if (stepped.contains(client->job->id()) || !surely_runnable) {
        client->passed_over = client->most_active = 0;
        continue;
      }
      ++client->passed_over;
      client->most_active = std::max(client->most_active, static_cast<int64_t>(active.size()));
      EXPECT_LE(client->passed_over, policy_.MaxPassedOver(client->most_active));
      most_passed_over_ = std::max(most_passed_over_, client->passed_over);
    }
    clock_.Advance(absl::Milliseconds(10 * num_rows));
    // While a step runs, other threads go on.
    if (Below(100) == 0) {
      if (Client* client = AnyLive()) Cancel(*client);
    }
  }

  void Finish() {
    // Each round moves something on or lets time pass, and time ends every job.
    for (int round = 0; round < 20000; ++round) {
      bool all_ended = true;
      for (const auto& client : clients_) {
        if (!client->end.has_value()) {
          Send(*client);
          client->lost ? MaybeResume(*client) : Read(*client);
        }
        all_ended = all_ended && client->end.has_value();
      }
      if (all_ended) break;
      bool worked = runner_->RunPreparationTurn();
      worked = runner_->RunRenderTurn() || worked;
      const size_t steps_before = steps_.size();
      SchedulerTurn();
      if (!worked && steps_.size() == steps_before) clock_.Advance(absl::Milliseconds(500));
    }
    // What is left in the pools' queues finds its job ended.
    while (runner_->RunPreparationTurn() || runner_->RunRenderTurn()) {
    }
  }

  void CheckClient(const Client& client) {
    ASSERT_TRUE(client.end.has_value()) << "a job without an end";
    EXPECT_TRUE(client.job->ended());
    const Fate& fate = client.fate;
    const absl::StatusCode code = client.end->code();
    EXPECT_EQ(code == absl::StatusCode::kOk, client.has_summary);
    if (code == absl::StatusCode::kOk) {
      EXPECT_EQ(std::accumulate(client.frames_of_answers.begin(), client.frames_of_answers.end(),
                                int64_t{0}),
                fate.num_frames);
    }
    switch (code) {
      case absl::StatusCode::kOk:
        EXPECT_EQ(fate.failure == Fate::Failure::kCreate || fate.failure == Fate::Failure::kPrepare,
                  false);
        break;
      case absl::StatusCode::kCancelled:
        EXPECT_TRUE(client.cancelled || client.was_lost);
        break;
      case absl::StatusCode::kFailedPrecondition:
        EXPECT_NE(fate.failure, Fate::Failure::kNone);
        break;
      case absl::StatusCode::kResourceExhausted:
        EXPECT_LT(config_.max_queued_work, absl::Hours(1)) << "refused by its cost";
        break;
      case absl::StatusCode::kDeadlineExceeded:
        // Nobody else has reason to come late: all the work takes less than the time there is.
        EXPECT_TRUE(fate.until_deadline < absl::InfiniteDuration() ||
                    fate.reader != Fate::Reader::kQuick || fate.never_finishes_input ||
                    client.was_lost || PlacesWereHeld());
        break;
      default:
        ADD_FAILURE() << *client.end;
    }
    if (client.cancelled) {
      // The step that was running may have been its last; none starts.
      for (size_t i = client.steps_at_cancel; i < steps_.size(); ++i) {
        for (const auto& [id, rows] : steps_[i]) EXPECT_NE(id, client.job->id());
      }
    }
  }

  // Whether jobs kept places on the device while they were waiting for their callers.
  bool PlacesWereHeld() const {
    return std::any_of(clients_.begin(), clients_.end(), [](const auto& client) {
      return client->fate.driving != Fate::Driving::kFile && client->fate.never_finishes_input;
    });
  }

  std::mt19937 random_;
  ServerConfig config_;
  const StepPolicy policy_{StepPolicy::Limits{}};  // for its bound: the runner has its patience
  FakeClock clock_;
  Heartbeat heartbeat_;
  Metrics metrics_;
  std::unique_ptr<FakeEngine> engine_;
  std::unique_ptr<JobRunner> runner_;
  std::vector<std::shared_ptr<Client>> clients_;  // of admitted jobs, at the index of their seed
  std::vector<std::vector<std::pair<std::string, int>>> steps_;  // rows by job
  int64_t most_passed_over_ = 0;
  int64_t most_bypassed_ = 0;
  int num_refused_ = 0;
  int num_resumed_ = 0;
  int num_steps_while_receiving_ = 0;
};

TEST(SimulationTest, TenThousandRandomSchedules) {
  ASSERT_THAT(SetLogLevel("error"), IsOk());
  Simulation::Tally tally;
  for (uint32_t seed = 0; seed < 10'000; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    Simulation simulation(seed);
    simulation.Run();
    simulation.CheckEnd();
    if (::testing::Test::HasFailure()) return;
    simulation.AddTo(tally);
  }
  for (const auto& [code, count] : tally.ends) {
    RecordProperty(absl::StrCat("ended_", absl::StatusCodeToString(code)), count);
    EXPECT_GT(count, 500) << "too few " << absl::StatusCodeToString(code);
  }
  EXPECT_EQ(tally.ends.size(), 5u);
  EXPECT_GT(tally.num_cancels, 3000);
  EXPECT_GT(tally.num_refused, 500);
  EXPECT_GT(tally.num_resumed, 1000);
  EXPECT_GT(tally.num_steps, 200'000u);
  EXPECT_GT(tally.num_shared_steps, tally.num_steps / 10);
  EXPECT_GT(tally.num_steps_while_receiving, 20'000);
  EXPECT_GT(tally.num_skipped, 5000);
  EXPECT_GT(tally.most_passed_over, 5);
  EXPECT_GT(tally.most_bypassed, 2);
  std::cout << tally.num_steps << " steps, " << tally.num_shared_steps << " of several jobs, "
            << tally.num_steps_while_receiving << " of jobs that still received, "
            << tally.num_skipped << " live frames skipped, " << tally.num_cancels << " cancels, "
            << tally.num_resumed << " resumed, passed over at most " << tally.most_passed_over
            << " steps and " << tally.most_bypassed << " places\n";
}

}  // namespace
}  // namespace reenact
