// The answering half of a call that follows a job: sends the job's answers, ends with its status,
// and tells the job when the call is lost.
//
// A client that leaves only leaves a mark on the job, which the scheduler thread obeys before its
// next step. Threads: CallStream's.
#pragma once

#include <memory>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"
#include "reenact/v1/reenact.pb.h"
#include "server/call_stream.h"
#include "server/job.h"

namespace reenact {

class AnswerStream : public CallStream, public Job::Listener {
 public:
  void OnJobChanged() final { Pump(); }

 protected:
  using CallStream::CallStream;

  // From now on the call sends the answers of `job`, whose listener it is already.
  void Follow(const std::shared_ptr<Job>& job) ABSL_LOCKS_EXCLUDED(job_mu_);
  std::shared_ptr<Job> job() const ABSL_LOCKS_EXCLUDED(job_mu_);
  std::weak_ptr<Job::Listener> WeakListener() {
    return std::static_pointer_cast<AnswerStream>(shared_from_this());
  }
  // Stays as it is while it is written.
  const v1::ReenactResponse& answer() const { return answer_; }

  // CallStream.
  Turn NextTurn() final ABSL_LOCKS_EXCLUDED(job_mu_);
  void OnWritten() final ABSL_LOCKS_EXCLUDED(job_mu_);
  void OnLost(const absl::Status& reason) final ABSL_LOCKS_EXCLUDED(job_mu_);

 private:
  // Owned by gRPC while a write is in flight.
  v1::ReenactResponse answer_;

  mutable Mutex job_mu_;
  std::shared_ptr<Job> job_ ABSL_GUARDED_BY(job_mu_);
  // The answer that is being written is the job's last.
  bool writes_last_ ABSL_GUARDED_BY(job_mu_) = false;
};

}  // namespace reenact
