// From noise to latents by overlapping windows of neighbouring frames: in every denoising step the
// network's predictions of a frame by all windows that hold it are averaged, and the frame takes
// its step by the average.
//
//  - LongVideoMethod::kMultiDiffusion (Bar-Tal et al. 2023, as the paper uses it for comparison):
//    what is averaged is the prediction after guidance.
//  - kOverlapped (Make-Your-Anchor's batch-overlapped temporal denoising): the predictions with and
//    without the appearance are averaged each for itself, guidance comes after; all frames begin
//    from the same noise. As guidance is linear, the averages differ by rounding alone.
// A learned variance is averaged as the prediction is. kIndependent needs no averages: it is a
// TraceDenoiser of rows without an anchor (PlanIndependentRows).
//
// Windows take their steps in the order of a WindowSchedule. Noise is a function of (frame, step)
// and predictions are added up in the order of the windows, so the result depends neither on how
// many windows a step holds nor on what runs beside them, up to the rounding of the executor (none
// if it is deterministic).
//
// Memory: of the frames in windows that have begun and not ended the latents and the sums of one
// step; of those windows [frames, D] and, with landmark maps, [frames, S, D]. There are at most
// WindowSchedule::max_active_windows() of them, whatever the clip's length. Owned by one thread at
// a time.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "pipeline/anchored/window_plan.h"
#include "pipeline/anchored/window_schedule.h"
#include "pipeline/diffusion/schedule.h"
#include "pipeline/engine.h"
#include "pipeline/engine/clip_denoiser.h"
#include "pipeline/engine/sampling.h"
#include "pipeline/models/row_executor.h"
#include "pipeline/types.h"
#include "torch/torch.h"

namespace reenact {

class WindowDenoiser final : public ClipDenoiser {
 public:
  // `executor` must outlive the denoiser; `windows` are those of PlanWindows; a step holds at most
  // `max_rows` of them. kInvalidArgument: the parts do not fit each other, or another method.
  static absl::StatusOr<WindowDenoiser> Create(RowExecutor& executor, Schedule schedule,
                                               LongVideoMethod method,
                                               std::vector<FrameWindow> windows,
                                               Conditions conditions, NoiseSource noise,
                                               const SamplingOptions& options, int max_rows);

  WindowDenoiser(WindowDenoiser&&) = default;
  WindowDenoiser& operator=(WindowDenoiser&&) = delete;

  int64_t total_row_steps() const override { return order_.total_row_steps(); }
  int64_t row_steps_done() const override { return order_.row_steps_done(); }
  bool done() const override { return order_.done(); }
  RowDemand demand() const override { return order_.demand(); }
  int num_open_rows() const override { return order_.num_open_windows(); }

  // Windows and frames whose tensors are kept now.
  int num_active_windows() const { return static_cast<int>(active_.size()); }
  int num_active_frames() const { return static_cast<int>(frames_.size()); }

 protected:
  std::vector<ExecutorRow> Begin(int num_rows) override;
  absl::StatusOr<std::vector<FinishedFrame>> Finish(
      absl::Span<const torch::Tensor> outputs) override;

 private:
  struct ActiveWindow {
    torch::Tensor C, C_dropped;  // [frames, D]
    torch::Tensor extra;         // [frames, S, D], with landmark maps
  };
  // A sum of predictions [out_channels, h, w].
  struct Sum {
    torch::Tensor sum;
    int count = 0;
    void Add(const torch::Tensor& prediction);
    // And begins anew.
    torch::Tensor TakeAverage();
  };
  struct ActiveFrame {
    SamplerState state;  // [C, h, w]
    // Of this step: the guided predictions, or those of the two runs of guidance.
    Sum with, without;
  };

  WindowDenoiser(RowExecutor& executor, Schedule schedule, LongVideoMethod method,
                 std::vector<FrameWindow> windows, Conditions conditions, NoiseSource noise,
                 const SamplingOptions& options, int max_rows);

  const FrameWindow& window(int number) const {
    return order_.windows()[static_cast<size_t>(number)];
  }
  bool guides_averages() const {
    return options_.guided() && method_ == LongVideoMethod::kOverlapped;
  }
  void BeginWindow(int number);
  torch::Tensor Guided(const torch::Tensor& with, const torch::Tensor& without) const;

  RowExecutor* executor_;
  Schedule schedule_;
  LongVideoMethod method_;
  Conditions conditions_;
  NoiseSource noise_;
  SamplingOptions options_;
  WindowSchedule order_;
  std::optional<ExecutorSource> source_;
  std::vector<WindowStep> steps_;       // those that Begin gave
  std::map<int, ActiveWindow> active_;  // by window
  std::map<int, ActiveFrame> frames_;   // by frame
};

}  // namespace reenact
