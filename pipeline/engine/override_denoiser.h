// From noise to latents: the reverse process of one clip under the anchored override as the paper
// writes it (section 3.2): row 0 is in the batch of every pass and its anchor tokens replace those
// of the others. What trace_denoiser.h, which does the same with less work, is tested and measured
// against.
//
// The rows of a clip run in passes (PlanPasses). Each pass denoises its rows from the first step to
// the last, together with row 0, whose anchor tokens replace theirs. Row 0 reads no other row and
// all noise is a function of (frame, step), so it is the same in every pass, and so is the result
// of a row whatever else is in its pass (up to the rounding of matrix products, which may depend on
// the batch size). Memory is that of one pass; finished frames leave with the last step of theirs.
//
// Owned by one thread at a time. The network computes in the number format of its parameters, on
// the CPU; latents and sampler updates are float32.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "pipeline/anchored/row_plan.h"
#include "pipeline/diffusion/schedule.h"
#include "pipeline/engine/sampling.h"
#include "pipeline/models/sdit.h"
#include "torch/torch.h"

namespace reenact {

class OverrideDenoiser {
 public:
  // `sdit` is shared and only read. kInvalidArgument: the parts do not fit each other.
  static absl::StatusOr<OverrideDenoiser> Create(SDiT sdit, Schedule schedule, RowPlan plan,
                                                 Conditions conditions, NoiseSource noise,
                                                 const SamplingOptions& options,
                                                 int max_rows_per_pass);

  int64_t total_steps() const { return static_cast<int64_t>(passes_.size()) * schedule_.size(); }
  int64_t steps_done() const { return steps_done_; }
  bool done() const { return steps_done_ == total_steps(); }
  // Rows denoised, summed over the steps; row 0 counts in every pass.
  int64_t rows_run() const { return rows_run_; }
  const std::vector<Pass>& passes() const { return passes_; }

  // Runs the next step; not after done(). Returns the frames it finished: those of the pass if it
  // was the pass's last step, else none. After an error (kInternal) the job is lost.
  absl::StatusOr<std::vector<FinishedFrame>> Step();

  // The latents of the current pass after the last Step, [rows, T, C, h, w]. For tests.
  const torch::Tensor& latents() const { return state_.x; }

 private:
  OverrideDenoiser(SDiT sdit, Schedule schedule, RowPlan plan, Conditions conditions,
                   NoiseSource noise, const SamplingOptions& options, int max_rows_per_pass);

  const Pass& pass() const { return passes_[static_cast<size_t>(steps_done_ / schedule_.size())]; }
  // [rows, T, C, h, w] of the pass.
  torch::Tensor Noise(int step) const;
  void BeginPass();
  torch::Tensor Predict(int64_t timestep);
  std::vector<FinishedFrame> FinishedFrames() const;

  SDiT sdit_;
  torch::Dtype dtype_;
  Schedule schedule_;
  RowPlan plan_;
  Conditions conditions_;
  NoiseSource noise_;
  SamplingOptions options_;
  std::vector<Pass> passes_;
  int64_t steps_done_ = 0;
  int64_t rows_run_ = 0;

  // Of the current pass. The network's input without and with the appearance dropped.
  SamplerState state_;
  SDiTInput input_, dropped_;
};

}  // namespace reenact
