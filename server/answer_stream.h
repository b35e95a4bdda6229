// The answering half of a call that follows a job: sends the job's answers, ends with its status,
// and tells the job when the call is lost.
//
// At most one write is in flight, and nothing is written but what the job's bounded outbox holds,
// so a slow client costs bounded memory and holds up no other job. A client that leaves only leaves
// a mark on the job, which the scheduler thread obeys before its next step.
//
// Threads: gRPC's reactions and, through OnJobChanged(), any thread that works on the job. Pump()
// makes every call into gRPC and runs in one thread at a time, so none of them can follow Finish().
#pragma once

#include <grpcpp/server_context.h>

#include <memory>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "reenact/v1/reenact.pb.h"
#include "server/clock.h"
#include "server/job.h"
#include "server/job_runner.h"
#include "server/metrics.h"

namespace reenact {

// What every call to the service needs. All pointers must outlive the call.
struct CallEnvironment {
  JobRunner* runner = nullptr;  // null until the model is loaded
  Clock* clock = nullptr;
  Metrics* metrics = nullptr;
};

class AnswerStream : public Job::Listener, public std::enable_shared_from_this<AnswerStream> {
 public:
  void OnJobChanged() final { Pump(); }

 protected:
  AnswerStream(std::string tenant, absl::Time deadline, const CallEnvironment& environment);

  // What Pump() starts. `answer` stays as it is until AfterWrite().
  virtual void StartWriting(const v1::ReenactResponse& answer) = 0;
  virtual void FinishCall(const grpc::Status& status) = 0;
  // Starts a read if there is something to read for.
  virtual void PumpRead() {}

  // To be called in the reactions of the same name.
  void AfterWrite(bool ok) ABSL_LOCKS_EXCLUDED(mu_);
  void AfterCancel() ABSL_LOCKS_EXCLUDED(mu_);
  void AfterDone() ABSL_LOCKS_EXCLUDED(mu_);

  // The stream owns itself from now until gRPC is done with it.
  void HoldSelf() { self_ = shared_from_this(); }
  // From now on the call sends the answers of `job`, whose listener it is already.
  void Follow(const std::shared_ptr<Job>& job) ABSL_LOCKS_EXCLUDED(mu_);
  // Ends the call with `status`, whatever becomes of a job.
  void RefuseCall(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mu_);

  // Starts whatever can be started: a read, a write, the finish.
  void Pump() ABSL_LOCKS_EXCLUDED(mu_);

  std::shared_ptr<Job> job() const ABSL_LOCKS_EXCLUDED(mu_);
  bool refused() const ABSL_LOCKS_EXCLUDED(mu_);

  // Constant after construction.
  const std::string tenant_;
  const absl::Time deadline_;
  JobRunner* const runner_;
  Clock& clock_;
  Metrics& metrics_;

 private:
  void PumpWriteOrFinish() ABSL_LOCKS_EXCLUDED(mu_);

  // A call that is cancelled after this time is taken for one whose deadline has passed.
  const absl::Time expired_from_;

  std::shared_ptr<AnswerStream> self_;

  // Owned by gRPC while a write is in flight.
  v1::ReenactResponse response_;

  mutable Mutex mu_;
  std::shared_ptr<Job> job_ ABSL_GUARDED_BY(mu_);
  bool write_in_flight_ ABSL_GUARDED_BY(mu_) = false;
  bool summary_in_flight_ ABSL_GUARDED_BY(mu_) = false;
  bool broken_ ABSL_GUARDED_BY(mu_) = false;
  // How the call ends, if it does not wait for the job's end.
  std::optional<absl::Status> refusal_ ABSL_GUARDED_BY(mu_);
  bool finished_ ABSL_GUARDED_BY(mu_) = false;
  bool pumping_ ABSL_GUARDED_BY(mu_) = false;
  bool pump_again_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace reenact
