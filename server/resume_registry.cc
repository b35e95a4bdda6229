#include "server/resume_registry.h"

#include <algorithm>

namespace reenact {

void ResumeRegistry::Add(const std::shared_ptr<Job>& job) {
  MutexLock lock(&mu_);
  by_id_[job->id()] = job;
  by_key_[KeyOf(*job)] = job;
}

void ResumeRegistry::OnEnded(const std::shared_ptr<Job>& job, absl::Time now) {
  MutexLock lock(&mu_);
  if (!by_id_.contains(job->id())) return;
  if (job->abandoned()) return Erase(*job);
  const auto is_job = [&job](const Ended& ended) { return ended.job == job; };
  if (std::any_of(ended_.begin(), ended_.end(), is_job)) return;
  ended_.push_back({job, now + keep_time_});
  while (ended_.size() > max_ended_) {
    const std::shared_ptr<Job> oldest = ended_.front().job;
    Erase(*oldest);
  }
}

void ResumeRegistry::Forget(const Job& job) {
  MutexLock lock(&mu_);
  Erase(job);
}

void ResumeRegistry::Purge(absl::Time now) {
  MutexLock lock(&mu_);
  while (!ended_.empty() && ended_.front().forget_at <= now) {
    const std::shared_ptr<Job> oldest = ended_.front().job;
    Erase(*oldest);
  }
}

void ResumeRegistry::Erase(const Job& job) {
  by_id_.erase(job.id());
  // The key may have gone to a younger job.
  const auto by_key = by_key_.find(KeyOf(job));
  if (by_key != by_key_.end() && by_key->second.get() == &job) by_key_.erase(by_key);
  std::erase_if(ended_, [&job](const Ended& ended) { return ended.job.get() == &job; });
}

std::shared_ptr<Job> ResumeRegistry::FindByKey(const std::string& tenant,
                                               const std::string& key) const {
  MutexLock lock(&mu_);
  const auto found = by_key_.find({tenant, key});
  return found == by_key_.end() ? nullptr : found->second;
}

std::shared_ptr<Job> ResumeRegistry::FindById(const std::string& tenant,
                                              const std::string& job_id) const {
  MutexLock lock(&mu_);
  const auto found = by_id_.find(job_id);
  return found == by_id_.end() || found->second->tenant() != tenant ? nullptr : found->second;
}

}  // namespace reenact
