// Notifications between a test and the threads it watches: no sleeping, and visible to
// ThreadSanitizer (absl::Notification from a system's abseil is not, see base/mutex.h).
#pragma once

#include "absl/time/time.h"
#include "base/mutex.h"

namespace reenact::testing {

// Longer than anything a test waits for; passing it is a failure, not a way to wait.
inline constexpr absl::Duration kTestTimeout = absl::Seconds(60);

// A door that is open or shut. Thread-safe.
class Gate {
 public:
  explicit Gate(bool open = false) : open_(open) {}

  void Open() {
    MutexLock lock(&mu_);
    open_ = true;
  }
  void Shut() {
    MutexLock lock(&mu_);
    open_ = false;
  }
  // Waits until it is open. False: it never was.
  bool Await() {
    MutexLock lock(&mu_);
    ++num_waiting_;
    const auto open = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return open_; };
    const bool opened = mu_.AwaitWithTimeout(absl::Condition(&open), kTestTimeout);
    --num_waiting_;
    return opened;
  }
  // Waits until `num` threads stand before it.
  bool AwaitWaiting(int num) {
    MutexLock lock(&mu_);
    const auto enough = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return num_waiting_ >= num; };
    return mu_.AwaitWithTimeout(absl::Condition(&enough), kTestTimeout);
  }

 private:
  Mutex mu_;
  bool open_ ABSL_GUARDED_BY(mu_);
  int num_waiting_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace reenact::testing
