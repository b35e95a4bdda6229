// Turns Ctrl-C (SIGINT), SIGTERM and SIGHUP into a question that can be asked and an action that is
// run.
//
// At most one object per process, made before any other thread exists: it blocks the signals in the
// calling thread, so that every later thread inherits that and only the own thread takes them.
// Thread-safe.
#pragma once

#include <functional>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "base/mutex.h"

namespace reenact::tool {

class Interruption {
 public:
  Interruption();
  // Ends the own thread; does not block for longer than a running action.
  ~Interruption();
  Interruption(const Interruption&) = delete;
  Interruption& operator=(const Interruption&) = delete;

  // Signals received so far.
  int count() const ABSL_LOCKS_EXCLUDED(mu_);

  // Waits until a first signal has come or `timeout` is over. Returns whether one has.
  bool WaitFor(absl::Duration timeout) const ABSL_LOCKS_EXCLUDED(mu_);

  // `action(n)` runs on the own thread at the n-th signal (n = 1, 2, ...); here and now for a
  // signal that came before. It replaces the former action and must own whatever it touches,
  // because it may run once more while it is being replaced.
  void OnSignal(const std::function<void(int)>& action) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  void Listen();

  mutable Mutex mu_;
  int count_ ABSL_GUARDED_BY(mu_) = 0;
  std::function<void(int)> action_ ABSL_GUARDED_BY(mu_);

  // Constant after construction. Writing to it ends the thread.
  int stop_fd_ = -1;
  int signal_fd_ = -1;

  std::thread thread_;
};

// For a child between fork and exec: takes back what Interruption blocked. Async-signal-safe.
void UnblockSignals();

}  // namespace reenact::tool
