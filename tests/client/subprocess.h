// Runs a program in a test: what it prints, how it ends, and signals to it in between.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"

extern char** environ;

namespace reenact::testing {

// A folder that lives as long as the object.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = "/tmp/reenact-test-XXXXXX";
    path_ = mkdtemp(pattern.data());
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::string& path() const { return path_; }
  std::string File(const std::string& name) const { return path_ + "/" + name; }

  // Names of what lies in it, hidden files too.
  std::vector<std::string> List() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(path_)) {
      names.push_back(entry.path().filename().string());
    }
    return names;
  }

 private:
  std::string path_;
};

// A child process whose standard output and error are collected. Killed when the object goes.
class Subprocess {
 public:
  // The environment is ours with `environment` on top; an empty value removes the variable.
  Subprocess(std::vector<std::string> command,
             const std::map<std::string, std::string>& environment = {}) {
    std::vector<std::string> variables;
    for (char** entry = environ; *entry != nullptr; ++entry) {
      const std::string text = *entry;
      if (environment.count(text.substr(0, text.find('='))) == 0) variables.push_back(text);
    }
    for (const auto& [name, value] : environment) {
      if (!value.empty()) variables.push_back(name + "=" + value);
    }
    std::vector<char*> argv, envp;
    for (std::string& argument : command) argv.push_back(argument.data());
    for (std::string& variable : variables) envp.push_back(variable.data());
    argv.push_back(nullptr);
    envp.push_back(nullptr);
    std::array<int, 2> out, err;
    if (pipe2(out.data(), O_CLOEXEC) != 0 || pipe2(err.data(), O_CLOEXEC) != 0) return;
    pid_ = fork();
    if (pid_ == 0) {
      dup2(out[1], STDOUT_FILENO);
      dup2(err[1], STDERR_FILENO);
      execvpe(argv[0], argv.data(), envp.data());
      _exit(127);
    }
    close(out[1]);
    close(err[1]);
    fds_ = {out[0], err[0]};
  }
  ~Subprocess() {
    if (pid_ > 0 && !ended_) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
    for (const int fd : fds_) {
      if (fd >= 0) close(fd);
    }
  }
  Subprocess(const Subprocess&) = delete;
  Subprocess& operator=(const Subprocess&) = delete;

  pid_t pid() const { return pid_; }
  void Signal(int number) const { kill(pid_, number); }

  // Reads until `enough(out(), err())`, the end of both, or the timeout. Returns whether it was
  // enough.
  bool ReadUntil(const std::function<bool()>& enough, absl::Duration timeout = absl::Seconds(60)) {
    const absl::Time deadline = absl::Now() + timeout;
    while (!enough()) {
      std::array<pollfd, 2> waiting = {pollfd{fds_[0], POLLIN, 0}, pollfd{fds_[1], POLLIN, 0}};
      if (fds_[0] < 0 && fds_[1] < 0) return false;
      const absl::Duration left = deadline - absl::Now();
      if (left <= absl::ZeroDuration()) return false;
      if (poll(waiting.data(), 2, static_cast<int>(absl::ToInt64Milliseconds(left)) + 1) <= 0) {
        continue;
      }
      for (size_t i = 0; i < 2; ++i) {
        if (fds_[i] < 0 || waiting[i].revents == 0) continue;
        std::array<char, 65536> bytes;
        const ssize_t size = read(fds_[i], bytes.data(), bytes.size());
        if (size > 0) {
          text_[i].append(bytes.data(), static_cast<size_t>(size));
        } else if (size == 0 || errno != EINTR) {
          close(fds_[i]);
          fds_[i] = -1;
        }
      }
    }
    return true;
  }

  // Reads everything and waits for the end. The exit code; 128 + number for a signal; -1: it did
  // not end in time.
  int Wait(absl::Duration timeout = absl::Seconds(120)) {
    ReadUntil([] { return false; }, timeout);
    if (fds_[0] >= 0 || fds_[1] >= 0) return -1;
    int status = 0;
    while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    ended_ = true;
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  }

  const std::string& out() const { return text_[0]; }
  const std::string& err() const { return text_[1]; }

 private:
  pid_t pid_ = -1;
  bool ended_ = false;
  std::array<int, 2> fds_ = {-1, -1};
  std::array<std::string, 2> text_;
};

}  // namespace reenact::testing
