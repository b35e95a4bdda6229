// `bundle`: puts the trained parts together as the engine reads them.
#include <iostream>
#include <memory>

#include "pipeline/engine/bundle.h"
#include "pipeline/weights/load.h"
#include "training/sampler_option.h"
#include "training/stages.h"
#include "training/trained_parts.h"

namespace reenact {
namespace {

struct BundleFlags {
  std::string autoencoder, clip, sdit, out;
  std::string name = "demo-people";
  std::string licence = "Apache-2.0";
  std::string note = "Synthetic people only; see README.md beside this file.";
  int num_steps = 8;
  Sampler sampler = Sampler::kDdim;
  int max_num_steps = 100;
  double guidance_scale = 1;
  bool shared_noise = false;
  bool trailing_steps = false;
  bool half = true;
};

absl::Status Assemble(const BundleFlags& flags) {
  const auto autoencoder = ReadAutoencoder(flags.autoencoder);
  if (!autoencoder.ok()) return autoencoder.status();
  const auto clip = ReadClip(flags.clip);
  if (!clip.ok()) return clip.status();
  const auto sdit = ReadSdit(flags.sdit);
  if (!sdit.ok()) return sdit.status();

  BundleConfig config;
  config.name = flags.name;
  config.licence = flags.licence;
  config.image_size = sdit->config.latent_size * autoencoder->config.downscale();
  config.frames_per_row = sdit->config.num_frames;
  config.prediction = sdit->process.prediction;
  config.schedule = sdit->process.schedule;
  config.default_sampler = flags.sampler;
  config.default_num_steps = flags.num_steps;
  config.max_num_steps = flags.max_num_steps;
  config.default_guidance_scale = flags.guidance_scale;
  config.shared_noise = flags.shared_noise;
  config.trailing_steps = flags.trailing_steps;
  config.sdit = sdit->config;
  config.autoencoder = autoencoder->config;
  config.autoencoder.scaling_factor = sdit->process.scaling_factor;
  config.clip = clip->config;
  config.training = {{"note", flags.note},
                     {"autoencoder", autoencoder->training},
                     {"clip", clip->training},
                     {"sdit", sdit->training}};
  return WriteBundle(flags.out, config,
                     {.sdit = StateDict(*sdit->network),
                      .autoencoder = StateDict(*autoencoder->network),
                      .clip = StateDict(*clip->network),
                      .merges = clip->merges,
                      .half = flags.half});
}

}  // namespace

void AddBundleStage(CLI::App& app, std::vector<Subcommand>& stages) {
  auto flags = std::make_shared<BundleFlags>();
  CLI::App* command = app.add_subcommand("bundle", "assemble a bundle from the trained parts");
  command->add_option("--autoencoder", flags->autoencoder, "folder of `autoencoder`, or a bundle")
      ->required();
  command->add_option("--clip", flags->clip, "folder of `clip`, or a bundle")->required();
  command->add_option("--sdit", flags->sdit, "folder of `sdit`, or a bundle")->required();
  command->add_option("--out", flags->out, "bundle folder")->required();
  command->add_option("--name", flags->name)->capture_default_str();
  command->add_option("--licence", flags->licence)->capture_default_str();
  command->add_option("--note", flags->note, "how it was made, for people")->capture_default_str();
  command->add_option("--num-steps", flags->num_steps, "default number of denoising steps")
      ->capture_default_str();
  AddSamplerOption(*command, "--sampler", flags->sampler);
  command->add_option("--max-num-steps", flags->max_num_steps)->capture_default_str();
  command->add_option("--guidance-scale", flags->guidance_scale, "default; 1: off")
      ->capture_default_str();
  command->add_flag("--shared-noise", flags->shared_noise,
                    "sample all frames of a video from the same noise");
  command->add_flag("--trailing-steps", flags->trailing_steps,
                    "count steps from the noisy end and spend none on the clean one");
  command->add_option("--half", flags->half, "store weights as float16")->capture_default_str();
  stages.push_back({command, [flags](const StageContext&) { return Assemble(*flags); }});
}

}  // namespace reenact
