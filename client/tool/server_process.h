// A private reenactd: started for one command on a Unix socket in a temporary folder, ended with
// it.
//
// The server lives in a process group of its own, so Ctrl-C at the terminal reaches this program
// only, and it is killed by the kernel should this program die without ending it.
//
// Thread-compatible, except for Kill(). Start() must be called on the main thread: the kernel ties
// the server's life to the thread that started it.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/mutex.h"

namespace reenact::tool {

class ServerProcess {
 public:
  struct Options {
    // Path of reenactd.
    std::string executable;
    // Folder of the model bundle.
    std::string bundle;
    // More arguments for reenactd.
    std::vector<std::string> arguments;
    // How long the server gets to end by itself after SIGTERM, before SIGKILL.
    absl::Duration stop_timeout = absl::Seconds(5);
  };

  // Starts the server and returns at once; it is not ready yet. kNotFound: no such executable.
  static absl::StatusOr<std::unique_ptr<ServerProcess>> Start(Options options);

  // Ends the server as Stop() does and removes the temporary folder.
  ~ServerProcess();
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

  // What Client::Connect takes: "unix:" and the socket's path.
  const std::string& target() const { return target_; }
  pid_t pid() const { return pid_; }

  // Whether the process is still there.
  bool Running() { return !EndsWithin(absl::ZeroDuration()); }

  // Waits for the end of the process, for `timeout` at most. Returns whether it has ended.
  bool EndsWithin(absl::Duration timeout) ABSL_LOCKS_EXCLUDED(mu_);

  // How it ended, such as "exit code 1" or "signal 9 (Killed)"; empty while it runs.
  const std::string& how_it_ended() const { return how_it_ended_; }

  // The last `num_lines` lines the server logged.
  std::string LogTail(int num_lines) const;

  // SIGTERM, then SIGKILL after Options::stop_timeout. Blocks for that long at most. Idempotent.
  void Stop();

  // SIGKILL, now. Thread-safe.
  void Kill() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  ServerProcess(Options options, std::string folder);

  absl::Status Spawn();

  const Options options_;
  const std::string folder_;
  const std::string target_;
  const std::string log_path_;

  std::string how_it_ended_;
  // -1 before the start; constant afterwards.
  pid_t pid_ = -1;
  Mutex mu_;
  // Once true, `pid_` may be the number of another process.
  bool reaped_ ABSL_GUARDED_BY(mu_) = false;
  // Read end of a pipe whose write end only the server holds: it hangs up when the server has
  // ended.
  int lifeline_ = -1;
};

}  // namespace reenact::tool
