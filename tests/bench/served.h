// What the sub-commands that measure a server share: which server, what is sent, what it costs.
#pragma once

#include <sys/types.h>

#include <CLI/CLI.hpp>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/tool/interruption.h"
#include "client/tool/server_access.h"
#include "reenact/v1/reenact.pb.h"
#include "tests/bench/report.h"

namespace reenact::bench {

struct ServerFlags {
  std::string server, bundle, face_models, server_flags;
  std::string source, driving;

  void AddTo(CLI::App& command);
  // kInvalidArgument: flags that exclude each other.
  absl::Status Check() const;
};

// Connects to the server that the flags name, or starts a private one.
absl::StatusOr<tool::ServerAccess> OpenServer(const ServerFlags& flags,
                                              tool::Interruption& interruption);

// The bytes of the portrait and of the driving video that the flags name, else of the demo's.
absl::StatusOr<std::string> ReadSource(const ServerFlags& flags);
absl::StatusOr<std::string> ReadDriving(const ServerFlags& flags);

// As the flags --format and --sampler say; the words have been checked.
v1::OutputFormat FormatOf(const std::string& name);
v1::Sampler SamplerOf(const std::string& name);

// Processor time and memory of a private server over one load.
class ServerCost {
 public:
  explicit ServerCost(const tool::ServerAccess& access);

  void AddTo(Json& json, double seconds) const;

 private:
  std::optional<double> Cpu() const;

  const pid_t pid_;
  const std::optional<double> start_;
};

}  // namespace reenact::bench
