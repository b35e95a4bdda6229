// The sub-commands of reenact-bench. Each adds its options to the command line and says what runs.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "tests/bench/report.h"

namespace reenact::bench {

struct Subcommand {
  CLI::App* command;
  // kInvalidArgument and kNotFound: wrong usage, the message names the flag; others: it failed.
  std::function<absl::Status(Report&)> run;
};

void AddServe(CLI::App& app, std::vector<Subcommand>& subcommands);
void AddLive(CLI::App& app, std::vector<Subcommand>& subcommands);
void AddLandmarks(CLI::App& app, std::vector<Subcommand>& subcommands);
void AddFootage(CLI::App& app, std::vector<Subcommand>& subcommands);
void AddCodec(CLI::App& app, std::vector<Subcommand>& subcommands);
void AddOutput(CLI::App& app, std::vector<Subcommand>& subcommands);
void AddTable(CLI::App& app, std::vector<Subcommand>& subcommands);

// These need libtorch.
void AddEngine(CLI::App& app, std::vector<Subcommand>& subcommands);
void AddGemm(CLI::App& app, std::vector<Subcommand>& subcommands);
void AddDecode(CLI::App& app, std::vector<Subcommand>& subcommands);
void AddLoad(CLI::App& app, std::vector<Subcommand>& subcommands);

}  // namespace reenact::bench
