// Memory that the CPU kernels' callers reuse from call to call: one T for each caller of the
// moment. Thread-safe.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace reenact {

template <typename T>
class ScratchPool {
 public:
  // Has the contents of an earlier use, if any.
  std::unique_ptr<T> Take() ABSL_LOCKS_EXCLUDED(mu_) {
    const absl::MutexLock lock(&mu_);
    if (free_.empty()) return std::make_unique<T>();
    auto taken = std::move(free_.back());
    free_.pop_back();
    return taken;
  }
  void Give(std::unique_ptr<T> taken) ABSL_LOCKS_EXCLUDED(mu_) {
    const absl::MutexLock lock(&mu_);
    free_.push_back(std::move(taken));
  }

 private:
  absl::Mutex mu_;
  std::vector<std::unique_ptr<T>> free_ ABSL_GUARDED_BY(mu_);
};

}  // namespace reenact
