// In which order the windows of one clip take their denoising steps, when each step of a frame
// needs the predictions of all windows that hold it. Pure bookkeeping; window_denoiser.h does the
// work.
//
// A window can take step k when each of its frames has taken all steps before, which is when all
// windows that overlap it have. The whole clip need not be at the same step: windows are stepped
// lowest first, so that the first frames are there early, and at most max_active_windows() are
// under way at any time, whatever the clip's length. A step's predictions of a frame come in the
// order of its windows, in whatever numbers windows are stepped.
//
// Legend: W windows, K denoising steps. Owned by one thread at a time.
#pragma once

#include <cstdint>
#include <vector>

#include "pipeline/anchored/window_plan.h"
#include "pipeline/engine.h"

namespace reenact {

// One denoising step of one window.
struct WindowStep {
  int window = 0;
  int step = 0;  // 0..K-1, in the order they run
};

// A frame whose windows have all taken a step.
struct FrameStep {
  int frame = 0;
  int step = 0;
};

class WindowSchedule {
 public:
  // `windows`: of PlanWindows. `max_rows`, 1 or more: the most a step may hold.
  WindowSchedule(std::vector<FrameWindow> windows, int num_steps, int max_rows);

  const std::vector<FrameWindow>& windows() const { return windows_; }

  int64_t total_row_steps() const { return int64_t{num_windows()} * num_steps_; }
  int64_t row_steps_done() const { return row_steps_done_; }
  bool done() const { return first_open_ == num_windows(); }
  // Windows that have not ended.
  int num_open_windows() const { return num_windows() - first_open_; }
  // Windows that have begun and not ended, at most: K - 1 times those that a window reaches into
  // on one side, and max_rows + 1.
  int max_active_windows() const { return max_active_; }

  // How many windows the next step may hold: 1 or more until done.
  RowDemand demand() const;
  // What a step of `num_rows` windows, within demand(), would run, in the order of the windows.
  std::vector<WindowStep> Next(int num_rows) const;
  // Says that exactly those have run. The frames that have thereby taken a step.
  std::vector<FrameStep> Advance(const std::vector<WindowStep>& steps);

 private:
  int num_windows() const { return static_cast<int>(windows_.size()); }
  bool CanRun(int window) const;

  const std::vector<FrameWindow> windows_;
  const int num_steps_;
  const int max_rows_;
  int max_active_ = 0;

  int64_t row_steps_done_ = 0;
  int first_open_ = 0;      // the first window that has not ended
  std::vector<int> steps_;  // taken by each window; does not rise
  struct FrameState {
    int num_windows = 0;  // that hold it
    int num_taken = 0;    // of those, have taken the frame's next step
    int steps = 0;        // taken by the frame
  };
  std::vector<FrameState> frames_;
};

}  // namespace reenact
