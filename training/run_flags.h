// The options that every training has in common.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "training/data_cache.h"
#include "training/gradient_step.h"
#include "training/stages.h"
#include "training/training_run.h"

namespace reenact {

struct RunFlags {
  std::string data, held_out;
  int64_t people = 0;
  RunOptions run;
  int64_t accumulate = 1;
  double clip_norm = 1;

  // `minutes`: how long the demo's run takes.
  void AddTo(CLI::App& command, double minutes);
  // Takes what stops the run and the other processes from `context`, into `gradient` too.
  void Join(const StageContext& context, GradientOptions& gradient);
  bool IsFirstProcess() const { return run.processes == nullptr || run.processes->rank() == 0; }
};

struct TrainingData {
  DataCache training;
  std::optional<DataCache> held_out;

  const DataCache* held_out_or_null() const { return held_out ? &*held_out : nullptr; }
};

// Reads the folders named; kInvalidArgument if training data reaches into the held-out people.
absl::StatusOr<TrainingData> ReadTrainingData(const RunFlags& flags);

}  // namespace reenact
