// One accepted job: its state, what came in and is not read yet, what is ready and not sent yet,
// and the engine's object. Who acts on it: the call's reactor (input, answers), one preparation
// thread, the scheduler thread, one render thread.
//
// Invariants:
//  - the state moves along CanMove() only, so a job ends exactly once;
//  - the engine's object dies as soon as the job has ended and no thread is inside it;
//  - the outbox holds at most Limits::max_outbox_bytes plus the output of one Render call, the
//    inbox at most Limits::max_inbox_bytes plus one message, and one Progress.
//
// The inbox is emptied only when the engine asks for input, so that a job that is not read, for
// whatever reason, makes its caller wait.
//
// A job with an idempotency key can outlive the call that started it: answers that were sent are
// kept (AnswerRing), and another call can take the job over and get them again (Attach). While no
// call follows it, it is detached: it goes on until its outbox is full, and is overdue after
// Limits::resume_timeout.
//
// Thread-safe. No method blocks, calls the engine (but to destroy its object) or calls the
// listener.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "pipeline/engine.h"
#include "pipeline/types.h"
#include "reenact/v1/reenact.pb.h"
#include "server/answer_ring.h"
#include "server/job_state.h"

namespace reenact {

// Who asks for a job, and on what terms: what the engine need not know.
struct JobTerms {
  std::string tenant;           // empty: none
  int priority = 0;             // -100 to 100, higher first
  std::string idempotency_key;  // empty: none, and the job cannot be resumed
  uint64_t config_hash = 0;     // equal for equal configs
};

class Job {
 public:
  // What a piece of media counts for in the inbox besides its bytes, so that many small ones are
  // bounded too.
  static constexpr size_t kPieceOverheadBytes = 64;

  struct Limits {
    int64_t max_inbox_bytes = 4 << 20;
    int64_t max_outbox_bytes = 8 << 20;
    // Answers that were sent and are kept, if the job can be resumed.
    int64_t resume_buffer_bytes = 8 << 20;
    absl::Duration resume_timeout = absl::Seconds(30);
    // Silence of a caller from whom driving media is awaited.
    absl::Duration receive_timeout = absl::InfiniteDuration();
    // From `created` to the end, whatever the calls' deadlines are.
    absl::Duration max_duration = absl::InfiniteDuration();
  };

  // Told when there may be something new to send or room for input, from any thread, with no lock
  // held.
  class Listener {
   public:
    virtual ~Listener() = default;
    virtual void OnJobChanged() = 0;
  };

  // `request.model` and `request.job_id` are set. `deadline` is that of the call.
  Job(JobRequest request, Limits limits, absl::Time created, absl::Time deadline,
      std::weak_ptr<Listener> listener, JobTerms terms = {});

  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;

  // Constant.
  const std::string& id() const { return id_; }
  const std::string& model() const { return model_; }
  const std::string& tenant() const { return terms_.tenant; }
  int priority() const { return terms_.priority; }
  // Whether its driving comes as frames.
  bool live() const { return live_; }
  const JobTerms& terms() const { return terms_; }
  absl::Time created() const { return created_; }

  // When the job is overdue as things stand: the deadline of its call or its own, the end of the
  // wait for driving media, or the end of the wait for a call to resume it.
  absl::Time deadline() const ABSL_LOCKS_EXCLUDED(mu_);
  // What ends an overdue job: kDeadlineExceeded, or kCancelled if nobody resumed it.
  absl::Status OverdueStatus(absl::Time now) const ABSL_LOCKS_EXCLUDED(mu_);

  JobState state() const ABSL_LOCKS_EXCLUDED(mu_);
  bool ended() const { return IsTerminal(state()); }

  // Moves along an edge of the machine. False: the job has ended. For kPreparing, kWaiting,
  // kRunning.
  bool MoveTo(JobState state, absl::Time now) ABSL_LOCKS_EXCLUDED(mu_);

  // Ends the job with `status`, as the caller shall see it. False: it had ended before.
  bool End(const absl::Status& status, absl::Time now) ABSL_LOCKS_EXCLUDED(mu_);

  // Asks the scheduler thread to end the job. The first request counts.
  void RequestEnd(absl::Status status) ABSL_LOCKS_EXCLUDED(mu_);
  // Not OK: the scheduler thread is to end the job with it.
  absl::Status requested_end() const ABSL_LOCKS_EXCLUDED(mu_);

  // --- Input ---

  // These return whether a preparation turn must be scheduled.
  bool RequestPreparation() ABSL_LOCKS_EXCLUDED(mu_);
  bool PushInput(std::string bytes) ABSL_LOCKS_EXCLUDED(mu_);
  bool PushFrame(LiveFrame frame) ABSL_LOCKS_EXCLUDED(mu_);
  bool FinishInput() ABSL_LOCKS_EXCLUDED(mu_);
  // After a step: the engine may read on if it was ahead.
  bool ResumePreparation() ABSL_LOCKS_EXCLUDED(mu_);
  // The caller's silence counts from `now`.
  void NoteInput(absl::Time now) ABSL_LOCKS_EXCLUDED(mu_);
  // FinishInput, and the caller has said itself that nothing is missing: from now on the job can
  // be resumed if it has a key.
  bool CompleteInput() ABSL_LOCKS_EXCLUDED(mu_);
  bool input_complete() const ABSL_LOCKS_EXCLUDED(mu_);
  // Whether the inbox has room and the input has not finished.
  bool wants_input() const ABSL_LOCKS_EXCLUDED(mu_);

  // What the engine is to be asked for; empty after the first call. Preparation thread.
  std::optional<JobRequest> TakeRequest() ABSL_LOCKS_EXCLUDED(mu_);

  struct Input {
    std::vector<std::string> chunks;
    std::vector<LiveFrame> frames;
    // No more will come after these.
    bool finished = false;

    bool has_media() const { return !chunks.empty() || !frames.empty(); }
  };
  // Begins a preparation turn: everything in the inbox if the engine has asked for input, else
  // nothing; `finished` is reported once. Preparation thread.
  Input TakeInput() ABSL_LOCKS_EXCLUDED(mu_);
  // Whether EngineJob::Prepare is due although nothing was taken.
  bool preparation_due() const ABSL_LOCKS_EXCLUDED(mu_);
  // Ends a preparation turn, of which `result` came. True: another must be scheduled.
  bool EndPreparationTurn(EngineJob::Preparation result) ABSL_LOCKS_EXCLUDED(mu_);
  // Bytes that ever came in.
  int64_t received_bytes() const ABSL_LOCKS_EXCLUDED(mu_);

  // --- The engine's object ---

  // Gives the job its engine object; destroys it at once if the job has ended.
  void SetEngineJob(std::unique_ptr<EngineJob> engine_job) ABSL_LOCKS_EXCLUDED(mu_);

  // Keeps the engine's object alive while it exists. get() is null if the job has ended or has
  // none.
  class EngineUse {
   public:
    explicit EngineUse(Job& job) : job_(job), engine_job_(job.AcquireEngineJob()) {}
    ~EngineUse() {
      if (engine_job_ != nullptr) job_.ReleaseEngineJob();
    }
    EngineUse(const EngineUse&) = delete;
    EngineUse& operator=(const EngineUse&) = delete;

    EngineJob* get() const { return engine_job_; }
    EngineJob* operator->() const { return engine_job_; }

   private:
    Job& job_;
    EngineJob* const engine_job_;
  };

  // --- Progress ---

  // The plan of a job that is still being read grows; an older one than the job has is ignored.
  void SetPlan(const JobPlan& plan) ABSL_LOCKS_EXCLUDED(mu_);
  JobPlan plan() const ABSL_LOCKS_EXCLUDED(mu_);
  // Returns by how much frames_in and frames_skipped have grown.
  LiveStatus SetLiveStatus(const LiveStatus& status) ABSL_LOCKS_EXCLUDED(mu_);
  // After each denoising step.
  void NoteStep(int64_t steps_done, bool denoised, absl::Time now) ABSL_LOCKS_EXCLUDED(mu_);
  // Its last step has run already, as it turns out that there is no more to read.
  void NoteDenoised() ABSL_LOCKS_EXCLUDED(mu_);
  bool denoised() const ABSL_LOCKS_EXCLUDED(mu_);
  // Before each Render call.
  void NoteRender() ABSL_LOCKS_EXCLUDED(mu_);
  // Row steps since then.
  int64_t steps_since_render() const ABSL_LOCKS_EXCLUDED(mu_);
  // From admission to the first denoising step. Zero before it.
  absl::Duration queue_time() const ABSL_LOCKS_EXCLUDED(mu_);

  // --- Output ---

  // Queues `accepted`; first of all answers. An infinite `expected_wait` is one that is not known.
  void PushAccepted(int queue_position, absl::Duration expected_wait = absl::InfiniteDuration())
      ABSL_LOCKS_EXCLUDED(mu_);

  // Asks for a render turn. True: it must be scheduled; false: the running turn will look again.
  bool RequestRender() ABSL_LOCKS_EXCLUDED(mu_);
  // Starts to look for something to render: what is asked for from now on counts as new.
  void BeginRenderTurn() ABSL_LOCKS_EXCLUDED(mu_);
  // Ends a render turn that found nothing (more) to do. True: it was asked for again meanwhile.
  bool EndRenderTurn() ABSL_LOCKS_EXCLUDED(mu_);

  // Queues media. Returns whether it holds the job's first frame.
  bool PushOutputs(std::vector<Output> outputs, int64_t frames_done) ABSL_LOCKS_EXCLUDED(mu_);
  // Queues the last answer; the engine's object is not needed any more and is destroyed. `plan` is
  // the engine's at the end.
  void PushSummary(const JobSummary& summary, const JobPlan& plan, absl::Time now)
      ABSL_LOCKS_EXCLUDED(mu_);
  bool has_summary() const ABSL_LOCKS_EXCLUDED(mu_);
  bool outbox_full() const ABSL_LOCKS_EXCLUDED(mu_);

  enum class Next { kNothing, kAnswer, kEnded };
  struct Answer {
    Next next = Next::kNothing;
    v1::ReenactResponse response;  // kAnswer
    bool last = false;             // kAnswer: it is the summary
    bool made_room = false;        // kAnswer: the outbox was full and is not any more
    absl::Status status;           // kEnded
    bool taken_over = false;       // kEnded: of the call alone, another one follows the job
  };
  // The next thing to send. After the end everything unsent is gone. For a `caller` that is not
  // the listener (any more): kEnded with kAborted, and taken_over. Null: whoever listens.
  Answer NextAnswer(const Listener* caller = nullptr) ABSL_LOCKS_EXCLUDED(mu_);

  // --- The call ---

  bool IsFollowedBy(const Listener* caller) const ABSL_LOCKS_EXCLUDED(mu_);

  enum class Loss {
    kNotFollowing,  // another call follows the job: nothing to do
    kDetached,      // it goes on and can be resumed
    kEnds,          // it cannot be resumed: the caller of this method must end it
  };
  // `caller`, if it is the listener, listens no more.
  Loss Detach(const Listener* caller, absl::Time now) ABSL_LOCKS_EXCLUDED(mu_);

  // From now on `listener` follows the job and gets the answers from `next_sequence_number` on;
  // those before it are forgotten. `deadline` replaces that of the former call. Returns the former
  // listener, which is to be told that it listens no more; null: there was none.
  // kFailedPrecondition: the job has no key or its driving media is not complete. kOutOfRange: the
  // answers asked for are kept no more, or there are none such yet. A job that has not succeeded
  // but ended otherwise can always be attached to: there is only its status to tell.
  absl::StatusOr<std::shared_ptr<Listener>> Attach(std::weak_ptr<Listener> listener,
                                                   uint64_t next_sequence_number,
                                                   absl::Time deadline) ABSL_LOCKS_EXCLUDED(mu_);

  // It has ended because nobody resumed it in time.
  bool abandoned() const ABSL_LOCKS_EXCLUDED(mu_);

  // Memory that the answers kept for resuming take.
  int64_t kept_bytes() const ABSL_LOCKS_EXCLUDED(mu_);

  // --- Seen from outside ---

  v1::Job Snapshot() const ABSL_LOCKS_EXCLUDED(mu_);

  // Calls the listener if it is still there. With no lock held.
  void NotifyListener() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  EngineJob* AcquireEngineJob() ABSL_LOCKS_EXCLUDED(mu_);
  void ReleaseEngineJob() ABSL_LOCKS_EXCLUDED(mu_);

  // The engine's object if nobody needs it any more, for destruction outside the lock.
  std::unique_ptr<EngineJob> TakeUnneededEngineJob() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  v1::Progress MakeProgress() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool IsOutboxFull() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool WantsInput() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool TakesInput() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Counts media of `num_bytes` in the inbox. Returns as PushInput does.
  bool NotePushed(size_t num_bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool IsResumable() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // Constant after construction.
  const std::string id_;
  const std::string model_;
  const JobTerms terms_;
  const OutputFormat format_;
  const bool live_;
  const Limits limits_;
  const absl::Time created_;

  mutable Mutex mu_;
  std::weak_ptr<Listener> listener_ ABSL_GUARDED_BY(mu_);
  absl::Time call_deadline_ ABSL_GUARDED_BY(mu_);
  absl::Time resume_by_ ABSL_GUARDED_BY(mu_) = absl::InfiniteFuture();  // finite: detached
  JobState state_ ABSL_GUARDED_BY(mu_) = JobState::kReceiving;
  absl::Status requested_end_ ABSL_GUARDED_BY(mu_);
  absl::Status end_status_ ABSL_GUARDED_BY(mu_);
  absl::Time end_time_ ABSL_GUARDED_BY(mu_) = absl::InfiniteFuture();

  std::optional<JobRequest> request_ ABSL_GUARDED_BY(mu_);
  Input inbox_ ABSL_GUARDED_BY(mu_);  // without `finished`
  int64_t inbox_bytes_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t received_bytes_ ABSL_GUARDED_BY(mu_) = 0;
  absl::Time last_input_ ABSL_GUARDED_BY(mu_);
  bool input_finished_ ABSL_GUARDED_BY(mu_) = false;
  bool input_complete_ ABSL_GUARDED_BY(mu_) = false;
  bool finish_taken_ ABSL_GUARDED_BY(mu_) = false;
  bool preparation_scheduled_ ABSL_GUARDED_BY(mu_) = false;
  // What the last turn came to.
  EngineJob::Preparation preparation_ ABSL_GUARDED_BY(mu_) = EngineJob::Preparation::kNeedsInput;
  // Since the last turn began.
  bool stepped_since_preparation_ ABSL_GUARDED_BY(mu_) = false;

  std::unique_ptr<EngineJob> engine_job_ ABSL_GUARDED_BY(mu_);
  int engine_users_ ABSL_GUARDED_BY(mu_) = 0;

  JobPlan plan_ ABSL_GUARDED_BY(mu_);
  LiveStatus live_status_ ABSL_GUARDED_BY(mu_);
  int64_t steps_done_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t steps_since_render_ ABSL_GUARDED_BY(mu_) = 0;
  bool denoised_ ABSL_GUARDED_BY(mu_) = false;
  int64_t frames_done_ ABSL_GUARDED_BY(mu_) = 0;
  absl::Time running_since_ ABSL_GUARDED_BY(mu_) = absl::InfiniteFuture();
  absl::Time last_step_time_ ABSL_GUARDED_BY(mu_) = absl::InfiniteFuture();
  bool progress_changed_ ABSL_GUARDED_BY(mu_) = false;

  bool render_scheduled_ ABSL_GUARDED_BY(mu_) = false;
  bool render_asked_again_ ABSL_GUARDED_BY(mu_) = false;
  std::deque<v1::ReenactResponse> outbox_ ABSL_GUARDED_BY(mu_);
  int64_t outbox_bytes_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t media_bytes_ ABSL_GUARDED_BY(mu_) = 0;
  bool has_frames_ ABSL_GUARDED_BY(mu_) = false;
  bool has_summary_ ABSL_GUARDED_BY(mu_) = false;
  AnswerRing sent_ ABSL_GUARDED_BY(mu_);
  // What the listener gets next: less than sent_.end() while it catches up.
  uint64_t next_sequence_number_ ABSL_GUARDED_BY(mu_) = 0;
  bool summary_sent_ ABSL_GUARDED_BY(mu_) = false;
  bool last_was_progress_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace reenact
