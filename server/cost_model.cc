#include "server/cost_model.h"

namespace reenact {

CostModel::CostModel(const std::vector<ModelInfo>& models) {
  for (const ModelInfo& model : models) speeds_[model.name].store(model.gflop_per_second);
}

absl::Duration CostModel::TimeFor(std::string_view model, double gflop) const {
  if (gflop <= 0) return absl::ZeroDuration();
  const auto entry = speeds_.find(model);
  const double speed = entry == speeds_.end() ? 0 : entry->second.load(std::memory_order_relaxed);
  return speed > 0 ? absl::Seconds(gflop / speed) : absl::InfiniteDuration();
}

void CostModel::ObserveStep(absl::Span<const Work> works, absl::Duration duration) {
  const double seconds = absl::ToDoubleSeconds(duration);
  if (seconds <= 0) return;
  std::map<std::string_view, double> gflops;
  double total_gflop = 0;
  absl::Duration expected;
  for (const Work& work : works) {
    if (work.gflop <= 0) continue;
    gflops[work.model] += work.gflop;
    total_gflop += work.gflop;
    expected += TimeFor(work.model, work.gflop);
  }
  for (const auto& [model, gflop] : gflops) {
    const auto entry = speeds_.find(model);
    if (entry == speeds_.end()) continue;
    const double before = entry->second.load(std::memory_order_relaxed);
    // With a speed missing, time is divided by work: all of the step is taken to be equally fast.
    const double now = expected < absl::InfiniteDuration()
                           ? before * absl::ToDoubleSeconds(expected) / seconds
                           : total_gflop / seconds;
    const double speed = before > 0 ? before + kNewest * (now - before) : now;
    entry->second.store(speed, std::memory_order_relaxed);
  }
}

}  // namespace reenact
