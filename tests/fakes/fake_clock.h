// Clocks that a test moves.
#pragma once

#include <algorithm>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "server/clock.h"

namespace reenact::testing {

// Stands still until the test moves it. Thread-safe. For code that only reads the time: a wait ends
// when its condition is true, or at once if its deadline has come; Advance() wakes nobody.
class FakeClock final : public Clock {
 public:
  absl::Time TimeNow() override {
    MutexLock lock(&mu_);
    return now_;
  }
  void Advance(absl::Duration duration) {
    MutexLock lock(&mu_);
    now_ += duration;
  }
  bool AwaitWithDeadline(Mutex* mu, const absl::Condition& condition,
                         absl::Time deadline) override ABSL_NO_THREAD_SAFETY_ANALYSIS {
    if (deadline <= TimeNow()) return condition.Eval();
    mu->Await(condition);
    return true;
  }

 private:
  Mutex mu_;
  absl::Time now_ ABSL_GUARDED_BY(mu_) = absl::FromUnixSeconds(1'000'000'000);
};

// Goes as the system's does until the test puts it forward: what is to happen after a time happens
// when the test wants it to, and not before, however busy the machine is. Thread-safe. For threads
// that wait: they see within milliseconds that it has been put forward.
class LeapingClock final : public Clock {
 public:
  absl::Time TimeNow() override {
    MutexLock lock(&mu_);
    return absl::Now() + ahead_;
  }
  void Advance(absl::Duration duration) {
    MutexLock lock(&mu_);
    ahead_ += duration;
  }
  bool AwaitWithDeadline(Mutex* mu, const absl::Condition& condition,
                         absl::Time deadline) override ABSL_NO_THREAD_SAFETY_ANALYSIS {
    constexpr absl::Duration kLook = absl::Milliseconds(5);
    while (true) {
      const absl::Duration left = deadline - TimeNow();
      if (left <= absl::ZeroDuration()) return condition.Eval();
      if (mu->AwaitWithTimeout(condition, std::min(left, kLook))) return true;
    }
  }

 private:
  Mutex mu_;
  absl::Duration ahead_ ABSL_GUARDED_BY(mu_);
};

}  // namespace reenact::testing
