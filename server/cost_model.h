// How long work takes on the device: the speed of each model in GFLOP per second. It starts as
// timed when the model was loaded (ModelInfo::gflop_per_second) and follows the steps that run.
#pragma once

#include <atomic>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "pipeline/types.h"

namespace reenact {

// Thread-safe, with one thread that observes.
class CostModel {
 public:
  // Weight of the latest step in a model's speed: half of a change of speed is seen after 7 steps.
  static constexpr double kNewest = 0.1;

  explicit CostModel(const std::vector<ModelInfo>& models);

  // Time that `gflop` of work take with `model`. Infinite: its speed is not known.
  absl::Duration TimeFor(std::string_view model, double gflop) const;

  struct Work {
    std::string_view model;
    double gflop = 0;
  };
  // A step of all of `works` together took `duration`. Of models in one step, each is taken to have
  // had the share of the time that it was expected to have.
  void ObserveStep(absl::Span<const Work> works, absl::Duration duration);

 private:
  // GFLOP per second by model; 0: not known. The keys are constant after construction.
  std::map<std::string, std::atomic<double>, std::less<>> speeds_;
};

}  // namespace reenact
