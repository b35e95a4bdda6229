// How many bytes of anchor traces all jobs of an engine may retain together.
//
// Thread-safe. A reservation must not outlive its budget.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace reenact {

class TraceBudget {
 public:
  // Gives its bytes back when it dies.
  class Reservation {
   public:
    Reservation() = default;
    Reservation(Reservation&& other) noexcept
        : budget_(std::exchange(other.budget_, nullptr)), bytes_(other.bytes_) {}
    Reservation& operator=(Reservation&& other) noexcept {
      std::swap(budget_, other.budget_);
      std::swap(bytes_, other.bytes_);
      return *this;
    }
    ~Reservation() {
      if (budget_ != nullptr) budget_->GiveBack(bytes_);
    }

   private:
    friend class TraceBudget;
    Reservation(TraceBudget* budget, int64_t bytes) : budget_(budget), bytes_(bytes) {}

    TraceBudget* budget_ = nullptr;
    int64_t bytes_ = 0;
  };

  explicit TraceBudget(int64_t limit) : limit_(limit), available_(limit) {}

  int64_t limit() const { return limit_; }
  int64_t available() const ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    return available_;
  }

  // None: there is not so much left.
  std::optional<Reservation> Reserve(int64_t bytes) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    if (bytes > available_) return std::nullopt;
    available_ -= bytes;
    return Reservation(this, bytes);
  }

 private:
  void GiveBack(int64_t bytes) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    available_ += bytes;
  }

  const int64_t limit_;
  mutable absl::Mutex mu_;
  int64_t available_ ABSL_GUARDED_BY(mu_);
};

}  // namespace reenact
