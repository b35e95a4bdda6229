// The paper's Figure 5: how well long videos hold together.
#pragma once

#include <atomic>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "eval/evaluation.h"
#include "eval/held_out_clip.h"
#include "eval/journal.h"
#include "eval/networks.h"
#include "eval/protocol.h"
#include "pipeline/engine.h"
#include "pipeline/types.h"

namespace reenact {

struct ConsistencyOptions {
  HeldOutOptions held_out;  // num_frames is the longest length
  int num_clips = 1;
  std::vector<int> lengths;  // frames, ascending, each 2 or more
  std::vector<Way> ways;
  JobRequest request;  // as EvaluationOptions::request
  int jobs = 4;
  int threads = 1;
  const std::atomic<bool>* stop = nullptr;
  // As EvaluationOptions::journal.
  Journal* journal = nullptr;
};

// What one clip of one way and length measured.
struct ConsistencyMeasures {
  double self_csim = 0;         // the paper's
  double least_cosine = 0;      // within the generated video
  double driving_cosine = 0;    // within the driving video
  double neighbour_change = 0;  // mean |difference| of neighbouring frames over driving's
};

// One clip: [way][length]; none at a length where the portrait or the clip shows no face.
using ConsistencyRecord = std::vector<std::vector<std::optional<ConsistencyMeasures>>>;

// The clips in order; fewer than asked if it was stopped, kCancelled before the first. People drive
// themselves; every length begins at the clip's first frame. What the journal held changes nothing
// in the result. Whatever fails ends it: what the journal holds by then is kept.
absl::StatusOr<std::vector<ConsistencyRecord>> MeasureConsistency(Engine& engine,
                                                                  const EvalNetworks& networks,
                                                                  const ConsistencyOptions& options,
                                                                  const ReportProgress& report);

}  // namespace reenact
