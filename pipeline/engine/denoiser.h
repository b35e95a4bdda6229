// From noise to latents: the reverse process of one clip under the anchored override (paper,
// section 3.2), the plain reference form: row 0 is in the batch of every pass.
//
// The rows of a clip run in passes (PlanPasses). Each pass denoises its rows from the first step to
// the last, together with row 0, whose anchor tokens replace theirs. Row 0 reads no other row and
// all noise is a function of (frame, step), so it is the same in every pass, and so is the result
// of a row whatever else is in its pass (up to the rounding of matrix products, which may depend on
// the batch size). Memory is that of one pass; finished frames leave with the last step of theirs.
//
// Guidance (scale s != 1) runs the network a second time per step without the appearance: the null
// vector in place of G, source tokens hidden; the landmarks stay. The prediction becomes
// without + s * (with - without), on the latent channels; a learned variance is taken from the run
// with it. Each run has its own override.
//
// Owned by one thread at a time. Works in float32 on the CPU.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "pipeline/anchored/row_plan.h"
#include "pipeline/diffusion/samplers.h"
#include "pipeline/diffusion/schedule.h"
#include "pipeline/models/sdit.h"
#include "pipeline/types.h"
#include "torch/torch.h"

namespace reenact {

// What the network is told, made once per job. N frames, D hidden size, S tokens of a frame.
struct Conditions {
  torch::Tensor C;          // [N, D], SDiT::map of (G, the frame's landmarks)
  torch::Tensor C_dropped;  // [N, D], of (null_clip, landmarks); only for guidance
  std::optional<torch::Tensor> source_latent;        // [C, h, w], scaled; none: a text source
  std::optional<torch::Tensor> source_C;             // [D]
  std::optional<torch::Tensor> source_landmark_map;  // [S, 192]
  // [S, 192] of a frame; asked once per slot and pass, so that maps need not be kept for all
  // frames. Only for networks with landmark maps.
  std::function<torch::Tensor(int frame)> landmark_map;
};

// [C, h, w] for a frame: step 0 is the initial noise, k >= 1 that of the k-th step. Must be pure.
using NoiseSource = std::function<torch::Tensor(int frame, int step)>;

struct DenoiserOptions {
  Prediction prediction = Prediction::kEpsilon;
  Sampler sampler = Sampler::kDdim;
  double ddim_eta = 0;
  double guidance_scale = 1;
  int max_rows_per_pass = 8;
};

struct FinishedFrame {
  int frame = 0;
  torch::Tensor latent;  // [C, h, w], scaled, its own memory
};

class Denoiser {
 public:
  // `sdit` is shared and only read. kInvalidArgument: the parts do not fit each other.
  static absl::StatusOr<Denoiser> Create(SDiT sdit, Schedule schedule, RowPlan plan,
                                         Conditions conditions, NoiseSource noise,
                                         const DenoiserOptions& options);

  int64_t total_steps() const { return static_cast<int64_t>(passes_.size()) * schedule_.size(); }
  int64_t total_row_steps() const;
  int64_t steps_done() const { return steps_done_; }
  bool done() const { return steps_done_ == total_steps(); }
  // Rows denoised, summed over the steps; row 0 counts in every pass.
  int64_t rows_run() const { return rows_run_; }
  const std::vector<Pass>& passes() const { return passes_; }
  // Rows of the next Step; 0 after done().
  int num_pass_rows() const { return done() ? 0 : static_cast<int>(pass().rows.size()); }

  // Runs the next step; not after done(). Returns the frames it finished: those of the pass if it
  // was the pass's last step, else none. After an error (kInternal) the job is lost.
  absl::StatusOr<std::vector<FinishedFrame>> Step();

  // The latents of the current pass after the last Step, [rows, T, C, h, w]. For tests.
  const torch::Tensor& latents() const { return x_; }

 private:
  Denoiser(SDiT sdit, Schedule schedule, RowPlan plan, Conditions conditions, NoiseSource noise,
           const DenoiserOptions& options);

  const Pass& pass() const { return passes_[static_cast<size_t>(steps_done_ / schedule_.size())]; }
  // [rows, T, C, h, w] of the pass.
  torch::Tensor Noise(int step) const;
  void BeginPass();
  torch::Tensor Predict(int64_t timestep);
  std::vector<FinishedFrame> FinishedFrames() const;

  SDiT sdit_;
  Schedule schedule_;
  RowPlan plan_;
  Conditions conditions_;
  NoiseSource noise_;
  DenoiserOptions options_;
  std::vector<Pass> passes_;
  int64_t steps_done_ = 0;
  int64_t rows_run_ = 0;

  // Of the current pass. The network's input without and with the appearance dropped.
  torch::Tensor x_;
  SDiTInput input_, dropped_;
};

}  // namespace reenact
