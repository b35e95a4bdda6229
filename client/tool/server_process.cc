#include "client/tool/server_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "client/tool/interruption.h"

namespace reenact::tool {
namespace {

// sockaddr_un holds 108 bytes with the final zero.
constexpr size_t kMaxSocketPath = 107;
constexpr char kSocketName[] = "/reenactd.sock";

absl::StatusOr<std::string> MakeFolder() {
  const char* base = getenv("TMPDIR");
  std::vector<std::string> bases;
  if (base != nullptr && *base != '\0') bases.emplace_back(base);
  bases.emplace_back("/tmp");
  int error = 0;
  for (const std::string& candidate : bases) {
    std::string folder = candidate + "/reenact-XXXXXX";
    if (folder.size() + sizeof(kSocketName) > kMaxSocketPath) continue;
    if (mkdtemp(folder.data()) != nullptr) return folder;  // mode 0700: the socket is private
    error = errno;
  }
  return absl::ErrnoToStatus(error, "cannot make a temporary folder for the server's socket");
}

}  // namespace

absl::StatusOr<std::unique_ptr<ServerProcess>> ServerProcess::Start(Options options) {
  if (access(options.executable.c_str(), X_OK) != 0) {
    return absl::NotFoundError(absl::StrCat("there is no program ", options.executable));
  }
  auto folder = MakeFolder();
  if (!folder.ok()) return folder.status();
  std::unique_ptr<ServerProcess> server(new ServerProcess(std::move(options), *folder));
  if (absl::Status spawned = server->Spawn(); !spawned.ok()) return spawned;
  return server;
}

ServerProcess::ServerProcess(Options options, std::string folder)
    : options_(std::move(options)),
      folder_(std::move(folder)),
      target_(absl::StrCat("unix:", folder_, kSocketName)),
      log_path_(folder_ + "/reenactd.log") {}

ServerProcess::~ServerProcess() {
  Stop();
  if (lifeline_ >= 0) close(lifeline_);
  std::error_code ignored;  // a left-over temporary folder is no reason to fail a finished job
  std::filesystem::remove_all(folder_, ignored);
}

absl::Status ServerProcess::Spawn() {
  std::vector<std::string> arguments = {options_.executable, "--listen", target_, "--bundle",
                                        options_.bundle};
  arguments.insert(arguments.end(), options_.arguments.begin(), options_.arguments.end());
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);

  std::array<int, 2> pipe_ends = {-1, -1};
  if (pipe2(pipe_ends.data(), O_CLOEXEC) != 0) {
    return absl::ErrnoToStatus(errno, "cannot make a pipe");
  }
  const int log = open(log_path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  const int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid == 0) {
    // Only async-signal-safe calls up to exec.
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(127);  // the parent died before the line above
    UnblockSignals();
    signal(SIGPIPE, SIG_DFL);
    dup2(nothing, STDIN_FILENO);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    fcntl(pipe_ends[1], F_SETFD, 0);
    execv(argv[0], argv.data());
    _exit(127);
  }
  const int fork_error = errno;
  close(pipe_ends[1]);
  if (log >= 0) close(log);
  if (nothing >= 0) close(nothing);
  if (pid < 0) {
    close(pipe_ends[0]);
    return absl::ErrnoToStatus(fork_error, "cannot start the server");
  }
  pid_ = pid;
  lifeline_ = pipe_ends[0];
  return absl::OkStatus();
}

bool ServerProcess::EndsWithin(absl::Duration timeout) {
  {
    MutexLock lock(&mu_);
    if (reaped_) return true;
  }
  const absl::Time deadline = absl::Now() + timeout;
  pollfd waiting = {lifeline_, POLLIN, 0};
  while (true) {
    const absl::Duration left = std::max(deadline - absl::Now(), absl::ZeroDuration());
    const bool forever = timeout == absl::InfiniteDuration();
    const int ready =
        poll(&waiting, 1, forever ? -1 : static_cast<int>(absl::ToInt64Milliseconds(left)));
    if (ready > 0) break;
    if (ready == 0) return false;
    if (errno != EINTR) return false;
  }
  // Its end of the pipe is closed: the process is over, or a moment from it.
  siginfo_t info = {};
  while (waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOWAIT) != 0 && errno == EINTR) {
  }
  int status = 0;
  {
    MutexLock lock(&mu_);
    reaped_ = true;
    while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {  // does not block: it has ended
    }
  }
  if (WIFSIGNALED(status)) {
    const int number = WTERMSIG(status);
    how_it_ended_ = absl::StrCat("signal ", number, " (", strsignal(number), ")");
  } else {
    how_it_ended_ = absl::StrCat("exit code ", WEXITSTATUS(status));
  }
  return true;
}

std::string ServerProcess::LogTail(int num_lines) const {
  std::ifstream in(log_path_, std::ios::binary | std::ios::ate);
  if (!in) return "";
  constexpr std::streamoff kMaxBytes = 16384;
  const std::streamoff size = in.tellg();
  in.seekg(std::max<std::streamoff>(0, size - kMaxBytes));
  std::ostringstream content;
  content << in.rdbuf();
  std::vector<std::string> lines = absl::StrSplit(content.str(), '\n', absl::SkipWhitespace());
  const size_t keep = std::min(lines.size(), static_cast<size_t>(num_lines));
  return absl::StrJoin(lines.end() - static_cast<std::ptrdiff_t>(keep), lines.end(), "\n");
}

void ServerProcess::Stop() {
  if (pid_ <= 0 || EndsWithin(absl::ZeroDuration())) return;
  kill(pid_, SIGTERM);
  if (EndsWithin(options_.stop_timeout)) return;
  kill(pid_, SIGKILL);
  EndsWithin(absl::InfiniteDuration());
}

void ServerProcess::Kill() {
  MutexLock lock(&mu_);
  if (pid_ > 0 && !reaped_) kill(pid_, SIGKILL);
}

}  // namespace reenact::tool
