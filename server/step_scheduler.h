// Runs the denoising steps of all jobs on one device, and ends jobs that are cancelled or too late.
//
// Before each step it picks, round robin, up to Options::max_batch_jobs of the active jobs for one
// call of Engine::Step; a job joins, leaves, is cancelled or expires between any two steps. So a
// request to end a job is obeyed within one step, and with n runnable jobs each is stepped at least
// every ceil(n / max_batch_jobs) steps.
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
#include "server/heartbeat.h"
#include "server/job.h"
#include "server/metrics.h"
#include "server/step_policy.h"

namespace reenact {

class StepScheduler {
 public:
  struct Options {
    int max_active_jobs = 4;   // 1 or more
    int max_batch_jobs = 4;    // 1 or more
    int max_passes_ahead = 2;  // see IsPaused()
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
    // A step of the job has run: there may be something to render.
    virtual void OnStepped(const std::shared_ptr<Job>& job) = 0;
  };

  // The references must outlive the scheduler.
  StepScheduler(Options options, Engine& engine, Clock& clock, Heartbeat& heartbeat,
                Metrics& metrics, Events& events);

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
  void TakeNewJobs() ABSL_LOCKS_EXCLUDED(mu_);
  void EndOverdueJobs();
  void Activate();
  std::vector<StepView> Views() const;
  void StepTogether(const std::vector<std::shared_ptr<Job>>& jobs);

  // Constant after construction.
  const Options options_;
  Engine& engine_;
  Clock& clock_;
  Heartbeat& heartbeat_;
  Metrics& metrics_;
  Events& events_;

  Mutex mu_;
  std::vector<std::shared_ptr<Job>> new_jobs_ ABSL_GUARDED_BY(mu_);
  bool woken_ ABSL_GUARDED_BY(mu_) = false;
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;

  // Scheduler thread only.
  std::vector<std::shared_ptr<Job>> watched_;  // every job that has not ended, in admission order
  std::vector<std::shared_ptr<Job>> active_;  // those with steps left, longest without a step first
};

}  // namespace reenact
