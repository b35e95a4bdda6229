// reenactd: serves video face reenactment over gRPC.
//
//   reenactd --bundle DIR [--listen host:port | unix:PATH]... [--config FILE]
//
// SIGTERM or SIGINT: no new jobs, the running ones finish (--drain-timeout), then exit with status
// 0. A second one: exit at once with status 1. Status 1 as well if it cannot start, status 2 for a
// wrong flag or setting.
#include <iostream>

#include "pipeline/reenactor/idle_threads.h"
#include "pipeline/reenactor/reenactor.h"
#include "server/config.h"
#include "server/log.h"
#include "server/process.h"

namespace {

int Serve(const reenact::ServerConfig& config) {
  const auto load_engine = [&config] {
    using Options = reenact::ReenactorOptions;
    Options options;
    options.bundles = config.bundles;
    options.face_models = config.face_models;
    options.num_threads = config.compute_threads;
    options.device = config.device;
    options.max_cuda_graphs = config.max_cuda_graphs;
    // The configuration has checked the words.
    options.precision =
        config.precision == "bf16" ? Options::Precision::kBfloat16 : Options::Precision::kFloat32;
    options.max_active_rows = config.max_active_rows;
    options.trace = config.trace == "retained"     ? Options::Trace::kRetained
                    : config.trace == "lockstep"   ? Options::Trace::kLockStep
                    : config.trace == "recomputed" ? Options::Trace::kRecomputed
                                                   : Options::Trace::kAuto;
    options.max_trace_bytes = config.max_trace_bytes;
    options.max_driving_bytes = config.max_driving_bytes;
    options.max_frames = config.max_frames;
    return reenact::CreateReenactor(options);
  };
  return reenact::RunServerProcess(config, load_engine);
}

}  // namespace

int main(int argc, char** argv) {
  reenact::LetIdleThreadsSleep(argv);
  const auto command_line =
      reenact::ParseServerConfig(std::vector<std::string>(argv + 1, argv + argc));
  if (!command_line.ok()) {
    std::cerr << "reenactd: " << command_line.status().message() << "\n"
              << "Run reenactd --help for the list of flags.\n";
    return 2;
  }
  if (!command_line->text_to_print.empty()) {
    std::cout << command_line->text_to_print;
    return 0;
  }
  if (const absl::Status status = reenact::SetLogLevel(command_line->config.log_level);
      !status.ok()) {
    std::cerr << "reenactd: " << status.message() << "\n";
    return 2;
  }
  return Serve(command_line->config);
}
