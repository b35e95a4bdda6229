// Runs the denoising steps of all jobs on one device, and ends jobs that are cancelled or too late.
//
// Before each step StepPolicy decides which rows of which jobs share one call of Engine::Step; a
// job joins, leaves, is cancelled or expires between any two steps. So a request to end a job is
// obeyed within one step, and a job is passed over at most StepPolicy::MaxPassedOver() times in a
// row.
//
// A job that has nothing to step before more of its driving media has been read keeps its place.
//
// Watch() and Wake() are thread-safe and never block. RunOnce() belongs to one thread at a time.
#pragma once

#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "pipeline/engine.h"
#include "server/clock.h"
#include "server/cost_model.h"
#include "server/heartbeat.h"
#include "server/job.h"
#include "server/metrics.h"
#include "server/step_policy.h"
#include "server/tenant_ledger.h"

namespace reenact {

class StepScheduler {
 public:
  struct Options {
    StepPolicy::Limits limits;
    // An idle scheduler comes round this often to show that it lives.
    absl::Duration heartbeat_interval = absl::Seconds(1);
  };

  // What the scheduler tells, on its thread, with no lock held.
  class Events {
   public:
    virtual ~Events() = default;
    // Must end the job (Job::End).
    virtual void EndJob(const std::shared_ptr<Job>& job, const absl::Status& status) = 0;
    // The job got a place on the device.
    virtual void OnActivated(const std::shared_ptr<Job>& job) = 0;
    // A step of `num_rows` rows of the job has run: there may be something to render.
    virtual void OnStepped(const std::shared_ptr<Job>& job, int num_rows) = 0;
  };

  // The references must outlive the scheduler.
  StepScheduler(const Options& options, Engine& engine, Clock& clock, CostModel& cost_model,
                Heartbeat& heartbeat, Metrics& metrics, Events& events);

  // Looks after `job` from now until it has ended: expiry and cancellation at once, steps once it
  // is waiting.
  void Watch(std::shared_ptr<Job> job) ABSL_LOCKS_EXCLUDED(mu_);

  // Something about a job has changed: come round.
  void Wake() ABSL_LOCKS_EXCLUDED(mu_);

  // Comes round once, with at most one step. Returns whether a step ran.
  bool RunOnce() ABSL_LOCKS_EXCLUDED(mu_);

  // Comes round until Stop(): at once after a step, else when woken, when a job expires, or to
  // beat.
  void Run() ABSL_LOCKS_EXCLUDED(mu_);
  // Lets Run() return after the step it is in. Thread-safe.
  void Stop() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct Watched {
    std::shared_ptr<Job> job;
    int64_t passed_over = 0;  // while it waits: by jobs that were activated
  };
  struct Active {
    std::shared_ptr<Job> job;
    int64_t passed_over = 0;  // by steps
    int num_rows = 0;         // in the step that is being run
  };

  void TakeNewJobs() ABSL_LOCKS_EXCLUDED(mu_);
  void EndOverdueJobs();
  void Activate();
  // What the policy is to know of `active_`. Valid while they are.
  std::vector<StepRequest> Requests() const;
  // Turns the policy's decision into `batch`, and `active_` into the order for the next one.
  std::vector<Active> TakeBatch(const std::vector<StepRequest>& requests,
                                const std::vector<int>& rows);
  void StepTogether(const std::vector<Active>& batch);

  // Constant after construction.
  const StepPolicy policy_;
  const absl::Duration heartbeat_interval_;
  Engine& engine_;
  Clock& clock_;
  CostModel& cost_model_;
  Heartbeat& heartbeat_;
  Metrics& metrics_;
  Events& events_;

  Mutex mu_;
  std::vector<std::shared_ptr<Job>> new_jobs_ ABSL_GUARDED_BY(mu_);
  bool woken_ ABSL_GUARDED_BY(mu_) = false;
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;

  // Scheduler thread only.
  std::vector<Watched> watched_;  // every job that has not ended, in order of admission
  std::vector<Active> active_;    // those with steps left, longest without a step first
  TenantLedger ledger_;
};

}  // namespace reenact
