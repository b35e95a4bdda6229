// Threads that take turns at jobs, first come first served.
//
// The queue needs no bound of its own: a job is in it at most once (Job::RequestPreparation,
// Job::RequestRender) and the number of jobs is bounded by admission.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"
#include "server/job.h"

namespace reenact {

// Thread-safe.
class JobPool {
 public:
  using Turn = std::function<void(const std::shared_ptr<Job>&)>;

  // Starts `num_threads` threads that call `turn`. 0: the caller does it by RunTurn().
  JobPool(int num_threads, Turn turn);
  // Stop().
  ~JobPool();

  // Never blocks. After Stop() it does nothing.
  void Enqueue(std::shared_ptr<Job> job) ABSL_LOCKS_EXCLUDED(mu_);

  // Takes one turn on the calling thread. False: there was none to take.
  bool RunTurn() ABSL_LOCKS_EXCLUDED(mu_);

  // Waits for the turns that are running and drops the rest. Not from a turn.
  void Stop() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  void Run() ABSL_LOCKS_EXCLUDED(mu_);

  const Turn turn_;

  Mutex mu_;
  std::deque<std::shared_ptr<Job>> queue_ ABSL_GUARDED_BY(mu_);
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;

  std::vector<std::thread> threads_;  // last: the threads use what is above
};

}  // namespace reenact
