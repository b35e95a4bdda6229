// The sub-commands of reenact-train. Each adds its options to the command line and says what runs.
#pragma once

#include <CLI/CLI.hpp>
#include <atomic>
#include <functional>
#include <vector>

#include "absl/status/status.h"

namespace reenact {

struct StageContext {
  int threads = 1;
  const std::atomic<bool>* stop = nullptr;  // turns true on SIGINT and SIGTERM
};

struct Stage {
  CLI::App* command;
  std::function<absl::Status(const StageContext&)> run;
};

void AddPeopleStage(CLI::App& app, std::vector<Stage>& stages);
void AddDataStage(CLI::App& app, std::vector<Stage>& stages);
void AddAutoencoderStage(CLI::App& app, std::vector<Stage>& stages);
void AddClipStage(CLI::App& app, std::vector<Stage>& stages);
void AddSditStage(CLI::App& app, std::vector<Stage>& stages);
void AddBundleStage(CLI::App& app, std::vector<Stage>& stages);
void AddSampleStage(CLI::App& app, std::vector<Stage>& stages);

}  // namespace reenact
