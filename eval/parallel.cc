#include "eval/parallel.h"

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace reenact {
namespace {

class FirstError {
 public:
  void Set(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mu_) {
    const absl::MutexLock lock(&mu_);
    status_.Update(status);
  }
  absl::Status Get() const ABSL_LOCKS_EXCLUDED(mu_) {
    const absl::MutexLock lock(&mu_);
    return status_;
  }

 private:
  mutable absl::Mutex mu_;
  absl::Status status_ ABSL_GUARDED_BY(mu_);
};

}  // namespace

absl::Status ParallelFor(int threads, int count,
                         const std::function<absl::Status(int worker, int i)>& body) {
  std::atomic<int> next{0};
  std::atomic<bool> failed{false};
  FirstError error;
  const auto work = [&](int worker) {
    for (int i = next++; i < count && !failed; i = next++) {
      const absl::Status status = body(worker, i);
      if (status.ok()) continue;
      error.Set(status);
      failed = true;
    }
  };
  std::vector<std::thread> others;
  for (int worker = 1; worker < std::min(threads, count); ++worker) {
    others.emplace_back(work, worker);
  }
  work(0);
  for (std::thread& other : others) other.join();
  return error.Get();
}

}  // namespace reenact
