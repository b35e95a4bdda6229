// A clock that stands still until the test moves it.
#pragma once

#include "absl/time/time.h"
#include "server/clock.h"

namespace reenact::testing {

// Thread-safe. For code that only reads the time: a wait ends when its condition is true, or at
// once if its deadline has come; Advance() wakes nobody.
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

}  // namespace reenact::testing
