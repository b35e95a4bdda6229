#include "server/step_scheduler.h"

#include <algorithm>
#include <deque>
#include <set>
#include <string>
#include <utility>

namespace reenact {

StepScheduler::StepScheduler(const Options& options, Engine& engine, Clock& clock,
                             CostModel& cost_model, Heartbeat& heartbeat, Metrics& metrics,
                             Events& events)
    : policy_(options.limits),
      heartbeat_interval_(options.heartbeat_interval),
      engine_(engine),
      clock_(clock),
      cost_model_(cost_model),
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
    absl::Time wake_up = clock_.TimeNow() + heartbeat_interval_;
    for (const Watched& watched : watched_) wake_up = std::min(wake_up, watched.job->deadline());
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

  std::vector<StepRequest> requests = Requests();
  std::set<std::string, std::less<>> tenants;
  int num_paused = 0;
  for (const StepRequest& request : requests) {
    if (policy_.IsRunnable(request)) tenants.emplace(request.tenant);
    if (policy_.IsPaused(request)) ++num_paused;
  }
  metrics_.SetDevice(static_cast<int>(active_.size()), num_paused);
  ledger_.Begin(tenants);
  for (StepRequest& request : requests) request.tenant_served = ledger_.served(request.tenant);

  const std::vector<Active> batch = TakeBatch(requests, policy_.Rows(requests, clock_.TimeNow()));
  if (batch.empty()) return false;
  StepTogether(batch);
  return true;
}

void StepScheduler::TakeNewJobs() {
  MutexLock lock(&mu_);
  woken_ = false;
  for (std::shared_ptr<Job>& job : new_jobs_) watched_.push_back({.job = std::move(job)});
  new_jobs_.clear();
}

void StepScheduler::EndOverdueJobs() {
  const absl::Time now = clock_.TimeNow();
  for (const Watched& watched : watched_) {
    const absl::Status requested = watched.job->requested_end();
    if (!requested.ok()) {
      events_.EndJob(watched.job, requested);
    } else if (watched.job->deadline() <= now) {
      events_.EndJob(watched.job, watched.job->OverdueStatus(now));
    }
  }
  const auto ended = [](const auto& entry) { return entry.job->ended(); };
  // The last step of a job may be known to be that only after it.
  std::erase_if(active_,
                [&](const Active& active) { return ended(active) || active.job->denoised(); });
  std::erase_if(watched_, ended);
}

void StepScheduler::Activate() {
  std::vector<Watched*> waiting;
  std::vector<StepRequest> waiting_requests;
  for (Watched& watched : watched_) {
    if (watched.job->state() != JobState::kWaiting) continue;
    waiting.push_back(&watched);
    const JobPlan plan = watched.job->plan();
    const absl::Duration work_left = cost_model_.TimeFor(
        watched.job->model(), static_cast<double>(plan.total_steps) * plan.gflop_per_row_step);
    waiting_requests.push_back(
        {.tenant = watched.job->tenant(),
         .priority = watched.job->priority(),
         .deadline = watched.job->deadline(),
         .work_left = work_left < absl::InfiniteDuration() ? work_left : absl::ZeroDuration(),
         .passed_over = watched.passed_over});
  }
  if (waiting.empty()) return;

  const absl::Time now = clock_.TimeNow();
  for (size_t index : policy_.Activate(Requests(), waiting_requests, now)) {
    const std::shared_ptr<Job>& job = waiting[index]->job;
    if (!job->MoveTo(JobState::kRunning, now)) continue;
    for (Watched* other : waiting) ++other->passed_over;
    active_.push_back({.job = job});
    events_.OnActivated(job);
  }
}

std::vector<StepRequest> StepScheduler::Requests() const {
  std::vector<StepRequest> requests;
  for (const Active& active : active_) {
    StepRequest request = {.tenant = active.job->tenant(),
                           .priority = active.job->priority(),
                           .deadline = active.job->deadline(),
                           .passed_over = active.passed_over};
    const JobPlan plan = active.job->plan();
    request.gflop_per_row = plan.gflop_per_row_step;
    request.num_steps = plan.num_steps;
    request.outbox_full = active.job->outbox_full();
    request.steps_since_render = active.job->steps_since_render();
    // Without an engine object the job has just ended: it wants no rows.
    if (const Job::EngineUse engine_job(*active.job); engine_job.get() != nullptr) {
      request.demand = engine_job->row_demand();
      request.output_waits = engine_job->renderable();
      const absl::Duration work_left = cost_model_.TimeFor(
          active.job->model(), static_cast<double>(plan.total_steps - engine_job->steps_done()) *
                                   plan.gflop_per_row_step);
      if (work_left < absl::InfiniteDuration()) request.work_left = work_left;
    }
    requests.push_back(request);
  }
  return requests;
}

std::vector<StepScheduler::Active> StepScheduler::TakeBatch(
    const std::vector<StepRequest>& requests, const std::vector<int>& rows) {
  std::vector<Active> batch, others;
  int num_passed_over = 0;
  for (size_t i = 0; i < active_.size(); ++i) {
    active_[i].num_rows = rows[i];
    if (rows[i] > 0) {
      active_[i].passed_over = 0;
      batch.push_back(active_[i]);
      continue;
    }
    if (policy_.IsRunnable(requests[i])) {
      ++active_[i].passed_over;
      ++num_passed_over;
    }
    others.push_back(active_[i]);
  }
  if (batch.empty()) return batch;
  metrics_.CountPassedOver(num_passed_over);

  // To the back of the round; who got less than its equals comes first next time.
  active_ = std::move(others);
  std::stable_sort(batch.begin(), batch.end(),
                   [](const Active& a, const Active& b) { return a.num_rows < b.num_rows; });
  active_.insert(active_.end(), batch.begin(), batch.end());
  return batch;
}

void StepScheduler::StepTogether(const std::vector<Active>& batch) {
  // EngineUse neither copies nor moves: a deque builds it in place.
  std::deque<Job::EngineUse> uses;
  std::vector<const Active*> stepped;
  std::vector<StepShare> shares;
  std::vector<CostModel::Work> works;
  int num_rows = 0;
  for (const Active& active : batch) {
    EngineJob* const engine_job = uses.emplace_back(*active.job).get();
    // Null, or asked to end: another thread came between.
    if (engine_job == nullptr || !active.job->requested_end().ok()) continue;
    stepped.push_back(&active);
    shares.push_back({.job = engine_job, .num_rows = active.num_rows});
    works.push_back({.model = active.job->model(),
                     .gflop = active.num_rows * active.job->plan().gflop_per_row_step});
    num_rows += active.num_rows;
  }
  if (shares.empty()) return;

  const absl::Time start = clock_.TimeNow();
  const std::vector<absl::Status> statuses = engine_.Step(absl::MakeConstSpan(shares));
  const absl::Time end = clock_.TimeNow();
  metrics_.ObserveStep(static_cast<int>(shares.size()), num_rows, end - start);
  cost_model_.ObserveStep(works, end - start);

  for (size_t i = 0; i < stepped.size(); ++i) {
    const std::shared_ptr<Job>& job = stepped[i]->job;
    const double gflop = works[i].gflop > 0 ? works[i].gflop : stepped[i]->num_rows;
    ledger_.Charge(job->tenant(), gflop);
    const absl::Status status = i < statuses.size()
                                    ? statuses[i]
                                    : absl::InternalError("the engine returned too few statuses");
    if (!status.ok()) {
      events_.EndJob(job, status);
      continue;
    }
    const bool denoised = shares[i].job->denoised();
    job->NoteStep(shares[i].job->steps_done(), denoised, end);
    job->SetPlan(shares[i].job->plan());  // of a live job, rows are planned as they begin
    if (denoised) {
      std::erase_if(active_, [&job](const Active& active) { return active.job == job; });
    }
    events_.OnStepped(job, stepped[i]->num_rows);
  }
}

}  // namespace reenact
