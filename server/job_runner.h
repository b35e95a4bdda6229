// Takes jobs in, carries them through preparation, denoising and rendering, and knows them all.
//
// Threads: `preparation_threads` that hand driving media to EngineJob and call its Prepare, one
// scheduler thread that calls Engine::Step, `render_threads` that call EngineJob::Render. All three
// may work for a job at the same time: it is stepped from when it has rows, while the rest of its
// driving media is still being read or coming in. Every admitted job ends in exactly one terminal
// state, at the latest in the destructor.
//
// Thread-safe. No public method but AwaitIdle and the destructor blocks.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "pipeline/engine.h"
#include "server/backlog.h"
#include "server/clock.h"
#include "server/config.h"
#include "server/cost_model.h"
#include "server/extraction_runner.h"
#include "server/heartbeat.h"
#include "server/job.h"
#include "server/job_pool.h"
#include "server/metrics.h"
#include "server/resume_registry.h"
#include "server/step_scheduler.h"

namespace reenact {

class JobRunner final : private StepScheduler::Events {
 public:
  // Who does the work: threads of the runner, or the caller, turn by turn on its own thread (for
  // tests in which nothing happens by chance).
  enum class Turns { kOwnThreads, kByCaller };

  // The references must outlive the runner.
  JobRunner(const ServerConfig& config, Engine& engine, Clock& clock, Heartbeat& heartbeat,
            Metrics& metrics, Turns turns = Turns::kOwnThreads);
  // Ends what is left with kUnavailable. Blocks for as long as the engine's calls that are running.
  ~JobRunner() override;

  const std::vector<ModelInfo>& models() const { return engine_.models(); }

  // A new job; `request` has been checked (ToJobRequest), its job_id is set here. The job expires
  // at `deadline` or after ServerConfig::max_job_duration, whichever comes first.
  // kResourceExhausted with RetryInfo: full. kUnavailable: no jobs are admitted any more.
  absl::StatusOr<std::shared_ptr<Job>> Admit(JobRequest request, absl::Time deadline,
                                             std::weak_ptr<Job::Listener> listener,
                                             JobTerms terms = {}) ABSL_LOCKS_EXCLUDED(mu_);

  struct Begun {
    std::shared_ptr<Job> job;
    // The job was there before: its driving media is complete.
    bool was_there = false;
  };
  // Admit(), unless the tenant has a job with the same idempotency key, which `listener` then
  // follows from its first answer on. Moreover: kInvalidArgument: that job has another config.
  // kAlreadyExists: its first answers are gone.
  absl::StatusOr<Begun> Begin(JobRequest request, absl::Time deadline,
                              std::weak_ptr<Job::Listener> listener, JobTerms terms)
      ABSL_LOCKS_EXCLUDED(begin_mu_, mu_);
  // Makes `listener` follow a job that is there; the status is ResumeJob's.
  absl::StatusOr<std::shared_ptr<Job>> Resume(const std::string& tenant,
                                              const v1::ResumeJobRequest& request,
                                              absl::Time deadline,
                                              std::weak_ptr<Job::Listener> listener)
      ABSL_LOCKS_EXCLUDED(mu_);
  // The call of `listener` is over before the job: detaches the job, or ends it with `status`
  // (kDeadlineExceeded always ends it). No effect if another call follows the job.
  void CallLost(const std::shared_ptr<Job>& job, const Job::Listener* listener,
                const absl::Status& status);
  // Forgets ended jobs that could be resumed for long enough. To be called now and then.
  void ForgetOldJobs() { resumable_.Purge(clock_.TimeNow()); }

  // The call's side of a job.
  void PushInput(const std::shared_ptr<Job>& job, std::string bytes);
  void PushFrame(const std::shared_ptr<Job>& job, LiveFrame frame);
  void FinishInput(const std::shared_ptr<Job>& job);
  // FinishInput, and the caller has said so itself.
  void CompleteInput(const std::shared_ptr<Job>& job);
  // A job's end is told when the job has left the books: whoever hears of it may start another one
  // in its place, and finds it counted.
  Job::Answer NextAnswer(const std::shared_ptr<Job>& job, const Job::Listener* caller = nullptr)
      ABSL_LOCKS_EXCLUDED(mu_);
  // The summary is on the wire: the job has succeeded.
  void OnSummarySent(const std::shared_ptr<Job>& job);
  // The scheduler thread ends the job with `status` before its next step; a call of the engine that
  // prepares or renders it returns soon.
  void RequestEnd(const std::shared_ptr<Job>& job, absl::Status status);

  // What GetJob tells. kNotFound: the tenant has no such job, or it is forgotten.
  absl::StatusOr<v1::Job> GetJob(const std::string& job_id, const std::string& tenant = "") const
      ABSL_LOCKS_EXCLUDED(mu_);
  // RequestEnd, if the job has not ended. Returns what GetJob does.
  absl::StatusOr<v1::Job> CancelJob(const std::string& job_id, const std::string& tenant = "")
      ABSL_LOCKS_EXCLUDED(mu_);
  // The same for a job named either way; kInvalidArgument: it is not named.
  absl::StatusOr<v1::Job> CancelJob(const std::string& tenant, const v1::CancelJobRequest& request)
      ABSL_LOCKS_EXCLUDED(mu_);

  // The extractions beside the jobs. They stop with the jobs: the next three methods and the
  // destructor do the same for them.
  ExtractionRunner& extractions() { return extractions_; }

  // From now on Admit() returns kUnavailable.
  void StopAdmitting() ABSL_LOCKS_EXCLUDED(mu_);
  // RequestEnd for every job.
  void CancelAll(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mu_);
  // Turns::kByCaller only: what each kind of thread does once. False: it had nothing to do.
  bool RunPreparationTurn() { return preparation_.RunTurn(); }
  bool RunSchedulerTurn() { return scheduler_.RunOnce(); }
  bool RunRenderTurn() { return render_.RunTurn(); }

  // Waits until every job has ended. False: `deadline` came first.
  bool AwaitIdle(absl::Time deadline) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct Entry {
    std::shared_ptr<Job> job;
    bool queued = true;  // has not begun to denoise
  };

  struct Remembered {
    v1::Job job;
    std::string tenant;
  };

  // The live job of that tenant; null: there is none.
  std::shared_ptr<Job> FindLive(const std::string& job_id, const std::string& tenant) const
      ABSL_LOCKS_EXCLUDED(mu_);

  // Job::Attach and what follows from it.
  absl::Status TakeOver(const std::shared_ptr<Job>& job, uint64_t next_sequence_number,
                        absl::Time deadline, std::weak_ptr<Job::Listener> listener);

  // StepScheduler::Events.
  void EndJob(const std::shared_ptr<Job>& job, const absl::Status& status) override
      ABSL_LOCKS_EXCLUDED(mu_);
  void OnActivated(const std::shared_ptr<Job>& job) override ABSL_LOCKS_EXCLUDED(mu_);
  void OnStepped(const std::shared_ptr<Job>& job, int num_rows) override ABSL_LOCKS_EXCLUDED(mu_);

  // Turns of the pools.
  void Prepare(const std::shared_ptr<Job>& job);
  // One call of EngineJob::Prepare and what comes before and after it. kDone also if there is no
  // use in preparing the job any more.
  absl::StatusOr<EngineJob::Preparation> PrepareOnce(const std::shared_ptr<Job>& job);
  // What has come of EngineJob::Prepare: more to step, to render, to tell.
  absl::Status TakePreparation(const std::shared_ptr<Job>& job, EngineJob& engine_job)
      ABSL_LOCKS_EXCLUDED(mu_);
  void TakeLiveStatus(Job& job, const EngineJob& engine_job);
  void Render(const std::shared_ptr<Job>& job);
  // Whether there may be more to do at once.
  absl::StatusOr<bool> RenderOnce(Job& job);
  // Ends a job whose turn has failed.
  void EndEarly(const std::shared_ptr<Job>& job, const absl::Status& status);
  // Makes calls of the engine that are running for the job return.
  static void CancelEngineJob(Job& job);

  // Adds the job's work to the backlog when it is known first. Not empty: it does not fit before
  // that time has passed.
  std::optional<absl::Duration> TakeOn(const std::string& job_id, const JobPlan& plan)
      ABSL_LOCKS_EXCLUDED(mu_);
  absl::Status TooMuchWork() const;

  std::vector<std::shared_ptr<Job>> LiveJobs() const ABSL_LOCKS_EXCLUDED(mu_);

  // Constant after construction.
  const ServerConfig config_;
  Engine& engine_;
  Clock& clock_;
  Metrics& metrics_;
  CostModel cost_model_;  // provides its own synchronization

  // One job begins at a time, so that a key begins one job.
  Mutex begin_mu_ ABSL_ACQUIRED_BEFORE(mu_);

  mutable Mutex mu_;
  bool admitting_ ABSL_GUARDED_BY(mu_) = true;
  std::map<std::string, Entry> live_ ABSL_GUARDED_BY(mu_);
  int num_queued_ ABSL_GUARDED_BY(mu_) = 0;
  Backlog backlog_ ABSL_GUARDED_BY(mu_);
  std::map<std::string, Remembered> remembered_ ABSL_GUARDED_BY(mu_);
  std::deque<std::string> remembered_order_ ABSL_GUARDED_BY(mu_);

  // Provide their own synchronization. Last: their threads use what is above.
  ResumeRegistry resumable_;
  ExtractionRunner extractions_;
  StepScheduler scheduler_;
  JobPool preparation_;
  JobPool render_;
  std::thread scheduler_thread_;
};

}  // namespace reenact
