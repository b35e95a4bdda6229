// A sign of life that one thread gives and others read.
#pragma once

#include <atomic>
#include <cstdint>

#include "absl/time/time.h"

namespace reenact {

// Thread-safe.
class Heartbeat {
 public:
  // The first beat; before it the age is zero, as nothing is running that could be stuck.
  void Beat(absl::Time now) { last_.store(absl::ToUnixNanos(now), std::memory_order_relaxed); }

  absl::Duration Age(absl::Time now) const {
    const int64_t last = last_.load(std::memory_order_relaxed);
    return last == 0 ? absl::ZeroDuration() : now - absl::FromUnixNanos(last);
  }

 private:
  std::atomic<int64_t> last_{0};
};

}  // namespace reenact
