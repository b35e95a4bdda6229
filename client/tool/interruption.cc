#include "client/tool/interruption.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <utility>

namespace reenact::tool {
namespace {

sigset_t Signals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&signals, number);
  return signals;
}

}  // namespace

void UnblockSignals() {
  const sigset_t signals = Signals();
  pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);
}

Interruption::Interruption() {
  const sigset_t signals = Signals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal_fd_ = signalfd(-1, &signals, SFD_CLOEXEC);
  stop_fd_ = eventfd(0, EFD_CLOEXEC);
  thread_ = std::thread([this] { Listen(); });
}

Interruption::~Interruption() {
  const uint64_t one = 1;
  while (write(stop_fd_, &one, sizeof(one)) < 0 && errno == EINTR) {
  }
  thread_.join();
  close(signal_fd_);
  close(stop_fd_);
}

int Interruption::count() const {
  MutexLock lock(&mu_);
  return count_;
}

bool Interruption::WaitFor(absl::Duration timeout) const {
  MutexLock lock(&mu_);
  const auto signalled = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) { return count_ > 0; };
  return mu_.AwaitWithTimeout(absl::Condition(&signalled), timeout);
}

void Interruption::OnSignal(const std::function<void(int)>& action) {
  int count = 0;
  {
    MutexLock lock(&mu_);
    action_ = action;
    count = count_;
  }
  if (count > 0 && action) action(count);
}

void Interruption::Listen() {
  std::array<pollfd, 2> waiting = {pollfd{signal_fd_, POLLIN, 0}, pollfd{stop_fd_, POLLIN, 0}};
  while (true) {
    if (poll(waiting.data(), waiting.size(), -1) < 0) {
      if (errno == EINTR) continue;
      return;
    }
    if (waiting[1].revents != 0) return;
    signalfd_siginfo info;
    if (read(signal_fd_, &info, sizeof(info)) != static_cast<ssize_t>(sizeof(info))) continue;
    std::function<void(int)> action;
    int count = 0;
    {
      MutexLock lock(&mu_);
      count = ++count_;
      action = action_;
    }
    if (action) action(count);
  }
}

}  // namespace reenact::tool
