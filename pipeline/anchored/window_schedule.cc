#include "pipeline/anchored/window_schedule.h"

#include <algorithm>
#include <cstddef>
#include <utility>

namespace reenact {

WindowSchedule::WindowSchedule(std::vector<FrameWindow> windows, int num_steps, int max_rows)
    : windows_(std::move(windows)),
      num_steps_(num_steps),
      max_rows_(std::max(max_rows, 1)),
      steps_(windows_.size(), 0),
      frames_(static_cast<size_t>(windows_.empty() ? 0 : windows_.back().end())) {
  int reach = 0;
  for (size_t w = 0; w < windows_.size(); ++w) {
    size_t v = w + 1;
    while (v < windows_.size() && windows_[v].first < windows_[w].end()) ++v;
    reach = std::max(reach, static_cast<int>(v - w - 1));
    for (int frame = windows_[w].first; frame < windows_[w].end(); ++frame) {
      ++frames_[static_cast<size_t>(frame)].num_windows;
    }
  }
  // A window waits for the `reach` after it to be no more than a step behind, and so do those: to
  // its last step it needs reach * (K - 1) others. The rest keeps whole steps full.
  max_active_ = reach * (num_steps_ - 1) + 1 + max_rows_;
}

bool WindowSchedule::CanRun(int window) const {
  const int steps = steps_[static_cast<size_t>(window)];
  if (steps == num_steps_) return false;
  const auto first = frames_.begin() + windows_[static_cast<size_t>(window)].first;
  return std::all_of(first, first + windows_[static_cast<size_t>(window)].count,
                     [steps](const FrameState& frame) { return frame.steps == steps; });
}

std::vector<WindowStep> WindowSchedule::Next(int num_rows) const {
  std::vector<WindowStep> next;
  const int end = std::min(num_windows(), first_open_ + max_active_);
  for (int w = first_open_; w < end && static_cast<int>(next.size()) < num_rows; ++w) {
    if (CanRun(w)) next.push_back({.window = w, .step = steps_[static_cast<size_t>(w)]});
  }
  return next;
}

RowDemand WindowSchedule::demand() const {
  const int rows = static_cast<int>(Next(max_rows_).size());
  return {.min_rows = std::min(rows, 1), .max_rows = rows};
}

std::vector<FrameStep> WindowSchedule::Advance(const std::vector<WindowStep>& steps) {
  std::vector<FrameStep> taken;
  for (const WindowStep& step : steps) {
    const FrameWindow& window = windows_[static_cast<size_t>(step.window)];
    ++steps_[static_cast<size_t>(step.window)];
    for (int f = window.first; f < window.end(); ++f) {
      FrameState& frame = frames_[static_cast<size_t>(f)];
      if (++frame.num_taken < frame.num_windows) continue;
      frame.num_taken = 0;
      taken.push_back({.frame = f, .step = frame.steps++});
    }
  }
  row_steps_done_ += static_cast<int64_t>(steps.size());
  while (first_open_ < num_windows() && steps_[static_cast<size_t>(first_open_)] == num_steps_) {
    ++first_open_;
  }
  return taken;
}

}  // namespace reenact
