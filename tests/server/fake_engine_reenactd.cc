// reenactd with a fake engine, for tests of the process. The bundle says what the engine does:
// "normal", "slow-load" (never loads) or "slow-step" (its first step never ends).
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "server/config.h"
#include "server/process.h"
#include "tests/fakes/fake_engine.h"
#include "tests/fakes/gate.h"

int main(int argc, char** argv) {
  using reenact::testing::FakeEngine;
  const auto command_line =
      reenact::ParseServerConfig(std::vector<std::string>(argv + 1, argv + argc));
  if (!command_line.ok()) {
    std::cerr << command_line.status() << "\n";
    return 2;
  }
  const std::string mode = command_line->config.bundles.front();
  static reenact::testing::Gate never;
  return reenact::RunServerProcess(command_line->config,
                                   [mode]() -> absl::StatusOr<std::unique_ptr<reenact::Engine>> {
                                     if (mode == "slow-load") never.Await();
                                     FakeEngine::Options options;
                                     if (mode == "slow-step") {
                                       options.on_step = [](const reenact::JobRequest&, int64_t) {
                                         std::cerr << "in the step" << std::endl;
                                         never.Await();
                                         return absl::OkStatus();
                                       };
                                     }
                                     return std::make_unique<FakeEngine>(std::move(options));
                                   });
}
