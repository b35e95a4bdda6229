// Time as the server sees it, so that tests can own it.
#pragma once

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "base/mutex.h"

namespace reenact {

// Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;

  virtual absl::Time TimeNow() = 0;

  // With `mu` held: waits until `condition` is true or `deadline` has come. Returns the condition.
  virtual bool AwaitWithDeadline(Mutex* mu, const absl::Condition& condition,
                                 absl::Time deadline) = 0;

  // The system's clock.
  static Clock& Real();
};

}  // namespace reenact
