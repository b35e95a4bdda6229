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
#include "pipeline/engine/sampling.h"
#include "pipeline/reenactor/bundle_maker.h"

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
  line("default") << SamplerName(config.default_sampler) << ", " << config.default_num_steps
                  << (config.trailing_steps ? " trailing" : "") << " steps (at most "
                  << config.max_num_steps << "), guidance " << config.default_guidance_scale
                  << "\n";
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

// What both commands that write bundles take.
struct WriteFlags {
  std::string folder, name, merges, sampler = "ddim";
  bool half = false;
  uint64_t seed = 0;
  int64_t image_size = 0, num_frames = 4;
};

int Random(const WriteFlags& flags, const std::string& config_name) {
  auto config = NamedBundleConfig(config_name, flags.image_size, flags.num_frames);
  if (!config.ok()) return Fail(config.status());
  config->name = flags.name;
  if (auto status = StreamRandomBundle(flags.folder, *config, flags.merges, flags.half, flags.seed);
      !status.ok()) {
    return Fail(status);
  }
  std::cout << flags.folder << ": a " << config_name << " bundle with random weights, model "
            << config->name << "\n";
  return 0;
}

int Make(const WriteFlags& flags, BundleSources sources, BundleConfig config) {
  const auto sampler = SamplerFromName(flags.sampler);
  if (!sampler.ok()) return Fail(sampler.status());
  config.name = flags.name;
  config.default_sampler = *sampler;
  sources.merges = flags.merges;
  sources.seed = flags.seed;
  sources.image_size = flags.image_size;
  sources.num_frames = flags.num_frames;
  std::vector<std::string> report;
  if (auto status = MakeBundle(flags.folder, config, sources, flags.half, &report); !status.ok()) {
    return Fail(status);
  }
  for (const std::string& line : report) std::cout << line << "\n";
  std::cout << flags.folder << ": model " << config.name << "\n";
  return 0;
}

void AddWriteFlags(CLI::App* command, WriteFlags* flags) {
  command->add_option("-o,--out", flags->folder, "Folder to write")->required();
  command->add_option("--seed", flags->seed, "Seed of random weights")->capture_default_str();
  command->add_flag("--half", flags->half, "Store matrices as float16: half the size");
  command->add_option("--frames", flags->num_frames, "Frames per row, T, of a new sDiT")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  command->add_option("--image-size", flags->image_size, "Side of a frame in pixels");
}

}  // namespace
}  // namespace reenact

int main(int argc, char** argv) {
  CLI::App app("Checks, shows and makes model bundles.");
  app.require_subcommand(1);
  std::string folder, config_name = "small";
  reenact::WriteFlags random_flags, make_flags;
  reenact::BundleSources sources;
  reenact::BundleConfig config;
  random_flags.name = "random";

  CLI::App* verify = app.add_subcommand("verify", "Check every file, hash, field and tensor");
  verify->add_option("folder", folder, "Folder of the bundle")->required();
  CLI::App* show = app.add_subcommand("show", "Check, then print what the bundle is");
  show->add_option("folder", folder, "Folder of the bundle")->required();

  CLI::App* make = app.add_subcommand(
      "make",
      "Make a bundle of public checkpoints: a DiT or sDiT, an autoencoder and a CLIP.\n"
      "Reads safetensors, PyTorch files (.pt, .pth, .bin, .ckpt; nothing in them is executed), "
      "sets of files with an index, and folders as diffusers and transformers save them.");
  reenact::AddWriteFlags(make, &make_flags);
  make->add_option("--dit", sources.dit,
                   "facebookresearch/DiT or diffusers DiT, which becomes an sDiT whose mapping "
                   "network is still to be trained; or an sDiT")
      ->required();
  make->add_option("--dit-part", sources.dit_part,
                   "Part of a training checkpoint, such as model (default: ema if there is one)");
  make->add_option("--heads", sources.num_heads,
                   "Attention heads (default: those of DiT-S, B, L or XL by width)");
  make->add_option("--vae", sources.autoencoder,
                   "Stable Diffusion's autoencoder: diffusers, latent diffusion, or a full "
                   "checkpoint with first_stage_model.")
      ->required();
  make->add_option("--clip", sources.clip, "CLIP: transformers, or OpenAI's archive")->required();
  make->add_option("--merges", make_flags.merges,
                   "CLIP's merges.txt or bpe_simple_vocab_16e6.txt.gz")
      ->required();
  make->add_option("--name", make_flags.name, "Name of the model")->required();
  make->add_option("--licence", config.licence, "The weights' licence, for people")->required();
  make->add_option("--sampler", make_flags.sampler, "Default sampler: ddim, ddpm, dpm-solver++")
      ->capture_default_str();
  make->add_option("--steps", config.default_num_steps, "Default number of steps")
      ->capture_default_str();

  CLI::App* random = app.add_subcommand(
      "random", "Write a bundle with random weights, to try out an installation or a size");
  reenact::AddWriteFlags(random, &random_flags);
  random
      ->add_option("--config", config_name,
                   "small, demo, or a DiT size: S, B, L or XL with patch size 2, 4 or 8 (XL/2)")
      ->capture_default_str();
  random->add_option("--name", random_flags.name, "Name of the model")->capture_default_str();
  random->add_option("--merges", random_flags.merges, "The tokenizer's merges (default: made up)");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;  // 0: --help
  }

  if (verify->parsed()) return reenact::Verify(folder);
  if (show->parsed()) return reenact::Show(folder);
  if (make->parsed()) return reenact::Make(make_flags, sources, config);
  return reenact::Random(random_flags, config_name);
}
