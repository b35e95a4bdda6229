// reenact-train: makes a demo bundle from nothing but this repository. One sub-command per stage;
// `reenact-train STAGE --help` lists its options, whose defaults are what the demo bundle uses.
#include <malloc.h>
#include <torch/torch.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <csignal>
#include <exception>
#include <iostream>
#include <vector>

#include "training/stages.h"

namespace reenact {
namespace {

std::atomic<bool> g_stop{false};

void RequestStop(int) { g_stop.store(true); }

// glibc gives big blocks back to the kernel at once and asks for them again in the next step; with
// this they stay in the process (8 % of an autoencoder step).
void KeepFreedMemory() {
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, 2'000'000'000);
  mallopt(M_TOP_PAD, 128 << 20);
}

int Finish(const absl::Status& status) {
  if (status.ok()) return 0;
  std::cerr << "reenact-train: " << status.message() << std::endl;
  return 1;
}

int Main(int argc, char** argv) {
  CLI::App app{"Trains the networks of a reenactment bundle on synthetic people."};
  app.require_subcommand(1);
  int threads = 1;
  app.add_option("--threads", threads, "threads for drawing and for tensor work")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  app.fallthrough();

  std::vector<Subcommand> stages;
  AddPeopleStage(app, stages);
  AddDemoStage(app, stages);
  AddDataStage(app, stages);
  AddAutoencoderStage(app, stages);
  AddClipStage(app, stages);
  AddEncodeStage(app, stages);
  AddSditStage(app, stages);
  AddBundleStage(app, stages);
  AddSampleStage(app, stages);
  CLI11_PARSE(app, argc, argv);

  KeepFreedMemory();
  torch::set_num_threads(threads);
  std::signal(SIGINT, RequestStop);
  std::signal(SIGTERM, RequestStop);
  for (const Subcommand& stage : stages) {
    if (!stage.command->parsed()) continue;
    try {
      return Finish(stage.run({threads, &g_stop}));
    } catch (const std::exception& e) {
      // libtorch reports what it dislikes by exceptions.
      return Finish(absl::InternalError(e.what()));
    }
  }
  return 1;
}

}  // namespace
}  // namespace reenact

int main(int argc, char** argv) { return reenact::Main(argc, argv); }
