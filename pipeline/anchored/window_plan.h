// Splits the N frames of a clip into windows of neighbouring frames, which are denoised together
// (LongVideoMethod). Pure functions.
//
// A window begins `width` less `overlap` frames after the one before, the first with the clip; the
// last is the first that reaches the clip's end. If it would reach beyond, it is short or is moved
// back (WindowTail). A clip of fewer frames than `width` has one window of all of them. A network
// of T frames denoises fewer as frames of its first slots.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "pipeline/anchored/row_plan.h"
#include "pipeline/types.h"

namespace reenact {

enum class WindowTail {
  kShort,      // the last window has fewer frames
  kMovedBack,  // it overlaps the one before by more
};

struct FrameWindow {
  int first = 0;  // frame
  int count = 0;
  int end() const { return first + count; }
};

// In the order of their first frames, which rise; so do their ends. kInvalidArgument:
// `num_frames` or `width` below 1, `overlap` not in 0..width-1.
absl::StatusOr<std::vector<FrameWindow>> PlanWindows(int num_frames, int width, int overlap,
                                                     WindowTail tail);

// Width and overlap by WindowOptions' defaults for rows of T frames. kInvalidArgument names the
// field. `method` is not kAnchored.
struct WindowSize {
  int width = 0;
  int overlap = 0;
};
absl::StatusOr<WindowSize> ChooseWindowSize(LongVideoMethod method, const WindowOptions& options,
                                            int frames_per_row);

// LongVideoMethod::kIndependent: windows of `width` as rows that share nothing; where the last is
// moved back, the frames that it repeats are duplicates. kInvalidArgument as PlanWindows.
absl::StatusOr<RowPlan> PlanIndependentRows(int num_frames, int width);

}  // namespace reenact
