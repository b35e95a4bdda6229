#include "pipeline/anchored/clip_plan.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace reenact {
namespace {

const char* PlanName(SequencePlan plan) {
  switch (plan) {
    case SequencePlan::kCentralRandom:
      return "central_random";
    case SequencePlan::kCentralInterleaved:
      return "central_interleaved";
    case SequencePlan::kContiguous:
      return "contiguous";
    case SequencePlan::kBalanced:
      return "balanced";
  }
  return "";
}

absl::Status Mismatch(absl::string_view field, absl::string_view value, absl::string_view rule) {
  return absl::InvalidArgumentError(absl::StrCat(field, " is ", value, ", must ", rule));
}

}  // namespace

const char* MethodName(LongVideoMethod method) {
  switch (method) {
    case LongVideoMethod::kAnchored:
      return "anchored";
    case LongVideoMethod::kMultiDiffusion:
      return "multidiffusion";
    case LongVideoMethod::kOverlapped:
      return "overlapped";
    case LongVideoMethod::kIndependent:
      return "independent";
  }
  return "";
}

absl::Status CheckLongVideo(const JobRequest& request, int frames_per_row) {
  const bool per_scene = request.anchors == AnchorPlacement::kPerScene;
  const bool has_window = request.window.frames.has_value() || request.window.overlap.has_value();
  if (request.method == LongVideoMethod::kAnchored) {
    if (has_window) {
      return Mismatch("window", "set", "be unset with the long_video_method anchored");
    }
    if (per_scene && (request.live.has_value() || request.plan == SequencePlan::kContiguous)) {
      return Mismatch(
          "anchor_placement", "per_scene",
          "be single with live driving and the sequence_plan contiguous, whose rows are "
          "begun before all scenes are known");
    }
    return absl::OkStatus();
  }
  const char* method = MethodName(request.method);
  if (request.live.has_value()) {
    return Mismatch("long_video_method", method, "be anchored with live driving");
  }
  if (per_scene) {
    return Mismatch("anchor_placement", "per_scene",
                    absl::StrCat("be unset with the long_video_method ", method));
  }
  if (request.plan != SequencePlan::kCentralRandom) {
    return Mismatch("sequence_plan", PlanName(request.plan),
                    absl::StrCat("be unset with the long_video_method ", method));
  }
  return ChooseWindowSize(request.method, request.window, frames_per_row).status();
}

int ClipPlan::num_rows() const {
  return static_cast<int>(windows.empty() ? rows.rows.size() : windows.size());
}

int ClipPlan::frames_per_row() const {
  return windows.empty() ? rows.frames_per_row : windows.front().count;
}

absl::StatusOr<ClipPlan> PlanClip(const JobRequest& request, int num_frames, int frames_per_row,
                                  absl::Span<const int> cuts) {
  ClipPlan plan;
  plan.method = request.method;
  if (request.method == LongVideoMethod::kAnchored) {
    if (request.anchors == AnchorPlacement::kSingle) cuts = {};
    if (!cuts.empty() && cuts.front() == 0) cuts.remove_prefix(1);
    auto rows = cuts.empty()
                    ? PlanRows(num_frames, frames_per_row, request.plan, request.seed)
                    : PlanScenes(num_frames, frames_per_row, cuts, request.plan, request.seed);
    if (!rows.ok()) return rows.status();
    plan.rows = *std::move(rows);
    return plan;
  }
  const auto size = ChooseWindowSize(request.method, request.window, frames_per_row);
  if (!size.ok()) return size.status();
  if (request.method == LongVideoMethod::kIndependent) {
    auto rows = PlanIndependentRows(num_frames, size->width);
    if (!rows.ok()) return rows.status();
    plan.rows = *std::move(rows);
    return plan;
  }
  auto windows =
      PlanWindows(num_frames, size->width, size->overlap,
                  request.method == LongVideoMethod::kMultiDiffusion ? WindowTail::kMovedBack
                                                                     : WindowTail::kShort);
  if (!windows.ok()) return windows.status();
  plan.windows = *std::move(windows);
  return plan;
}

}  // namespace reenact
