// Layer 2: the scheduler driven by RunOnce(), with a fake engine and a fake clock; no thread.
#include "server/step_scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

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
using ::testing::IsEmpty;
using testing::StatusIs;

class StepSchedulerTest : public ::testing::Test, public StepScheduler::Events {
 protected:
  void SetUp() override { Use({}, {}); }
  void TearDown() override { EXPECT_THAT(engine_->violations(), IsEmpty()); }

  void Use(StepScheduler::Options options, FakeEngine::Options engine_options) {
    scheduler_.reset();
    engine_ = std::make_unique<FakeEngine>(std::move(engine_options));
    scheduler_ =
        std::make_unique<StepScheduler>(options, *engine_, clock_, heartbeat_, metrics_, *this);
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
  void OnStepped(const std::shared_ptr<Job>& job) override {
    stepped_.push_back(job->id());
    if (render_) RenderInto(*job);
    while (job->id() == with_reader_ && job->NextAnswer().next == Job::Next::kAnswer) {
    }
  }

  FakeClock clock_;
  Heartbeat heartbeat_;
  Metrics metrics_;
  std::unique_ptr<FakeEngine> engine_;
  std::unique_ptr<StepScheduler> scheduler_;
  bool render_ = false;
  std::string with_reader_;  // the job whose outbox is emptied after every step
  std::vector<std::string> activated_;
  std::vector<std::string> stepped_;
  std::map<std::string, absl::Status> ended_;
};

TEST_F(StepSchedulerTest, DoesNothingWithoutJobs) {
  EXPECT_FALSE(scheduler_->RunOnce());
  EXPECT_THAT(engine_->batch_sizes(), IsEmpty());
}

TEST_F(StepSchedulerTest, RunsAJobToItsLastStepAndNoFurther) {
  const auto job = AddJob("a");

  // 8 frames in passes of 4, 3 steps each.
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

TEST_F(StepSchedulerTest, JobsJoinAndLeaveBetweenSteps) {
  Use({.max_active_jobs = 4, .max_batch_jobs = 4}, {});
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
  Use({.max_active_jobs = 3, .max_batch_jobs = 2}, {});
  for (const char* id : {"a", "b", "c"}) AddJob(id);

  for (int i = 0; i < 3; ++i) scheduler_->RunOnce();

  EXPECT_THAT(stepped_, ElementsAre("a", "b", "c", "a", "b", "c"));
}

TEST_F(StepSchedulerTest, ActivatesInOrderOfAdmissionUpToTheLimit) {
  Use({.max_active_jobs = 2, .max_batch_jobs = 2}, {});
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
  // One pass ahead; 12 frames in passes of 4 (9 steps), 20 bytes each: the outbox (40) is full
  // after the first pass.
  FakeEngine::Options options;
  options.num_frames = 12;
  options.bytes_per_frame = 20;
  Use({.max_active_jobs = 1, .max_batch_jobs = 1, .max_passes_ahead = 1}, std::move(options));
  render_ = true;
  const auto slow = AddJob("slow");
  while (scheduler_->RunOnce()) {
  }
  // The first pass was rendered; the second was computed, then the job was paused.
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
