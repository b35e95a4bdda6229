// Runs jobs through the engine, several at once, as the service would.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "pipeline/engine.h"
#include "pipeline/image.h"
#include "pipeline/types.h"

namespace reenact {

struct EvalJob {
  JobRequest request;   // the format is kRawRgb whatever it says
  std::string driving;  // bytes of a video file
};

struct EvalJobResult {
  std::vector<Image> frames;  // one per driving frame, in order
  JobSummary summary;
};

// All jobs side by side: their rows are denoised together, everything else on `threads` threads.
// One result per job, in order; a job that fails does not disturb the others. Memory grows with the
// jobs' frames.
std::vector<absl::StatusOr<EvalJobResult>> RunEvalJobs(Engine& engine,
                                                       const std::vector<EvalJob>& jobs,
                                                       int threads);

}  // namespace reenact
