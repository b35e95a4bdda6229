// reenact-train: makes a demo bundle from nothing but this repository. One sub-command per stage;
// `reenact-train STAGE --help` lists its options, whose defaults are what the demo bundle uses.
// `reenact-train --config demo/train.json` runs them all.
#include <malloc.h>
#include <torch/torch.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <csignal>
#include <exception>
#include <iostream>
#include <map>
#include <string>
#include <vector>

#include "pipeline/models/device.h"
#include "training/recipe_run.h"
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

// libtorch reports what it dislikes by exceptions.
template <typename Work>
int Run(const Work& work) {
  try {
    return Finish(work());
  } catch (const std::exception& e) {
    return Finish(absl::InternalError(e.what()));
  }
}

int Main(int argc, char** argv) {
  CLI::App app{"Trains the networks of a reenactment bundle on synthetic people."};
  app.require_subcommand(0, 1);
  int threads = 1;
  app.add_option("--threads", threads, "threads for drawing and for tensor work")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  std::string device_name = "cpu";
  app.add_option(
         "--device", device_name,
         "where networks are trained: cpu, cuda, cuda:N or auto; of several processes, cuda "
         "is for each the GPU of its LOCAL_RANK")
      ->capture_default_str();
  ProcessBackend backend = ProcessBackend::kGloo;
  app.add_option("--backend", backend,
                 "what processes of one training talk by: gloo, or nccl between "
                 "GPUs")
      ->transform(CLI::CheckedTransformer(std::map<std::string, ProcessBackend>{
          {"gloo", ProcessBackend::kGloo}, {"nccl", ProcessBackend::kNccl}}))
      ->default_str("gloo");
  app.fallthrough();
  RecipeFlags recipe;
  CLI::Option* config =
      app.add_option("--config", recipe.config, "JSON recipe: runs all of its stages in order");
  app.add_option("--work", recipe.work, "folder for everything that a recipe makes")
      ->needs(config)
      ->capture_default_str();
  app.add_flag("--smoke", recipe.smoke, "the recipe in minutes, to see that all of it works")
      ->needs(config);

  std::vector<Subcommand> stages;
  AddAllStages(app, stages);
  CLI11_PARSE(app, argc, argv);
  if (recipe.config.empty() == app.get_subcommands().empty()) {
    std::cerr << "reenact-train: give either a stage or --config; see --help" << std::endl;
    return 1;
  }

  KeepFreedMemory();
  torch::set_num_threads(threads);
  std::signal(SIGINT, RequestStop);
  std::signal(SIGTERM, RequestStop);
  const auto device = FindDevice(LocalDevice(device_name));
  if (!device.ok()) return Finish(device.status());
  auto processes = Processes::FromEnvironment(backend, *device);
  if (!processes.ok()) return Finish(processes.status());
  if (*processes != nullptr && !recipe.config.empty()) {
    return Finish(absl::InvalidArgumentError(
        "a recipe runs in one process; start its training stages by themselves"));
  }
  if (!recipe.config.empty()) {
    recipe.threads = threads;
    recipe.stop = &g_stop;
    recipe.device = *device;
    return Run([&] { return RunRecipeFile(recipe); });
  }
  for (const Subcommand& stage : stages) {
    if (!stage.command->parsed()) continue;
    return Run([&] { return stage.run({threads, &g_stop, processes->get(), *device}); });
  }
  return 1;
}

}  // namespace
}  // namespace reenact

int main(int argc, char** argv) { return reenact::Main(argc, argv); }
