// Which frames of a clip are denoised together, by the method a caller chose. Pure functions.
#pragma once

#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "pipeline/anchored/row_plan.h"
#include "pipeline/anchored/window_plan.h"
#include "pipeline/types.h"

namespace reenact {

// "anchored", "multidiffusion", "overlapped", "independent".
const char* MethodName(LongVideoMethod method);

// Whether the request's method, window, anchor placement and sequence plan go together.
// kInvalidArgument names the field.
absl::Status CheckLongVideo(const JobRequest& request, int frames_per_row);

struct ClipPlan {
  LongVideoMethod method = LongVideoMethod::kAnchored;
  RowPlan rows;                      // of kAnchored and kIndependent
  std::vector<FrameWindow> windows;  // of the others

  int num_rows() const;
  // The most frames a row computes or attends to.
  int frames_per_row() const;
  // Slots whose results are thrown away.
  int num_padding_slots() const { return rows.num_padding_slots; }
};

// Of a clip that is complete, for a request that CheckLongVideo lets pass. `cuts`: the frames that
// begin a scene, in order; frame 0 does so anyhow.
absl::StatusOr<ClipPlan> PlanClip(const JobRequest& request, int num_frames, int frames_per_row,
                                  absl::Span<const int> cuts);

}  // namespace reenact
