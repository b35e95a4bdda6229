// From noise to latents by anchor trace (row_executor.h): the reverse process of one clip, row by
// row, and steps that hold rows of many clips. Gives what OverrideDenoiser gives, without computing
// the anchor frame again in every row.
//
// Rows take their steps in the order of a RowSchedule. Noise is a function of (frame, step), so a
// row's result does not depend on when it runs or beside what, up to the rounding of the executor
// (none if it is deterministic).
//
// Memory: per row that has begun and not ended its latents and, with landmark maps, [T, S, D]; the
// traces kept. Owned by one thread at a time.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "pipeline/anchored/row_plan.h"
#include "pipeline/anchored/row_schedule.h"
#include "pipeline/diffusion/schedule.h"
#include "pipeline/engine.h"
#include "pipeline/engine/clip_denoiser.h"
#include "pipeline/engine/sampling.h"
#include "pipeline/models/row_executor.h"
#include "torch/torch.h"

namespace reenact {

class TraceDenoiser final : public ClipDenoiser {
 public:
  // `executor` must outlive the denoiser. `complete`: the plan has all rows of the clip.
  // kInvalidArgument: the parts do not fit each other.
  static absl::StatusOr<TraceDenoiser> Create(RowExecutor& executor, Schedule schedule,
                                              RowPlan plan, Conditions conditions,
                                              NoiseSource noise, const SamplingOptions& options,
                                              const RowSchedule::Options& order,
                                              bool complete = true);

  TraceDenoiser(TraceDenoiser&&) = default;
  TraceDenoiser& operator=(TraceDenoiser&&) = delete;

  int64_t total_row_steps() const override { return order_.total_row_steps(); }
  int64_t row_steps_done() const override { return order_.row_steps_done(); }
  bool done() const override { return order_.done(); }
  RowDemand demand() const override { return order_.demand(); }
  int num_open_rows() const override { return order_.num_open_rows(); }
  void AddRow(std::vector<RowSlot> row) override;
  void Complete() override;

  // Bytes of the traces kept now.
  int64_t trace_bytes() const;
  // What kRetained keeps at most for a clip of this many steps and scenes with an anchor each.
  static int64_t RetainedBytes(const RowExecutor& executor, int num_steps, bool guided,
                               int num_scenes = 1);
  // Work of one row step of T frames, guidance included.
  static double GflopPerRowStep(const SDiTConfig& config, bool guided);

 protected:
  std::vector<ExecutorRow> Begin(int num_rows) override;
  absl::StatusOr<std::vector<FinishedFrame>> Finish(
      absl::Span<const torch::Tensor> outputs) override;

 private:
  // The two runs of guidance; index 1 is the run with the appearance dropped.
  using Halves = std::array<AnchorTrace, 2>;

  // A row that has begun and not ended. K frames: all slots, or all but that of its leader's
  // anchor.
  struct ActiveRow {
    std::vector<RowSlot> slots;
    SamplerState state;          // [K, C, h, w]
    torch::Tensor C, C_dropped;  // [K, D]
    torch::Tensor extra;         // [K, S, D], with landmark maps
  };

  TraceDenoiser(RowExecutor& executor, Schedule schedule, RowPlan plan, Conditions conditions,
                NoiseSource noise, const SamplingOptions& options,
                const RowSchedule::Options& order, bool complete);

  // Whether rows that are there or may come attend to the row's anchor.
  bool HasFollowers(int row) const;
  void BeginRow(int row);
  torch::Tensor Noise(const ActiveRow& row, int step) const;

  // Forgets the traces no row will ask for.
  void DropTraces();

  RowExecutor* executor_;
  Schedule schedule_;
  RowPlan plan_;
  Conditions conditions_;
  NoiseSource noise_;
  SamplingOptions options_;
  RowSchedule order_;
  std::optional<ExecutorSource> source_;
  std::vector<RowStep> steps_;                    // those that Begin gave
  std::map<int, ActiveRow> active_;               // by row
  std::map<std::pair<int, int>, Halves> traces_;  // by leader and step
};

}  // namespace reenact
