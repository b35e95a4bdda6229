// Makes rows of the frames of a clip while they come (SequencePlan::kContiguous): row 0 of the
// first T frames, each further row of the next T-1. Pure bookkeeping.
//
// Frames of live driving wait no longer than they must: a row of fewer frames is made when the
// first of them has waited for `max_wait` and no other row is under way. With SkipPolicy::kSkip a
// row is made only when no other is under way, of all frames that wait; of more than T-1 some are
// skipped, evenly, never the newest: rows need not be uniform, and so the output keeps up at the
// cost of its frame rate.
//
// Thread-compatible.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "absl/time/time.h"
#include "pipeline/anchored/row_plan.h"
#include "pipeline/types.h"

namespace reenact {

class RowFeed {
 public:
  // `live`: empty for a file, whose frames are all used and wait for each other.
  RowFeed(int frames_per_row, const std::optional<LiveOptions>& live)
      : frames_per_row_(frames_per_row), live_(live) {}

  // Frame num_frames() is there.
  void AddFrame(absl::Time arrived);
  // That was the last.
  void Finish() { finished_ = true; }

  // The next row, if one can be made now. `num_open_rows`: rows made before that have not ended.
  // The first row settles plan().
  std::optional<std::vector<RowSlot>> NextRow(absl::Time now, int num_open_rows);

  // Frames skipped since the last call, in order.
  std::vector<int> TakeSkipped();

  int num_frames() const { return num_frames_; }
  int num_waiting() const { return static_cast<int>(waiting_.size()); }
  // Everything has been made.
  bool done() const { return finished_ && waiting_.empty(); }

  // Where the anchor is; without its rows, which are for the caller to keep.
  const RowPlan& plan() const { return plan_; }
  int num_padding_slots() const { return num_padding_slots_; }

 private:
  struct Waiting {
    int frame = 0;
    absl::Time arrived;
  };
  std::vector<int> TakeFrames(int count);

  const int frames_per_row_;
  const std::optional<LiveOptions> live_;
  int num_frames_ = 0;
  bool finished_ = false;
  std::deque<Waiting> waiting_;
  std::vector<int> skipped_;
  RowPlan plan_;
  bool has_first_ = false;
  int num_padding_slots_ = 0;
};

}  // namespace reenact
