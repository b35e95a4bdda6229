// The paper's Figure 7: how much landmarks and the source's appearance are worth at every timestep.
//
// The paper trains four networks (no guidance, landmarks, CLIP, both) and divides the squared error
// of each at a timestep by that of the one without guidance. A bundle has one network that was
// trained with conditions left out at times; here the same network denoises the same noisy frames
// with and without each condition. What the network does with a combination it seldom saw in
// training is therefore part of the result.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "eval/evaluation.h"
#include "eval/held_out_clip.h"
#include "eval/networks.h"

namespace reenact {

// What the network is told.
struct GuidanceSignals {
  const char* name;
  bool landmarks = false;  // L of every frame, and its map
  bool clip = false;       // G
  bool source = false;     // source tokens, for networks that have them
};

// The first tells nothing; then landmarks, CLIP, both, and, if `source_tokens`, those with the
// source tokens too.
std::vector<GuidanceSignals> AllGuidanceSignals(bool source_tokens);

// Mean squared errors of the predicted noise, [signals][timesteps], over one row of frames of each
// of the clips (spread evenly over it; the same noise for all signals). `held_out.num_frames` at
// least the network's T. Of a network that predicts v or x0 the noise follows from it.
absl::StatusOr<std::vector<std::vector<double>>> MeasureGuidance(
    const EvalNetworks& networks, const HeldOutOptions& held_out, int num_clips,
    absl::Span<const GuidanceSignals> signals, absl::Span<const int64_t> timesteps, uint64_t seed,
    int threads, const ReportProgress& report);

}  // namespace reenact
