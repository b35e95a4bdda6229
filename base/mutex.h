// absl::Mutex, made visible to ThreadSanitizer.
//
// A distribution's abseil is not built with -fsanitize=thread, so the sanitizer cannot see the
// happens-before that absl::Mutex makes and would call every guarded field a race. In such builds,
// and only there, Mutex wraps absl::Mutex in the sanitizer's own annotations.
#pragma once

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

#if defined(__SANITIZE_THREAD__)
#define REENACT_THREAD_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define REENACT_THREAD_SANITIZER 1
#endif
#endif

#ifndef REENACT_THREAD_SANITIZER

namespace reenact {

using Mutex = absl::Mutex;
using MutexLock = absl::MutexLock;

// A thread is done with `object` and gives it to another one through a library whose locks the
// sanitizer cannot see; that one takes it over.
inline void NoteHandOver(void* /*object*/) {}
inline void NoteTakeOver(void* /*object*/) {}

}  // namespace reenact

#else

#include <sanitizer/tsan_interface.h>

namespace reenact {

inline void NoteHandOver(void* object) { __tsan_release(object); }
inline void NoteTakeOver(void* object) { __tsan_acquire(object); }

// The part of absl::Mutex that this project uses.
class ABSL_LOCKABLE Mutex {
 public:
  Mutex() { __tsan_mutex_create(this, __tsan_mutex_not_static); }
  ~Mutex() { __tsan_mutex_destroy(this, __tsan_mutex_not_static); }
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  void Lock() ABSL_EXCLUSIVE_LOCK_FUNCTION() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    __tsan_mutex_pre_lock(this, 0);
    mu_.Lock();
    __tsan_mutex_post_lock(this, 0, 0);
  }
  void Unlock() ABSL_UNLOCK_FUNCTION() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    __tsan_mutex_pre_unlock(this, 0);
    mu_.Unlock();
    __tsan_mutex_post_unlock(this, 0);
  }
  void Await(const absl::Condition& condition) ABSL_EXCLUSIVE_LOCKS_REQUIRED(this) {
    AwaitWithDeadline(condition, absl::InfiniteFuture());
  }
  bool AwaitWithTimeout(const absl::Condition& condition, absl::Duration timeout)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(this) {
    return AwaitWithDeadline(condition, absl::Now() + timeout);
  }
  bool AwaitWithDeadline(const absl::Condition& condition, absl::Time deadline)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(this) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    // absl evaluates conditions in whichever thread holds the lock, so what they read is guarded.
    __tsan_mutex_pre_unlock(this, 0);
    __tsan_mutex_post_unlock(this, 0);
    __tsan_mutex_pre_lock(this, 0);
    const bool met = mu_.AwaitWithDeadline(condition, deadline);
    __tsan_mutex_post_lock(this, 0, 0);
    return met;
  }

 private:
  absl::Mutex mu_;
};

class ABSL_SCOPED_LOCKABLE MutexLock {
 public:
  explicit MutexLock(Mutex* mu) ABSL_EXCLUSIVE_LOCK_FUNCTION(mu) : mu_(*mu) { mu_.Lock(); }
  ~MutexLock() ABSL_UNLOCK_FUNCTION() { mu_.Unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mu_;
};

}  // namespace reenact

#endif  // REENACT_THREAD_SANITIZER
