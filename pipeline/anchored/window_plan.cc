#include "pipeline/anchored/window_plan.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace reenact {
namespace {

absl::Status OutOfRange(absl::string_view field, int value, int min, int max) {
  return absl::InvalidArgumentError(
      absl::StrCat(field, " must be ", min, "..", max, ", is ", value));
}

}  // namespace

absl::StatusOr<std::vector<FrameWindow>> PlanWindows(int num_frames, int width, int overlap,
                                                     WindowTail tail) {
  if (num_frames < 1 || width < 1 || overlap < 0 || overlap >= width) {
    return absl::InvalidArgumentError(absl::StrCat("cannot plan windows of ", width,
                                                   " frames that share ", overlap, " over ",
                                                   num_frames, " frames"));
  }
  std::vector<FrameWindow> windows;
  for (int first = 0;; first += width - overlap) {
    FrameWindow window = {.first = first, .count = std::min(width, num_frames - first)};
    if (tail == WindowTail::kMovedBack) {
      window.count = std::min(width, num_frames);
      window.first = std::min(first, num_frames - window.count);
    }
    windows.push_back(window);
    if (window.end() == num_frames) return windows;
  }
}

absl::StatusOr<WindowSize> ChooseWindowSize(LongVideoMethod method, const WindowOptions& options,
                                            int frames_per_row) {
  WindowSize size;
  size.width = options.frames.value_or(frames_per_row);
  if (size.width < 1 || size.width > frames_per_row) {
    return OutOfRange("window.frames", size.width, 1, frames_per_row);
  }
  if (method == LongVideoMethod::kIndependent) {
    if (!options.overlap.has_value()) return size;
    return absl::InvalidArgumentError(
        absl::StrCat("window.overlap is ", *options.overlap,
                     ", must not be given with the long video method independent"));
  }
  const int by_default = method == LongVideoMethod::kMultiDiffusion
                             ? size.width / 2
                             : std::min(std::max(1, size.width / 4), size.width - 1);
  size.overlap = options.overlap.value_or(by_default);
  if (size.overlap < 0 || size.overlap >= size.width) {
    return OutOfRange("window.overlap", size.overlap, 0, size.width - 1);
  }
  return size;
}

absl::StatusOr<RowPlan> PlanIndependentRows(int num_frames, int width) {
  auto windows = PlanWindows(num_frames, width, 0, WindowTail::kMovedBack);
  if (!windows.ok()) return windows.status();
  RowPlan plan;
  plan.num_frames = num_frames;
  plan.frames_per_row = windows->front().count;
  int next = 0;
  for (const FrameWindow& window : *windows) {
    std::vector<RowSlot> row;
    for (int frame = window.first; frame < window.end(); ++frame) {
      row.push_back({.frame = frame, .duplicate = frame < next});
      plan.num_padding_slots += frame < next ? 1 : 0;
    }
    next = window.end();
    plan.rows.push_back(std::move(row));
  }
  return plan;
}

}  // namespace reenact
