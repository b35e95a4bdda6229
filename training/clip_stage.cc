// `clip`: trains the image and text towers and writes clip.safetensors and merges.txt.
#include <iostream>
#include <memory>

#include "training/clip_trainer.h"
#include "training/run_flags.h"
#include "training/stages.h"
#include "training/trained_parts.h"

namespace reenact {
namespace {

struct ClipFlags : RunFlags {
  ClipTrainingOptions training;
};

absl::Status Train(ClipFlags flags, const StageContext& context) {
  auto data = ReadTrainingData(flags);
  if (!data.ok()) return data.status();
  flags.training.seed = flags.run.seed;
  flags.training.device = context.device;
  flags.Join(context, flags.training.gradient);
  if (!data->held_out) flags.run.evaluate_minutes = 0;
  auto trainee = ClipTrainee::Create(flags.training, data->training, data->held_out_or_null());
  if (!trainee.ok()) return trainee.status();
  const auto summary = RunTraining(flags.run, **trainee, std::cout);
  if (!summary.ok()) return summary.status();
  if (!flags.IsFirstProcess()) return absl::OkStatus();
  return WriteClip(flags.run.out, (*trainee)->config(), (*trainee)->averaged(),
                   (*trainee)->merges(), *summary);
}

}  // namespace

void AddClipStage(CLI::App& app, std::vector<Subcommand>& stages) {
  auto flags = std::make_shared<ClipFlags>();
  CLI::App* command = app.add_subcommand("clip", "train the image and text towers");
  flags->AddTo(*command, /*minutes=*/6);
  ClipTrainingOptions& o = flags->training;
  command->add_option("--image-size", o.image_size, "pixels")->capture_default_str();
  command->add_option("--patch", o.patch_size, "pixels")->capture_default_str();
  command->add_option("--width", o.hidden_size)->capture_default_str();
  command->add_option("--depth", o.depth)->capture_default_str();
  command->add_option("--heads", o.num_heads)->capture_default_str();
  command->add_option("--projection", o.projection_dim)->capture_default_str();
  command->add_option("--merges", o.max_merges, "at most so many byte pairs")
      ->capture_default_str();
  command->add_option("--batch", o.batch)->capture_default_str();
  command->add_option("--group", o.group, "people of a batch who are described alike")
      ->capture_default_str();
  command->add_option("--consistency", o.consistency, "weight of CyCLIP's terms")
      ->capture_default_str();
  command->add_option("--alignment", o.alignment, "weight of a picture's distance from its caption")
      ->capture_default_str();
  command->add_option("--naming", o.naming, "weight of the captions' terms read from an embedding")
      ->capture_default_str();
  command->add_option("--learning-rate", o.learning_rate)->capture_default_str();
  command->add_option("--weight-decay", o.weight_decay)->capture_default_str();
  command->add_option("--warmup-steps", o.warmup_steps)->capture_default_str();
  command->add_option("--final-lr-ratio", o.final_lr_ratio, "of the learning rate at the end")
      ->capture_default_str();
  command->add_option("--ema", o.ema)->capture_default_str();
  command->add_option("--bfloat16", o.bfloat16)->capture_default_str();
  stages.push_back(
      {command, [flags](const StageContext& context) { return Train(*flags, context); }});
}

}  // namespace reenact
