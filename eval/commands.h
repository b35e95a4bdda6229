// What reenact-eval does: the table, and its sub-commands.
#pragma once

#include <CLI/CLI.hpp>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "eval/evaluation.h"
#include "eval/journal.h"
#include "eval/networks.h"
#include "pipeline/engine.h"

namespace reenact {

// What the table and the figures have in common.
struct EvalFlags {
  std::string bundle, face_models, out;
  std::string methods, plan = "central-random", sampler, variety = "plain";
  int clips = 0, frames = 0;  // 0: the command's default
  int num_steps = 0;          // 0: the bundle's default
  double guidance = 0;        // 0: the bundle's default
  double fps = 25;
  double smoothing = 1;
  uint64_t seed = 1, first_seed = 10'000'000;
  int jobs = 4, threads = 2;
  std::string device = "cpu";
  bool quick = false;
};

// Adds the options of `flags`, which must live as long as the parsing. The two texts are the
// defaults, for the help.
void AddEvalOptions(CLI::App& app, EvalFlags& flags, const std::string& clips,
                    const std::string& frames);

// The engine and the networks that measure it, the jobs' common part, and how people are drawn
// (their number and their clips' length are the command's).
struct Laboratory {
  std::unique_ptr<EvalNetworks> networks;
  std::unique_ptr<Engine> engine;
  JobRequest request;
  HeldOutOptions held_out;
};
// Makes the folder of --out too, where it says so. kInvalidArgument names the flag, its value and
// its range; other errors as of MakeFolder().
absl::StatusOr<Laboratory> OpenLaboratory(const EvalFlags& flags);

// The journal of a command in the folder of --out, where it says so; else one that keeps nothing.
// `settings`: what of the command's own its records depend on. Errors of Journal::Open.
absl::StatusOr<Journal> OpenJournal(const Laboratory& laboratory, const EvalFlags& flags,
                                    const std::string& name, const Journal::Settings& settings);

// The numbers all results begin with: bundle, steps, seeds.
std::string Describe(const Laboratory& laboratory, const EvalFlags& flags);

struct CommandContext {
  const std::atomic<bool>* stop = nullptr;
  ReportProgress report;
};

struct EvalCommand {
  CLI::App* command;  // the sub-command; the program itself for the table
  std::function<absl::Status(const CommandContext&)> run;
};

// The program's own options: the table.
EvalCommand AddTable(CLI::App& app);
EvalCommand AddFigures(CLI::App& app);
EvalCommand AddFrechet(CLI::App& app);
EvalCommand AddTexts(CLI::App& app);

}  // namespace reenact
