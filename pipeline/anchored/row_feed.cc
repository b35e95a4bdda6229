#include "pipeline/anchored/row_feed.h"

#include <algorithm>
#include <cstddef>
#include <utility>

namespace reenact {

void RowFeed::AddFrame(absl::Time arrived) { waiting_.push_back({num_frames_++, arrived}); }

std::vector<int> RowFeed::TakeFrames(int count) {
  std::vector<int> taken;
  const int available = num_waiting();
  const bool skip = live_.has_value() && live_->skip == SkipPolicy::kSkip && has_first_;
  const int through = skip ? available : std::min(count, available);
  const int used = std::min(count, through);
  for (int i = 0; i < through; ++i) {
    // Of `through` frames the last of each of `used` equal stretches.
    const bool ends_stretch = (i + 1) * used / through > i * used / through;
    (ends_stretch ? taken : skipped_).push_back(waiting_[static_cast<size_t>(i)].frame);
  }
  waiting_.erase(waiting_.begin(), waiting_.begin() + through);
  return taken;
}

std::optional<std::vector<RowSlot>> RowFeed::NextRow(absl::Time now, int num_open_rows) {
  if (waiting_.empty()) return std::nullopt;
  const bool anchored = frames_per_row_ > 1;
  const int full = has_first_ && anchored ? frames_per_row_ - 1 : frames_per_row_;
  if (live_.has_value() && has_first_) {
    if (live_->skip == SkipPolicy::kSkip && num_open_rows > 0) return std::nullopt;
    const bool waited = now - waiting_.front().arrived >= live_->max_wait && num_open_rows == 0;
    if (num_waiting() < full && !finished_ && !waited) return std::nullopt;
  } else if (num_waiting() < full && !finished_) {
    return std::nullopt;
  }
  const std::vector<int> frames = TakeFrames(full);
  std::vector<RowSlot> row;
  if (!anchored) {
    row = {{frames[0], false}};
    plan_.frames_per_row = 1;
  } else if (has_first_) {
    row = FollowerRow(frames, plan_);
  } else {
    // Cannot fail: there is a frame.
    plan_ = *PlanRows(static_cast<int>(frames.size()), frames_per_row_, SequencePlan::kContiguous,
                      /*seed=*/0);
    row = std::move(plan_.rows[0]);
    plan_.rows.clear();
  }
  has_first_ = true;
  num_padding_slots_ += PaddingSlots(row, plan_);
  return row;
}

std::vector<int> RowFeed::TakeSkipped() { return std::exchange(skipped_, {}); }

}  // namespace reenact
