#include "server/process.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <iostream>
#include <utility>

namespace reenact {
namespace {

// What the server raises in the main thread when it has stopped.
constexpr int kStopped = SIGUSR1;

}  // namespace

int RunServerProcess(const ServerConfig& config, Server::LoadEngine load_engine) {
  // All threads leave these signals to sigwait().
  sigset_t signals;
  sigemptyset(&signals);
  for (int number : {SIGTERM, SIGINT, kStopped}) sigaddset(&signals, number);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);

  const pthread_t main_thread = pthread_self();
  auto server = Server::Start(config, std::move(load_engine),
                              [main_thread] { pthread_kill(main_thread, kStopped); });
  if (!server.ok()) {
    std::cerr << "reenactd: " << server.status().message() << "\n";
    return 1;
  }
  bool draining = false;
  while (true) {
    int received = 0;
    sigwait(&signals, &received);
    if (received == kStopped) break;
    // The jobs' threads may be anywhere: no destructors.
    if (draining) _exit(1);
    draining = true;
    (*server)->Drain();
  }
  if (const absl::Status status = (*server)->Wait(); !status.ok()) {
    std::cerr << "reenactd: cannot load the model: " << status.message() << "\n";
    return 1;
  }
  // Nothing stops the reading of a model, and nobody waits for it any more: no destructors.
  if ((*server)->loading()) _exit(0);
  return 0;
}

}  // namespace reenact
