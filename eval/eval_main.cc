// reenact-eval: measures a bundle on synthetic people that were never trained on.
// `reenact-eval --bundle demo --quick` prints the table; --help lists the rest.
#include <torch/torch.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <csignal>
#include <exception>
#include <iostream>
#include <string>
#include <vector>

#include "eval/commands.h"
#include "pipeline/reenactor/idle_threads.h"

namespace reenact {
namespace {

enum ExitCode : int { kDone = 0, kFailed = 1, kWrongUsage = 2 };

std::atomic<bool> g_stop{false};

void RequestStop(int) { g_stop.store(true); }

int Finish(const absl::Status& status) {
  if (status.ok()) return kDone;
  std::cerr << "reenact-eval: " << status.message() << std::endl;
  return absl::IsInvalidArgument(status) || absl::IsNotFound(status) ? kWrongUsage : kFailed;
}

int Run(const EvalCommand& command) {
  const CommandContext context = {&g_stop,
                                  [](const std::string& line) { std::cerr << line << std::endl; }};
  try {
    return Finish(command.run(context));
  } catch (const std::exception& error) {
    // libtorch reports what it dislikes by exceptions.
    return Finish(absl::InternalError(error.what()));
  }
}

int Main(int argc, char** argv) {
  CLI::App app{"Measures a model bundle on synthetic people that were never trained on.",
               "reenact-eval"};
  app.footer("Exit codes: 0 done; 1 it failed; 2 wrong usage or a file that cannot be used.");
  app.require_subcommand(0, 1);
  const EvalCommand table = AddTable(app);
  const std::vector<EvalCommand> subcommands = {AddFigures(app), AddFrechet(app), AddTexts(app)};
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kDone : kWrongUsage;
  }
  std::signal(SIGINT, RequestStop);
  std::signal(SIGTERM, RequestStop);
  for (const EvalCommand& subcommand : subcommands) {
    if (subcommand.command->parsed()) return Run(subcommand);
  }
  return Run(table);
}

}  // namespace
}  // namespace reenact

int main(int argc, char** argv) {
  reenact::LetIdleThreadsSleep(argv);
  return reenact::Main(argc, argv);
}
