#include "client/tool/server_access.h"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace reenact::tool {
namespace {

namespace fs = std::filesystem;

constexpr int kLogLines = 12;
constexpr absl::Duration kProbe = absl::Milliseconds(50);

// The folder of this program.
fs::path ProgramFolder() {
  std::error_code ignored;
  return fs::read_symlink("/proc/self/exe", ignored).parent_path();
}

std::string FromEnvironment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

absl::StatusOr<std::string> FindServer() {
  if (std::string path = FromEnvironment("REENACTD"); !path.empty()) {
    if (access(path.c_str(), X_OK) == 0) return path;
    return absl::InvalidArgumentError(
        absl::StrCat("REENACTD is ", path, ", and there is no such program"));
  }
  const std::string path = (ProgramFolder() / "reenactd").string();
  if (access(path.c_str(), X_OK) == 0) return path;
  return absl::InvalidArgumentError(absl::StrCat(
      "there is no server program ", path,
      "\nBuild reenactd, set REENACTD to its path, or name a running server with --server."));
}

bool IsBundle(const fs::path& folder) {
  std::error_code ignored;
  return fs::exists(folder / "bundle.json", ignored);
}

absl::StatusOr<std::string> FindBundle(const std::string& named) {
  std::string folder = named.empty() ? FromEnvironment("REENACT_BUNDLE") : named;
  if (!folder.empty()) {
    if (IsBundle(folder)) return folder;
    return absl::InvalidArgumentError(
        absl::StrCat("there is no model bundle in ", folder, ": it holds no bundle.json"));
  }
  // From build/PRESET/bin in a source tree; from bin/ where it is installed.
  for (const char* relative : {"../../../demo", "../share/reenact/demo"}) {
    const fs::path candidate = (ProgramFolder() / relative).lexically_normal();
    if (IsBundle(candidate)) return candidate.string();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("there is no model bundle in ",
                   (ProgramFolder() / "../../../demo").lexically_normal().string(),
                   "\nName one with --bundle, or a running server with --server."));
}

std::string FindFaceModels(const std::string& named) {
  if (!named.empty()) return named;
  if (!FromEnvironment("REENACT_FACE_MODELS").empty()) return "";  // the server reads it itself
  std::error_code ignored;
  for (const char* relative : {"../../../.deps/mediapipe", "../share/reenact/face-models"}) {
    const fs::path candidate = (ProgramFolder() / relative).lexically_normal();
    if (fs::is_directory(candidate, ignored)) return candidate.string();
  }
  return "";
}

absl::Status Ended(const ServerProcess& process, std::string_view when) {
  const std::string log = process.LogTail(kLogLines);
  return absl::UnavailableError(absl::StrCat("the private server ended ", std::string(when), " (",
                                             process.how_it_ended(), ")",
                                             log.empty() ? "" : "; its last lines:\n", log));
}

absl::StatusOr<std::unique_ptr<Client>> ConnectWhenReady(ServerProcess& process,
                                                         absl::Duration timeout,
                                                         Interruption& interruption) {
  ClientOptions options;
  options.connect_timeout = absl::Seconds(1);
  const absl::Time deadline = absl::Now() + timeout;
  std::unique_ptr<Client> client;
  while (absl::Now() < deadline) {
    if (interruption.WaitFor(kProbe)) return absl::CancelledError("interrupted");
    if (!process.Running()) return Ended(process, "while starting");
    if (client == nullptr) {
      auto connected = Client::Connect(process.target(), options);
      if (!connected.ok()) continue;
      client = std::move(*connected);
    }
    const auto health = client->CheckHealth(kReadyService);
    if (health.ok() && *health == Health::kServing) return client;
  }
  return absl::UnavailableError(absl::StrCat("the private server was not ready within ",
                                             absl::FormatDuration(timeout), "; its last lines:\n",
                                             process.LogTail(kLogLines)));
}

}  // namespace

absl::Status ServerAccess::Why(const absl::Status& status) const {
  if (process == nullptr || !absl::IsUnavailable(status)) return status;
  // The connection breaks a moment before the process is gone.
  if (process->EndsWithin(absl::Seconds(1))) return Ended(*process, "in the middle of the job");
  return status;
}

absl::StatusOr<ServerAccess> OpenServer(const CommonOptions& common, Interruption& interruption,
                                        Progress& progress) {
  ServerAccess access;
  if (!common.server.empty()) {
    auto client = Client::Connect(common.server, {.tenant = common.tenant});
    if (!client.ok()) return client.status();
    access.client = std::move(*client);
    return access;
  }
  const auto executable = FindServer();
  if (!executable.ok()) return executable.status();
  const auto bundle = FindBundle(common.bundle);
  if (!bundle.ok()) return bundle.status();
  ServerProcess::Options options;
  options.executable = *executable;
  options.bundle = *bundle;
  options.arguments = {"--metrics-listen", "off"};
  if (const std::string models = FindFaceModels(common.face_models); !models.empty()) {
    options.arguments.insert(options.arguments.end(), {"--face-models", models});
  }
  options.arguments.insert(options.arguments.end(), common.server_arguments.begin(),
                           common.server_arguments.end());
  progress.Say(absl::StrCat("starting a private server with ", *bundle));
  auto process = ServerProcess::Start(std::move(options));
  if (!process.ok()) return process.status();
  access.process = std::move(*process);
  // A second Ctrl-C does not wait for anything.
  interruption.OnSignal([server = access.process](int count) {
    if (count > 1) server->Kill();
  });
  auto client = ConnectWhenReady(*access.process, common.start_timeout, interruption);
  if (!client.ok()) return client.status();
  access.client = std::move(*client);
  return access;
}

}  // namespace reenact::tool
