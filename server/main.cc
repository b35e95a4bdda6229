// reenactd: serves video face reenactment over gRPC.
//
//   reenactd --bundle DIR [--listen host:port | unix:PATH]... [--config FILE]
//
// SIGTERM or SIGINT: no new jobs, the running ones finish (--drain-timeout), then exit with status
// 0. A second one: exit at once with status 1. Status 1 as well if it cannot start, status 2 for a
// wrong flag or setting.
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>

#include "pipeline/reenactor/reenactor.h"
#include "server/config.h"
#include "server/log.h"
#include "server/server.h"

namespace {

// What the server raises in the main thread when it has stopped.
constexpr int kStopped = SIGUSR1;

int Serve(const reenact::ServerConfig& config, const sigset_t& signals) {
  const auto load_engine = [&config] {
    reenact::ReenactorOptions options;
    options.bundles = config.bundles;
    options.face_models = config.face_models;
    options.num_threads = config.compute_threads;
    options.max_active_rows = config.max_rows_per_pass;
    options.max_driving_bytes = config.max_driving_bytes;
    options.max_frames = config.max_frames;
    return reenact::CreateReenactor(options);
  };
  const pthread_t main_thread = pthread_self();
  auto server = reenact::Server::Start(config, load_engine,
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
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const auto command_line =
      reenact::ParseServerConfig(std::vector<std::string>(argv + 1, argv + argc));
  if (!command_line.ok()) {
    std::cerr << "reenactd: " << command_line.status().message() << "\n"
              << "Run reenactd --help for the list of flags.\n";
    return 2;
  }
  if (!command_line->text_to_print.empty()) {
    std::cout << command_line->text_to_print;
    return 0;
  }
  if (const absl::Status status = reenact::SetLogLevel(command_line->config.log_level);
      !status.ok()) {
    std::cerr << "reenactd: " << status.message() << "\n";
    return 2;
  }
  // Before any thread exists, so that all of them leave these signals to sigwait().
  sigset_t signals;
  sigemptyset(&signals);
  for (int number : {SIGTERM, SIGINT, kStopped}) sigaddset(&signals, number);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  return Serve(command_line->config, signals);
}
