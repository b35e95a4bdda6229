// One clip denoised from noise to latents by each of the methods that are compared.
//
//  override        the paper as written: every row in the batch, anchor tokens overwritten
//                  (override_denoiser.h; libtorch)
//  anchored        the same by anchor trace (trace_denoiser.h)
//  independent     the same rows, each computed whole, nothing shared
//  multidiffusion  overlapping windows of T neighbouring frames; in every step a frame's
//  predictions
//                  are averaged over its windows
// All but the first run on a RowExecutor, so that their difference is that of the work, not of the
// kernels.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "pipeline/anchored/row_plan.h"
#include "pipeline/anchored/row_schedule.h"
#include "pipeline/diffusion/schedule.h"
#include "pipeline/engine/sampling.h"
#include "pipeline/models/row_executor.h"
#include "pipeline/models/sdit.h"
#include "tests/bench/measure.h"

namespace reenact::bench {

enum class Method { kOverride, kAnchored, kIndependent, kMultiDiffusion };

// "anchored", "override", "independent", "multidiffusion".
const std::vector<std::string>& MethodNames();
// `name` must be one of them.
Method MethodNamed(const std::string& name);

// What is denoised. Plain data; networks are shared.
struct ClipSpec {
  SDiT sdit{nullptr};               // the weights; kOverride computes with it
  RowExecutor* executor = nullptr;  // for the others
  int num_frames = 0;
  int num_steps = 0;
  SequencePlan plan = SequencePlan::kContiguous;
  uint64_t seed = 0;
  Conditions conditions;
  SamplingOptions sampling;
  // Rows in one step (kMultiDiffusion: all windows, always). 0: all rows of the clip.
  int rows_per_step = 0;
  // Rows in a step until the first row has ended. 0: as rows_per_step. kAnchored, kIndependent.
  int first_rows = 0;
  TraceForm form = TraceForm::kRetained;  // kAnchored
};

struct ClipRun {
  Elapsed whole;
  Elapsed first_frames;  // until the first frames were finished, `on_finished` included
  int num_rows = 0;      // of the plan, or windows
  int num_forwards = 0;  // calls of the network
  double gflop = 0;      // of all of them
  int64_t max_trace_bytes = 0;
  std::vector<FinishedFrame> frames;  // every frame once, in the order they were finished
};

// Called with frames just finished, inside the measured time.
using OnFinished = std::function<absl::Status(const std::vector<FinishedFrame>&)>;

// kInvalidArgument: the parts do not fit. `on_finished` may be null.
absl::StatusOr<ClipRun> RunClip(Method method, const ClipSpec& spec, const OnFinished& on_finished);

// First frames of windows of `width` over `num_frames` frames, `step` apart; the last is moved back
// so that it ends with the clip.
std::vector<int> WindowStarts(int num_frames, int width, int step);

// The largest difference of two runs' latents over the largest value of the first.
double RelativeDifference(const ClipRun& a, const ClipRun& b);

}  // namespace reenact::bench
