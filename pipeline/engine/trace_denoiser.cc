#include "pipeline/engine/trace_denoiser.h"

#include <algorithm>
#include <cstddef>
#include <utility>

namespace reenact {

using torch::Tensor;

absl::StatusOr<TraceDenoiser> TraceDenoiser::Create(RowExecutor& executor, Schedule schedule,
                                                    RowPlan plan, Conditions conditions,
                                                    NoiseSource noise,
                                                    const SamplingOptions& options,
                                                    const RowSchedule::Options& order,
                                                    bool complete) {
  if (auto status = CheckFit(executor.config(), plan, conditions); !status.ok()) return status;
  return TraceDenoiser(executor, std::move(schedule), std::move(plan), std::move(conditions),
                       std::move(noise), options, order, complete);
}

TraceDenoiser::TraceDenoiser(RowExecutor& executor, Schedule schedule, RowPlan plan,
                             Conditions conditions, NoiseSource noise,
                             const SamplingOptions& options, const RowSchedule::Options& order,
                             bool complete)
    : executor_(&executor),
      schedule_(std::move(schedule)),
      plan_(std::move(plan)),
      conditions_(std::move(conditions)),
      noise_(std::move(noise)),
      options_(options),
      order_(plan_, complete, schedule_.size(), order),
      source_(TraceSource(executor, conditions_)) {}

void TraceDenoiser::AddRow(std::vector<RowSlot> row) {
  plan_.rows.push_back(std::move(row));
  order_.AddRow();
}

void TraceDenoiser::Complete() {
  order_.Complete();
  DropTraces();
}

void TraceDenoiser::DropTraces() {
  std::erase_if(traces_, [&](const auto& trace) {
    const auto& [leader, step] = trace.first;
    return step < order_.first_step_needed(leader);
  });
}

int64_t TraceDenoiser::trace_bytes() const {
  int64_t bytes = 0;
  for (const auto& [of, halves] : traces_) bytes += halves[0].bytes() + halves[1].bytes();
  return bytes;
}

int64_t TraceDenoiser::RetainedBytes(const RowExecutor& executor, int num_steps, bool guided,
                                     int num_scenes) {
  return executor.trace_bytes() * num_steps * (guided ? 2 : 1) * std::clamp(num_scenes, 1, 3);
}

double TraceDenoiser::GflopPerRowStep(const SDiTConfig& config, bool guided) {
  return RowGflop(config, config.num_frames) * (guided ? 2 : 1);
}

bool TraceDenoiser::HasFollowers(int row) const {
  if (!order_.IsLeader(row)) return false;
  if (row == 0) return plan_.rows.size() > 1 || !order_.complete();
  return row + 1 < static_cast<int>(plan_.rows.size()) && plan_.LeaderOf(row + 1) == row;
}

void TraceDenoiser::BeginRow(int row) {
  ActiveRow begun;
  const auto& slots = plan_.rows[static_cast<size_t>(row)];
  const auto leaders_slot =
      plan_.LeaderOf(row).has_value() ? plan_.AnchorSlotOf(row) : std::nullopt;
  for (size_t k = 0; k < slots.size(); ++k) {
    const bool is_leaders = leaders_slot.has_value() && k == static_cast<size_t>(*leaders_slot);
    if (!is_leaders) begun.slots.push_back(slots[k]);
  }
  begun.state.x = Noise(begun, 0);

  std::vector<int64_t> frames;
  for (const RowSlot& slot : begun.slots) frames.push_back(slot.frame);
  FrameConditions conditions = ConditionsOf(conditions_, frames, executor_->config(), options_);
  begun.C = std::move(conditions.C);
  begun.C_dropped = std::move(conditions.C_dropped);
  if (executor_->config().landmark_map) {
    begun.extra = executor_->EmbedMaps(conditions.landmark_map);
  }
  active_[row] = std::move(begun);
}

Tensor TraceDenoiser::Noise(const ActiveRow& row, int step) const {
  std::vector<Tensor> slots;
  for (const RowSlot& slot : row.slots) slots.push_back(noise_(slot.frame, step));
  return torch::stack(slots);
}

// With guidance two rows of the executor each, the second without the appearance.
std::vector<ExecutorRow> TraceDenoiser::Begin(int num_rows) {
  steps_ = order_.Next(num_rows);
  std::vector<ExecutorRow> rows;
  for (const RowStep& step : steps_) {
    if (step.first) BeginRow(step.row);
    const ActiveRow& active = active_.at(step.row);
    for (size_t half = 0; half < (options_.guided() ? 2 : 1); ++half) {
      ExecutorRow row;
      row.x = active.state.x;
      row.t = schedule_.timestep(schedule_.size() - 1 - step.step);
      row.C = half == 0 ? active.C : active.C_dropped;
      row.extra = active.extra;
      if (half == 0 && source_.has_value()) row.source = &*source_;
      if (const auto slot = plan_.AnchorSlotOf(step.row); slot.has_value()) row.anchor_slot = *slot;
      if (const auto leader = plan_.LeaderOf(step.row); leader.has_value()) {
        row.trace = &traces_.at({*leader, step.step})[half];
      }
      if (HasFollowers(step.row)) {
        row.record = &traces_[{step.row, step.step}][half];
        if (const LinkedScene* scene = plan_.SceneOf(step.row); scene != nullptr) {
          // Before the slot that the row does not compute.
          row.recorded_frame = scene->anchor_slot;
        }
      }
      rows.push_back(std::move(row));
    }
  }
  return rows;
}

absl::StatusOr<std::vector<FinishedFrame>> TraceDenoiser::Finish(absl::Span<const Tensor> outputs) {
  std::vector<FinishedFrame> finished;
  size_t next = 0;
  for (const RowStep& step : steps_) {
    ActiveRow& active = active_.at(step.row);
    Tensor output = outputs[next++];
    if (options_.guided()) {
      output = Guide(output, outputs[next++], executor_->config(), options_);
    }
    SamplerStep(
        schedule_, schedule_.size() - 1 - step.step, output, options_,
        [&] { return Noise(active, step.step + 1); }, &active.state);
    if (!step.last) continue;
    for (size_t k = 0; k < active.slots.size() && step.shows; ++k) {
      if (active.slots[k].duplicate) continue;
      finished.push_back({active.slots[k].frame, active.state.x[static_cast<int64_t>(k)].clone()});
      if (auto status = CheckFinite(finished.back()); !status.ok()) return status;
    }
    active_.erase(step.row);
  }
  order_.Advance(steps_);
  DropTraces();
  return finished;
}

}  // namespace reenact
