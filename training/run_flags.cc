#include "training/run_flags.h"

#include <algorithm>
#include <utility>

namespace reenact {

void RunFlags::AddTo(CLI::App& command, double minutes) {
  run.minutes = minutes;
  command.add_option("--data", data, "folder made by `data`")->required();
  command.add_option("--held-out", held_out,
                     "folder of people never trained on; without it nothing is evaluated");
  command.add_option("--people", people, "use only so many people; 0: all")->capture_default_str();
  command.add_option("--out", run.out, "folder for checkpoints, tables and results")->required();
  command.add_option("--steps", run.steps, "end after so many steps; 0: no bound")
      ->capture_default_str();
  command.add_option("--minutes", run.minutes, "end after so many minutes; 0: no bound")
      ->capture_default_str();
  command.add_option("--checkpoint-minutes", run.checkpoint_minutes)->capture_default_str();
  command.add_option("--evaluate-minutes", run.evaluate_minutes, "0: never")->capture_default_str();
  command.add_option("--log-every", run.log_every, "steps between progress lines")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command
      .add_option("--sample-every", run.sample_every, "steps between sheets of samples; 0: none")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command.add_option("--accumulate", accumulate, "batches whose gradients make one step")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command.add_option("--clip-norm", clip_norm, "largest norm of the gradient; 0: no clipping")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command.add_option("--seed", run.seed)->capture_default_str();
}

void RunFlags::Join(const StageContext& context, GradientOptions& gradient) {
  run.stop = context.stop;
  run.processes = context.processes;
  gradient = {.accumulate = accumulate, .clip_norm = clip_norm, .processes = context.processes};
}

absl::StatusOr<TrainingData> ReadTrainingData(const RunFlags& flags) {
  auto training = ReadDataCache(flags.data, flags.people);
  if (!training.ok()) return training.status();
  if (std::any_of(training->seeds.begin(), training->seeds.end(),
                  [](uint64_t seed) { return seed >= kFirstHeldOutSeed; })) {
    return absl::InvalidArgumentError(flags.data + " holds people kept for evaluation");
  }
  TrainingData data{*std::move(training), std::nullopt};
  if (!flags.held_out.empty()) {
    auto held_out = ReadDataCache(flags.held_out);
    if (!held_out.ok()) return held_out.status();
    data.held_out = *std::move(held_out);
  }
  return data;
}

}  // namespace reenact
