#include "server/job_pool.h"

#include <utility>

namespace reenact {

JobPool::JobPool(int num_threads, Turn turn) : turn_(std::move(turn)) {
  for (int i = 0; i < num_threads; ++i) threads_.emplace_back([this] { Run(); });
}

JobPool::~JobPool() { Stop(); }

void JobPool::Enqueue(std::shared_ptr<Job> job) {
  MutexLock lock(&mu_);
  if (!stopped_) queue_.push_back(std::move(job));
}

bool JobPool::RunTurn() {
  std::shared_ptr<Job> job;
  {
    MutexLock lock(&mu_);
    if (queue_.empty()) return false;
    job = std::move(queue_.front());
    queue_.pop_front();
  }
  turn_(job);
  return true;
}

void JobPool::Stop() {
  std::deque<std::shared_ptr<Job>> dropped;
  {
    MutexLock lock(&mu_);
    stopped_ = true;
    dropped.swap(queue_);
  }
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

void JobPool::Run() {
  while (true) {
    {
      MutexLock lock(&mu_);
      const auto has_reason = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
        return stopped_ || !queue_.empty();
      };
      mu_.Await(absl::Condition(&has_reason));
      if (stopped_) return;
    }
    RunTurn();
  }
}

}  // namespace reenact
