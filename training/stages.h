// The sub-commands of reenact-train. Each adds its options to the command line and says what runs.
#pragma once

#include <CLI/CLI.hpp>
#include <atomic>
#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "training/processes.h"

namespace reenact {

struct StageContext {
  int threads = 1;
  const std::atomic<bool>* stop = nullptr;  // turns true on SIGINT and SIGTERM
  Processes* processes = nullptr;           // of a data-parallel training; null: this one alone
  torch::Device device = torch::kCPU;       // of networks that are trained or that encode
};

struct Subcommand {
  CLI::App* command;
  std::function<absl::Status(const StageContext&)> run;
};

void AddPeopleStage(CLI::App& app, std::vector<Subcommand>& stages);
void AddDemoStage(CLI::App& app, std::vector<Subcommand>& stages);
void AddDataStage(CLI::App& app, std::vector<Subcommand>& stages);
void AddAutoencoderStage(CLI::App& app, std::vector<Subcommand>& stages);
void AddClipStage(CLI::App& app, std::vector<Subcommand>& stages);
void AddEncodeStage(CLI::App& app, std::vector<Subcommand>& stages);
void AddSditStage(CLI::App& app, std::vector<Subcommand>& stages);
void AddBundleStage(CLI::App& app, std::vector<Subcommand>& stages);
void AddSampleStage(CLI::App& app, std::vector<Subcommand>& stages);
void AddCurateStage(CLI::App& app, std::vector<Subcommand>& stages);
void AddAllStages(CLI::App& app, std::vector<Subcommand>& stages);

}  // namespace reenact
