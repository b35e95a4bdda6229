// reenact-bundle: checks, shows and makes bundles.
#include <cstdint>
#include <filesystem>
#include <iostream>
#include <map>
#include <string>
#include <system_error>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "pipeline/engine/bundle.h"
#include "pipeline/engine/random_bundle.h"
#include "pipeline/reenactor/face_models.h"

namespace reenact {
namespace {

int Fail(const absl::Status& status) {
  std::cerr << "reenact-bundle: " << status.message() << "\n";
  return 1;
}

int64_t NumParameters(const torch::nn::Module& module) {
  int64_t count = 0;
  for (const torch::Tensor& parameter : module.parameters()) count += parameter.numel();
  return count;
}

int Verify(const std::string& folder) {
  const auto bundle = ReadBundle(folder);
  if (!bundle.ok()) return Fail(bundle.status());
  std::cout << folder << ": OK, model " << bundle->config.name << ", bundle.json SHA-256 "
            << bundle->sha256 << "\n";
  return 0;
}

int Show(const std::string& folder) {
  const auto bundle = ReadBundle(folder);
  if (!bundle.ok()) return Fail(bundle.status());
  const BundleConfig& config = bundle->config;
  const auto line = [](const char* name) -> std::ostream& {
    std::cout << name << std::string(18 - std::string(name).size(), ' ');
    return std::cout;
  };
  line("name") << config.name << "\n";
  line("licence") << config.licence << "\n";
  line("SHA-256") << bundle->sha256 << "\n";
  line("frame") << config.image_size << " x " << config.image_size << " pixels\n";
  line("frames per row") << config.frames_per_row << "\n";
  line("prediction") << PredictionName(config.prediction) << ", schedule " << config.schedule
                     << " of " << config.num_train_steps << " steps\n";
  line("default") << (config.default_sampler == Sampler::kDdim ? "ddim, " : "ddpm, ")
                  << config.default_num_steps << " steps (at most " << config.max_num_steps
                  << "), guidance " << config.default_guidance_scale << "\n";
  line("source") << (config.accepts_text ? "image, text, or both" : "image") << "\n";
  line("sdit") << NumParameters(*bundle->sdit) << " parameters, hidden size "
               << config.sdit.hidden_size << ", depth " << config.sdit.depth << ", patch "
               << config.sdit.patch_size << "\n";
  line("autoencoder") << NumParameters(*bundle->autoencoder) << " parameters, downscale "
                      << config.autoencoder.downscale() << "\n";
  line("clip") << NumParameters(*bundle->clip) << " parameters, dimension "
               << config.clip.projection_dim << "\n";
  line("landmarks") << config.landmark_model << ", " << config.landmark_detector << "\n";
  for (const auto& [name, hash] : bundle->files) {
    std::error_code error;
    const auto size = std::filesystem::file_size(std::filesystem::path(folder) / name, error);
    line("file") << name << "  " << size << " bytes  " << hash << "\n";
  }
  if (!config.training.empty()) {
    line("training") << config.training.dump(2, ' ', false,
                                             nlohmann::json::error_handler_t::replace)
                     << "\n";
  }
  return 0;
}

int Random(const std::string& folder, const std::string& name, uint64_t seed) {
  BundleConfig config = SmallBundleConfig();
  config.name = name;
  if (auto status = WriteRandomBundle(folder, config, seed); !status.ok()) return Fail(status);
  return Verify(folder);
}

}  // namespace
}  // namespace reenact

int main(int argc, char** argv) {
  CLI::App app("Checks, shows and makes model bundles.");
  app.require_subcommand(1);
  std::string folder, name = "random";
  uint64_t seed = 0;

  CLI::App* verify = app.add_subcommand("verify", "Check every file, hash, field and tensor");
  verify->add_option("folder", folder, "Folder of the bundle")->required();
  CLI::App* show = app.add_subcommand("show", "Check, then print what the bundle is");
  show->add_option("folder", folder, "Folder of the bundle")->required();
  CLI::App* random = app.add_subcommand(
      "random", "Write a small bundle with random weights, to try out an installation");
  random->add_option("-o,--out", folder, "Folder to write")->required();
  random->add_option("--name", name, "Name of the model")->capture_default_str();
  random->add_option("--seed", seed, "Seed of the weights")->capture_default_str();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;  // 0: --help
  }

  if (verify->parsed()) return reenact::Verify(folder);
  if (show->parsed()) return reenact::Show(folder);
  return reenact::Random(folder, name, seed);
}
