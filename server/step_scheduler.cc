#include "server/step_scheduler.h"

#include <algorithm>
#include <deque>
#include <utility>

#include "absl/strings/str_cat.h"

namespace reenact {

StepScheduler::StepScheduler(Options options, Engine& engine, Clock& clock, Heartbeat& heartbeat,
                             Metrics& metrics, Events& events)
    : options_(options),
      engine_(engine),
      clock_(clock),
      heartbeat_(heartbeat),
      metrics_(metrics),
      events_(events) {}

void StepScheduler::Watch(std::shared_ptr<Job> job) {
  MutexLock lock(&mu_);
  new_jobs_.push_back(std::move(job));
  woken_ = true;
}

void StepScheduler::Wake() {
  MutexLock lock(&mu_);
  woken_ = true;
}

void StepScheduler::Stop() {
  MutexLock lock(&mu_);
  stopped_ = true;
}

void StepScheduler::Run() {
  while (true) {
    const bool stepped = RunOnce();
    absl::Time wake_up = clock_.TimeNow() + options_.heartbeat_interval;
    for (const std::shared_ptr<Job>& job : watched_) wake_up = std::min(wake_up, job->deadline());
    MutexLock lock(&mu_);
    if (!stepped) {
      const auto has_reason = [this]()
                                  ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return woken_ || stopped_; };
      clock_.AwaitWithDeadline(&mu_, absl::Condition(&has_reason), wake_up);
    }
    if (stopped_) return;
  }
}

bool StepScheduler::RunOnce() {
  heartbeat_.Beat(clock_.TimeNow());
  TakeNewJobs();
  EndOverdueJobs();
  Activate();

  std::vector<std::shared_ptr<Job>> batch;
  const std::vector<StepView> views = Views();
  const std::vector<size_t> picked =
      PickForStep(views, options_.max_batch_jobs, options_.max_passes_ahead);
  for (size_t index : picked) batch.push_back(active_[index]);

  const auto num_paused = std::count_if(views.begin(), views.end(), [this](const StepView& view) {
    return IsPaused(view, options_.max_passes_ahead);
  });
  metrics_.SetDevice(static_cast<int>(active_.size()), static_cast<int>(num_paused));
  if (batch.empty()) return false;

  // To the back of the round.
  std::stable_partition(active_.begin(), active_.end(), [&batch](const std::shared_ptr<Job>& job) {
    return std::find(batch.begin(), batch.end(), job) == batch.end();
  });
  StepTogether(batch);
  return true;
}

void StepScheduler::TakeNewJobs() {
  MutexLock lock(&mu_);
  woken_ = false;
  for (std::shared_ptr<Job>& job : new_jobs_) watched_.push_back(std::move(job));
  new_jobs_.clear();
}

void StepScheduler::EndOverdueJobs() {
  const absl::Time now = clock_.TimeNow();
  for (const std::shared_ptr<Job>& job : watched_) {
    const absl::Status requested = job->requested_end();
    if (!requested.ok()) {
      events_.EndJob(job, requested);
    } else if (job->deadline() <= now) {
      events_.EndJob(job, absl::DeadlineExceededError("the job took longer than its deadline"));
    }
  }
  const auto ended = [](const std::shared_ptr<Job>& job) { return job->ended(); };
  std::erase_if(active_, ended);
  std::erase_if(watched_, ended);
}

void StepScheduler::Activate() {
  std::vector<StepView> views = Views();
  std::vector<std::shared_ptr<Job>> waiting;
  for (const std::shared_ptr<Job>& job : watched_) {
    if (job->state() != JobState::kWaiting) continue;
    waiting.push_back(job);
    views.push_back(StepView{});
  }
  const int num = NumToActivate(views, options_.max_active_jobs, options_.max_passes_ahead);
  for (int i = 0; i < num; ++i) {
    if (!waiting[i]->MoveTo(JobState::kRunning, clock_.TimeNow())) continue;
    active_.push_back(waiting[i]);
    events_.OnActivated(waiting[i]);
  }
}

std::vector<StepView> StepScheduler::Views() const {
  std::vector<StepView> views;
  for (const std::shared_ptr<Job>& job : active_) {
    StepView view;
    view.active = true;
    view.outbox_full = job->outbox_full();
    view.steps_since_render = job->steps_since_render();
    view.num_steps = job->plan().num_steps;
    const Job::EngineUse engine_job(*job);
    view.renderable = engine_job.get() != nullptr && engine_job->renderable();
    views.push_back(view);
  }
  return views;
}

void StepScheduler::StepTogether(const std::vector<std::shared_ptr<Job>>& jobs) {
  // EngineUse neither copies nor moves: a deque builds it in place.
  std::deque<Job::EngineUse> uses;
  std::vector<std::shared_ptr<Job>> stepped;
  std::vector<StepShare> shares;
  for (const std::shared_ptr<Job>& job : jobs) {
    if (EngineJob* engine_job = uses.emplace_back(*job).get(); engine_job != nullptr) {
      stepped.push_back(job);
      shares.push_back({.job = engine_job, .num_rows = engine_job->row_demand().max_rows});
    }
  }
  // All of them have just been ended by other threads.
  if (shares.empty()) return;

  const absl::Time start = clock_.TimeNow();
  const std::vector<absl::Status> statuses = engine_.Step(absl::MakeConstSpan(shares));
  const absl::Time end = clock_.TimeNow();
  metrics_.ObserveStep(static_cast<int>(shares.size()), end - start);

  for (size_t i = 0; i < stepped.size(); ++i) {
    const absl::Status status = i < statuses.size()
                                    ? statuses[i]
                                    : absl::InternalError("the engine returned too few statuses");
    if (!status.ok()) {
      events_.EndJob(stepped[i], status);
      continue;
    }
    const bool denoised = shares[i].job->denoised();
    stepped[i]->NoteStep(shares[i].job->steps_done(), denoised, end);
    if (denoised) std::erase(active_, stepped[i]);
    events_.OnStepped(stepped[i]);
  }
}

}  // namespace reenact
