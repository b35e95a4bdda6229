// The jobs that can be resumed: every live job with an idempotency key, and for a while those that
// have ended.
//
// Bounded: at most max_ended jobs that have ended, each with what its AnswerRing holds; the oldest
// go first.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "server/job.h"

namespace reenact {

// Thread-safe. No method blocks.
class ResumeRegistry {
 public:
  // `keep_time`: from the end of a job until it is forgotten.
  ResumeRegistry(absl::Duration keep_time, size_t max_ended)
      : keep_time_(keep_time), max_ended_(max_ended) {}

  // The tenant has no other job with the same key here.
  void Add(const std::shared_ptr<Job>& job) ABSL_LOCKS_EXCLUDED(mu_);
  // `job` has ended. For any job; the second call for one has no effect.
  void OnEnded(const std::shared_ptr<Job>& job, absl::Time now) ABSL_LOCKS_EXCLUDED(mu_);
  void Forget(const Job& job) ABSL_LOCKS_EXCLUDED(mu_);
  // Forgets the jobs whose time is over.
  void Purge(absl::Time now) ABSL_LOCKS_EXCLUDED(mu_);

  // Null: the tenant has no such job here.
  std::shared_ptr<Job> FindByKey(const std::string& tenant, const std::string& key) const
      ABSL_LOCKS_EXCLUDED(mu_);
  std::shared_ptr<Job> FindById(const std::string& tenant, const std::string& job_id) const
      ABSL_LOCKS_EXCLUDED(mu_);

 private:
  using TenantAndKey = std::pair<std::string, std::string>;
  struct Ended {
    std::shared_ptr<Job> job;
    absl::Time forget_at;
  };

  static TenantAndKey KeyOf(const Job& job) { return {job.tenant(), job.terms().idempotency_key}; }
  void Erase(const Job& job) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const absl::Duration keep_time_;
  const size_t max_ended_;

  mutable Mutex mu_;
  std::map<std::string, std::shared_ptr<Job>> by_id_ ABSL_GUARDED_BY(mu_);
  std::map<TenantAndKey, std::shared_ptr<Job>> by_key_ ABSL_GUARDED_BY(mu_);
  std::deque<Ended> ended_ ABSL_GUARDED_BY(mu_);  // in the order of forget_at
};

}  // namespace reenact
