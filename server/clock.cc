#include "server/clock.h"

#include "absl/time/clock.h"

namespace reenact {
namespace {

class SystemClock final : public Clock {
 public:
  absl::Time TimeNow() override { return absl::Now(); }

  bool AwaitWithDeadline(Mutex* mu, const absl::Condition& condition,
                         absl::Time deadline) override ABSL_NO_THREAD_SAFETY_ANALYSIS {
    return mu->AwaitWithDeadline(condition, deadline);
  }
};

}  // namespace

Clock& Clock::Real() {
  static SystemClock* const clock = new SystemClock;
  return *clock;
}

}  // namespace reenact
