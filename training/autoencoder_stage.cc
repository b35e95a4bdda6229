// `autoencoder`: trains it and writes autoencoder.safetensors and pictures to judge it by.
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "pipeline/models/config_json.h"
#include "pipeline/weights/load.h"
#include "pipeline/weights/safetensors.h"
#include "training/autoencoder_trainer.h"
#include "training/contact_sheet.h"
#include "training/run_flags.h"
#include "training/stages.h"
#include "training/trained_parts.h"

namespace reenact {
namespace {

struct AutoencoderFlags : RunFlags {
  std::string start_from;
  AutoencoderTrainingOptions training;
};

absl::Status Train(AutoencoderFlags flags, const StageContext& context) {
  auto data = ReadTrainingData(flags);
  if (!data.ok()) return data.status();
  flags.training.seed = flags.run.seed;
  flags.training.device = context.device;
  flags.Join(context, flags.training.gradient);
  auto trainee =
      AutoencoderTrainee::Create(flags.training, data->training, data->held_out_or_null());
  if (!trainee.ok()) return trainee.status();
  nlohmann::json started_from;
  if (!flags.start_from.empty()) {
    const auto start = ReadAutoencoder(flags.start_from);
    if (!start.ok()) return start.status();
    const absl::Status status = (*trainee)->StartFrom(start->config, StateDict(*start->network));
    if (!status.ok()) return status;
    started_from = start->training;
  }
  if (!data->held_out) flags.run.evaluate_minutes = 0;
  auto summary = RunTraining(flags.run, **trainee, std::cout);
  if (!summary.ok()) return summary.status();
  summary->started_from = std::move(started_from);
  if (!flags.IsFirstProcess()) return absl::OkStatus();
  if (data->held_out) {
    const absl::Status status =
        WriteContactSheet(flags.run.out + "/reconstructions.png", (*trainee)->Samples());
    if (!status.ok()) return status;
  }
  return WriteAutoencoder(flags.run.out, (*trainee)->config(), (*trainee)->averaged(), *summary);
}

}  // namespace

void AddAutoencoderStage(CLI::App& app, std::vector<Subcommand>& stages) {
  auto flags = std::make_shared<AutoencoderFlags>();
  CLI::App* command = app.add_subcommand("autoencoder", "train the autoencoder");
  flags->AddTo(*command, /*minutes=*/30);
  AutoencoderTrainingOptions& o = flags->training;
  command->add_option("--latent-channels", o.latent_channels)->capture_default_str();
  command->add_option("--channels", o.block_out_channels, "channels per level; f = 2^(levels-1)")
      ->delimiter(',')
      ->capture_default_str();
  command->add_option("--layers", o.layers_per_block)->capture_default_str();
  command->add_option("--groups", o.norm_num_groups)->capture_default_str();
  command->add_option("--crop", o.crop, "pixels")->capture_default_str();
  command->add_option("--batch", o.batch)->capture_default_str();
  command->add_option("--learning-rate", o.learning_rate)->capture_default_str();
  command->add_option("--warmup-steps", o.warmup_steps)->capture_default_str();
  command->add_option("--decay-from", o.decay_from, "share of the run at which the rate falls")
      ->capture_default_str();
  command->add_option("--final-lr-ratio", o.final_lr_ratio, "of the learning rate at the end")
      ->capture_default_str();
  command->add_option("--ema", o.ema)->capture_default_str();
  command->add_option("--kl-weight", o.kl_weight)->capture_default_str();
  command->add_option("--expressive-weight", o.expressive_weight, "of eyes and mouth")
      ->capture_default_str();
  command
      ->add_option("--surround", o.surround,
                   "pixels around them that count the square root of that")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--start-from", flags->start_from,
                      "folder of an earlier run, or a bundle, to begin from, with as many latent "
                      "channels or fewer; a checkpoint goes first");
  command->add_flag("--decoder-only", o.decoder_only, "keep the encoder, so latents stay valid");
  command->add_option("--bfloat16", o.bfloat16)->capture_default_str();
  stages.push_back(
      {command, [flags](const StageContext& context) { return Train(*flags, context); }});
}

}  // namespace reenact
