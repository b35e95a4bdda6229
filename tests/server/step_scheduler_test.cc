// Layer 2: the scheduler driven by RunOnce(), with a fake engine and a fake clock; no thread.
#include "server/step_scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/fakes/fake_clock.h"
#include "tests/fakes/fake_engine.h"
#include "tests/server/status_is.h"

namespace reenact {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using testing::FakeClock;
using testing::FakeEngine;
using testing::FakeGrowth;
using testing::FakeShape;
using ::testing::IsEmpty;
using testing::IsOk;
using ::testing::Pair;
using testing::StatusIs;

class StepSchedulerTest : public ::testing::Test, public StepScheduler::Events {
 protected:
  void SetUp() override { Use({}, {}); }
  void TearDown() override { EXPECT_THAT(engine_->violations(), IsEmpty()); }

  void Use(StepScheduler::Options options, FakeEngine::Options engine_options) {
    scheduler_.reset();
    engine_ = std::make_unique<FakeEngine>(std::move(engine_options));
    cost_model_ = std::make_unique<CostModel>(engine_->models());
    scheduler_ = std::make_unique<StepScheduler>(options, *engine_, clock_, *cost_model_,
                                                 heartbeat_, metrics_, *this);
  }

  // A job with its driving media read, or still receiving it.
  std::shared_ptr<Job> AddJob(const std::string& id, bool prepared = true,
                              absl::Duration until_deadline = absl::Hours(1)) {
    JobRequest request;
    request.job_id = id;
    request.model = "fake";
    const auto job = std::make_shared<Job>(
        request, Job::Limits{.max_inbox_bytes = 100, .max_outbox_bytes = 40}, clock_.TimeNow(),
        clock_.TimeNow() + until_deadline, std::weak_ptr<Job::Listener>());
    job->SetEngineJob(*engine_->CreateJob(request));
    if (prepared) MakeWaiting(*job);
    scheduler_->Watch(job);
    return job;
  }

  void MakeWaiting(Job& job) {
    const Job::EngineUse engine_job(job);
    ASSERT_TRUE(engine_job->FinishDriving().ok());
    ASSERT_TRUE(engine_job->Prepare().ok());
    job.SetPlan(engine_job->plan());
    ASSERT_TRUE(job.MoveTo(JobState::kPreparing, clock_.TimeNow()));
    ASSERT_TRUE(job.MoveTo(JobState::kWaiting, clock_.TimeNow()));
  }

  // What a render thread would do.
  static void RenderInto(Job& job) {
    const Job::EngineUse engine_job(job);
    if (engine_job.get() == nullptr || !engine_job->renderable() || job.outbox_full()) return;
    job.NoteRender();
    job.PushOutputs(*engine_job->Render(), engine_job->frames_done());
  }

  // StepScheduler::Events
  void EndJob(const std::shared_ptr<Job>& job, const absl::Status& status) override {
    if (job->End(status, clock_.TimeNow())) ended_[job->id()] = status;
  }
  void OnActivated(const std::shared_ptr<Job>& job) override { activated_.push_back(job->id()); }
  void OnStepped(const std::shared_ptr<Job>& job, int num_rows) override {
    stepped_.push_back(job->id());
    rows_.push_back(num_rows);
    if (render_) RenderInto(*job);
    while (job->id() == with_reader_ && job->NextAnswer().next == Job::Next::kAnswer) {
    }
  }

  FakeClock clock_;
  Heartbeat heartbeat_;
  Metrics metrics_;
  std::unique_ptr<FakeEngine> engine_;
  std::unique_ptr<CostModel> cost_model_;
  std::unique_ptr<StepScheduler> scheduler_;
  bool render_ = false;
  std::string with_reader_;  // the job whose outbox is emptied after every step
  std::vector<std::string> activated_;
  std::vector<std::string> stepped_;
  std::vector<int> rows_;  // of the jobs in `stepped_`
  std::map<std::string, absl::Status> ended_;
};

TEST_F(StepSchedulerTest, DoesNothingWithoutJobs) {
  EXPECT_FALSE(scheduler_->RunOnce());
  EXPECT_THAT(engine_->batch_sizes(), IsEmpty());
}

TEST_F(StepSchedulerTest, RunsAJobToItsLastStepAndNoFurther) {
  const auto job = AddJob("a");

  // 8 frames in rows of 4, 3 steps each.
  for (int i = 0; i < 6; ++i) EXPECT_TRUE(scheduler_->RunOnce()) << i;

  EXPECT_TRUE(job->denoised());
  EXPECT_FALSE(scheduler_->RunOnce());
  EXPECT_EQ(job->state(), JobState::kRunning) << "what is left is rendering and sending";
}

TEST_F(StepSchedulerTest, LeavesAJobAloneThatIsNotPrepared) {
  const auto job = AddJob("a", /*prepared=*/false);

  EXPECT_FALSE(scheduler_->RunOnce());
  MakeWaiting(*job);
  EXPECT_TRUE(scheduler_->RunOnce());
}

TEST_F(StepSchedulerTest, JobWithNothingToStepForNowKeepsItsPlaceAndCostsNothing) {
  FakeEngine::Options options;
  options.growth_of = [](const JobRequest& request) {
    return request.job_id == "a" ? std::optional(FakeGrowth{}) : std::nullopt;
  };
  Use({.limits = {.max_active_jobs = 1}}, std::move(options));
  const auto job = AddJob("a", /*prepared=*/false);
  const auto read = [&job](const char* driving) {
    const Job::EngineUse engine_job(*job);
    ASSERT_THAT(engine_job->AddDriving(driving), IsOk());
    while (*engine_job->Prepare() == EngineJob::Preparation::kMore) {
    }
    job->SetPlan(engine_job->plan());
  };
  read("1234");
  ASSERT_TRUE(job->MoveTo(JobState::kWaiting, clock_.TimeNow()));
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(scheduler_->RunOnce()) << i;

  EXPECT_FALSE(scheduler_->RunOnce()) << "it would sleep";
  EXPECT_FALSE(job->denoised());
  const auto other = AddJob("b");
  EXPECT_FALSE(scheduler_->RunOnce());
  EXPECT_EQ(other->state(), JobState::kWaiting) << "there is one place";

  read("5678");
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(scheduler_->RunOnce()) << i;
  EXPECT_FALSE(scheduler_->RunOnce());
  {
    const Job::EngineUse engine_job(*job);
    ASSERT_THAT(engine_job->FinishDriving(), IsOk());
    ASSERT_THAT(engine_job->Prepare(), IsOk());
  }
  job->NoteDenoised();
  EXPECT_TRUE(scheduler_->RunOnce()) << "the place is free";
  EXPECT_EQ(other->state(), JobState::kRunning);
}

TEST_F(StepSchedulerTest, JobsJoinAndLeaveBetweenSteps) {
  Use({.limits = {.max_rows = 4}}, {});
  AddJob("a");
  scheduler_->RunOnce();
  scheduler_->RunOnce();
  AddJob("b");
  while (scheduler_->RunOnce()) {
  }

  // a alone for 2 of its 6 steps, both for 4, b alone for its last 2.
  EXPECT_THAT(engine_->batch_sizes(), ElementsAre(1, 1, 2, 2, 2, 2, 1, 1));
}

TEST_F(StepSchedulerTest, TakesTurnsWhenTheBatchIsSmallerThanTheJobs) {
  Use({.limits = {.max_rows = 2, .max_active_jobs = 3}}, {});
  for (const char* id : {"a", "b", "c"}) AddJob(id);

  for (int i = 0; i < 3; ++i) scheduler_->RunOnce();

  EXPECT_THAT(stepped_, ElementsAre("a", "b", "c", "a", "b", "c"));
}

TEST_F(StepSchedulerTest, RowsOfManyJobsShareAStep) {
  // "long" has 4 rows of 3 steps, of which the first runs alone; the others have one.
  FakeEngine::Options options;
  options.frames_of = [](const JobRequest& request) { return request.job_id == "long" ? 16 : 4; };
  options.shape_of = [](const JobRequest&) {
    return FakeShape{.kind = FakeShape::Kind::kRetained};
  };
  Use({.limits = {.max_rows = 4}}, std::move(options));
  for (const char* id : {"long", "a", "b"}) AddJob(id);

  while (scheduler_->RunOnce()) {
  }

  // Then two steps of 3 rows, limited by the job's own demand, and so on to its end.
  EXPECT_THAT(engine_->batch_sizes(), ElementsAre(3, 3, 3, 1, 1, 1));
  std::vector<int> rows_of_long;
  for (size_t i = 0; i < stepped_.size(); ++i) {
    if (stepped_[i] == "long") rows_of_long.push_back(rows_[i]);
  }
  EXPECT_THAT(rows_of_long, ElementsAre(1, 1, 1, 3, 3, 3));
}

TEST_F(StepSchedulerTest, EqualJobsGetEqualShares) {
  // 8 rows for 3 jobs of many rows: 3, 3 and 2 in turn.
  FakeEngine::Options options;
  options.num_frames = 400;
  options.shape_of = [](const JobRequest&) {
    return FakeShape{.kind = FakeShape::Kind::kRetained};
  };
  Use({.limits = {.max_rows = 8}}, std::move(options));
  for (const char* id : {"a", "b", "c"}) AddJob(id);
  for (int i = 0; i < 3; ++i) scheduler_->RunOnce();
  stepped_.clear();
  rows_.clear();

  for (int i = 0; i < 3; ++i) scheduler_->RunOnce();

  std::map<std::string, int> sums;
  for (size_t i = 0; i < stepped_.size(); ++i) sums[stepped_[i]] += rows_[i];
  EXPECT_THAT(sums, ElementsAre(Pair("a", 8), Pair("b", 8), Pair("c", 8)));
}

TEST_F(StepSchedulerTest, LoneJobIsSteppedEveryTimeWhateverComes) {
  FakeEngine::Options options;
  options.num_frames = 4000;
  options.shape_of = [](const JobRequest& request) {
    return FakeShape{
        .kind = request.job_id == "lone" ? FakeShape::Kind::kRetained : FakeShape::Kind::kLockStep,
        .width = 4};
  };
  Use({.limits = {.max_rows = 8, .max_rows_ahead = 1000}}, std::move(options));
  AddJob("lone");
  for (int i = 0; i < 3; ++i) scheduler_->RunOnce();  // row 0
  AddJob("receiving", /*prepared=*/false);
  AddJob("late", /*prepared=*/false, absl::Seconds(1));
  rows_.clear();

  scheduler_->RunOnce();
  clock_.Advance(absl::Seconds(2));
  scheduler_->RunOnce();
  EXPECT_THAT(rows_, ElementsAre(8, 8)) << "all rows while it is alone";

  const auto other = AddJob("other");
  stepped_.clear();
  for (int i = 0; i < 10; ++i) scheduler_->RunOnce();
  EXPECT_EQ(std::count(stepped_.begin(), stepped_.end(), "lone"), 10) << "not even one step late";
}

TEST_F(StepSchedulerTest, JobWhoseRowsExceedTheLimitIsNotStarved) {
  FakeEngine::Options options;
  options.num_frames = 40;
  options.shape_of = [](const JobRequest& request) {
    return FakeShape{.kind = request.job_id == "large" ? FakeShape::Kind::kLockStep
                                                       : FakeShape::Kind::kSequential,
                     .width = 6};
  };
  Use({.limits = {.max_rows = 4}}, std::move(options));
  const auto large = AddJob("large");
  AddJob("a");
  AddJob("b");

  while (scheduler_->RunOnce()) {
  }

  EXPECT_TRUE(large->denoised());
  EXPECT_GE(*std::max_element(rows_.begin(), rows_.end()), 6);
}

TEST_F(StepSchedulerTest, LearnsTheSpeedOfTheModel) {
  FakeEngine::Options options;
  options.num_frames = 4000;
  options.gflop_per_row_step = 6;
  options.on_step_begin = [this](const auto&) { clock_.Advance(absl::Seconds(2)); };
  Use({}, std::move(options));
  AddJob("a");
  EXPECT_EQ(cost_model_->TimeFor("fake", 30), absl::InfiniteDuration());

  scheduler_->RunOnce();

  EXPECT_EQ(cost_model_->TimeFor("fake", 30), absl::Seconds(10)) << "6 GFLOP in 2 seconds";
}

TEST_F(StepSchedulerTest, ActivatesInOrderOfAdmissionUpToTheLimit) {
  Use({.limits = {.max_rows = 2, .max_active_jobs = 2}}, {});
  for (const char* id : {"a", "b", "c"}) AddJob(id);

  scheduler_->RunOnce();
  EXPECT_THAT(activated_, ElementsAre("a", "b"));
  while (scheduler_->RunOnce()) {
  }
  EXPECT_THAT(activated_, ElementsAre("a", "b", "c"));
}

TEST_F(StepSchedulerTest, CancelledJobLeavesBeforeTheNextStep) {
  const auto job = AddJob("a");
  AddJob("b");
  scheduler_->RunOnce();
  stepped_.clear();

  job->RequestEnd(absl::CancelledError("no more"));
  scheduler_->RunOnce();

  EXPECT_THAT(stepped_, ElementsAre("b"));
  EXPECT_THAT(ended_["a"], StatusIs(absl::StatusCode::kCancelled, "no more"));
  EXPECT_EQ(engine_->num_alive(), 1);
}

TEST_F(StepSchedulerTest, JobExpiresBetweenTwoSteps) {
  const auto job = AddJob("a", /*prepared=*/true, absl::Seconds(10));
  scheduler_->RunOnce();
  clock_.Advance(absl::Milliseconds(9999));
  EXPECT_TRUE(scheduler_->RunOnce());

  clock_.Advance(absl::Milliseconds(1));
  EXPECT_FALSE(scheduler_->RunOnce());

  EXPECT_EQ(job->state(), JobState::kExpired);
  EXPECT_EQ(engine_->num_alive(), 0);
}

TEST_F(StepSchedulerTest, JobsExpireAndAreCancelledBeforeTheyArePrepared) {
  AddJob("late", /*prepared=*/false, absl::Seconds(1));
  const auto unwanted = AddJob("unwanted", /*prepared=*/false);
  scheduler_->RunOnce();

  clock_.Advance(absl::Seconds(1));
  unwanted->RequestEnd(absl::CancelledError(""));
  scheduler_->RunOnce();

  EXPECT_THAT(ended_["late"], StatusIs(absl::StatusCode::kDeadlineExceeded, ""));
  EXPECT_THAT(ended_["unwanted"], StatusIs(absl::StatusCode::kCancelled, ""));
  EXPECT_EQ(engine_->num_alive(), 0);
}

TEST_F(StepSchedulerTest, FailedStepEndsItsJobAndNoOther) {
  FakeEngine::Options options;
  options.on_step = [](const JobRequest& request, int64_t step) {
    return request.job_id == "bad" && step == 1 ? absl::InternalError("boom") : absl::OkStatus();
  };
  Use({}, std::move(options));
  const auto good = AddJob("good");
  AddJob("bad");

  while (scheduler_->RunOnce()) {
  }

  EXPECT_THAT(ended_["bad"], StatusIs(absl::StatusCode::kInternal, "boom"));
  EXPECT_TRUE(good->denoised());
  EXPECT_EQ(engine_->num_alive(), 1);
}

TEST_F(StepSchedulerTest, JobWithASlowReaderIsPausedAndHoldsUpNobody) {
  // One row ahead; 12 frames in rows of 4 (9 steps), 20 bytes each: the outbox (40) is full after
  // the first row.
  FakeEngine::Options options;
  options.num_frames = 12;
  options.bytes_per_frame = 20;
  Use({.limits = {.max_rows = 1, .max_rows_ahead = 1, .max_active_jobs = 1}}, std::move(options));
  render_ = true;
  const auto slow = AddJob("slow");
  while (scheduler_->RunOnce()) {
  }
  // The first row was rendered; the second was computed, then the job was paused.
  EXPECT_EQ(slow->steps_since_render(), 3);
  EXPECT_FALSE(slow->denoised());

  with_reader_ = "other";
  const auto other = AddJob("other");
  stepped_.clear();
  while (scheduler_->RunOnce()) {
  }
  EXPECT_TRUE(other->denoised()) << "a paused job takes no place on the device";
  EXPECT_THAT(stepped_, Each("other"));

  // The reader comes back.
  with_reader_ = "slow";
  while (slow->NextAnswer().next == Job::Next::kAnswer) {
  }
  while (!slow->denoised()) {
    RenderInto(*slow);
    ASSERT_TRUE(scheduler_->RunOnce());
  }
}

TEST_F(StepSchedulerTest, BeatsEveryTimeItComesRound) {
  EXPECT_EQ(heartbeat_.Age(clock_.TimeNow()), absl::ZeroDuration()) << "nothing runs yet";
  scheduler_->RunOnce();
  clock_.Advance(absl::Seconds(7));
  EXPECT_EQ(heartbeat_.Age(clock_.TimeNow()), absl::Seconds(7));

  scheduler_->RunOnce();
  EXPECT_EQ(heartbeat_.Age(clock_.TimeNow()), absl::ZeroDuration());
}

}  // namespace
}  // namespace reenact
