// reenact-bench: measures the engine, the service and their parts. One JSON object a line with
// --json, a table for people without. `reenact-bench COMMAND --help` lists the options.
#include <CLI/CLI.hpp>
#include <csignal>
#include <exception>
#include <iostream>
#include <vector>

#include "tests/bench/report.h"
#include "tests/bench/subcommand.h"

namespace reenact::bench {
namespace {

enum ExitCode : int { kDone = 0, kFailed = 1, kWrongUsage = 2 };

int Finish(const absl::Status& status) {
  if (status.ok()) return kDone;
  std::cerr << "reenact-bench: " << status.message() << std::endl;
  return absl::IsInvalidArgument(status) || absl::IsNotFound(status) ? kWrongUsage : kFailed;
}

int Main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // a closed pipe is a failed write
  CLI::App app{"Measures the engine, the service and their parts.", "reenact-bench"};
  app.footer("Exit codes: 0 done; 1 it failed; 2 wrong usage or a file that cannot be used.");
  app.require_subcommand(1);
  app.fallthrough();
  bool json = false;
  app.add_flag("--json", json, "Print one JSON object a line");

  std::vector<Subcommand> subcommands;
  AddEngine(app, subcommands);
  AddDecode(app, subcommands);
  AddLoad(app, subcommands);
  AddGemm(app, subcommands);
  AddServe(app, subcommands);
  AddLive(app, subcommands);
  AddLandmarks(app, subcommands);
  AddFootage(app, subcommands);
  AddCodec(app, subcommands);
  AddOutput(app, subcommands);
  AddTable(app, subcommands);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kDone : kWrongUsage;
  }

  Report report(std::cout, json ? Report::Style::kJson : Report::Style::kTable);
  for (const Subcommand& subcommand : subcommands) {
    if (!subcommand.command->parsed()) continue;
    try {
      return Finish(subcommand.run(report));
    } catch (const std::exception& error) {
      // libtorch reports what it dislikes by exceptions.
      return Finish(absl::InternalError(error.what()));
    }
  }
  return kWrongUsage;
}

}  // namespace
}  // namespace reenact::bench

int main(int argc, char** argv) { return reenact::bench::Main(argc, argv); }
