// The paper's Figure 5: how well long videos hold together.
#pragma once

#include <atomic>
#include <vector>

#include "absl/status/statusor.h"
#include "eval/evaluation.h"
#include "eval/held_out_clip.h"
#include "eval/networks.h"
#include "pipeline/engine.h"
#include "pipeline/types.h"

namespace reenact {

struct ConsistencyOptions {
  HeldOutOptions held_out;  // num_frames is the longest length
  int num_clips = 1;
  std::vector<int> lengths;  // frames, ascending, each 2 or more
  std::vector<LongVideoMethod> methods;
  JobRequest request;  // as EvaluationOptions::request
  int jobs = 4;
  int threads = 1;
  const std::atomic<bool>* stop = nullptr;
};

// Of one method and length: what its clips measured, in the order of the clips.
struct ConsistencyCell {
  std::vector<double> self_csim;         // the paper's
  std::vector<double> least_cosine;      // within the generated video
  std::vector<double> driving_cosine;    // within the driving video
  std::vector<double> neighbour_change;  // mean |difference| of neighbouring frames over driving's
};

// [method][length]. People drive themselves; every length begins at the clip's first frame.
absl::StatusOr<std::vector<std::vector<ConsistencyCell>>> MeasureConsistency(
    Engine& engine, const EvalNetworks& networks, const ConsistencyOptions& options,
    const ReportProgress& report);

}  // namespace reenact
