// A connection to a server: the one the user named, or a private one started for this command.
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/client.h"
#include "client/tool/commands.h"
#include "client/tool/interruption.h"
#include "client/tool/progress.h"
#include "client/tool/server_process.h"

namespace reenact::tool {

struct ServerAccess {
  ServerAccess() = default;
  ServerAccess(ServerAccess&&) = default;
  // Ends the private server here, while signals are still heard: whoever shares `process` may keep
  // it on.
  ~ServerAccess() {
    if (process != nullptr) process->Stop();
  }

  // Null: the user named a server. Shared with the action that a second Ctrl-C runs.
  std::shared_ptr<ServerProcess> process;
  std::unique_ptr<Client> client;

  // `status`, or what became of the private server if that is why the connection was lost.
  absl::Status Why(const absl::Status& status) const;
};

// Connects; a private server is waited for until it is ready. Before any gRPC call of the process.
// kInvalidArgument: no reenactd or no bundle to be found. kUnavailable: not reachable, not ready in
// time, or ended while starting (with its last lines). kCancelled: interrupted.
absl::StatusOr<ServerAccess> OpenServer(const CommonOptions& common, Interruption& interruption,
                                        Progress& progress);

}  // namespace reenact::tool
