// Splits the N frames of a clip into rows of T slots around one anchor frame (paper, section 3.2).
//
// Every row shows the anchor frame in the same slot a = floor(T/2); its other slots hold frames of
// the clip in time order: a frames from before the anchor, then T-1-a from after it. Slots that
// remain on the shorter side are padded with duplicates, which are computed and thrown away.
//
// Where the paper's layout has no room:
//  - T = 2 has no slot after the anchor, so the last frame is the anchor, for any plan;
//  - T = 1 has no slot beside the anchor, so rows share nothing: one frame each, no anchor slot;
//  - a side without any frame is padded with the anchor frame itself;
//  - kContiguous fills the slots on both sides of the anchor's with frames from after it.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "pipeline/types.h"

namespace reenact {

struct RowSlot {
  int frame = 0;
  // A repetition: of another slot's frame, or (rows 1..) the anchor's. Its result is not shown.
  bool duplicate = false;
};

struct RowPlan {
  int num_frames = 0;
  int frames_per_row = 0;
  int anchor_frame = 0;            // meaningless without an anchor slot
  std::optional<int> anchor_slot;  // none: rows are independent of each other
  // [B][T]. Sorted by their earliest frame. Each frame is in exactly one slot with !duplicate; the
  // anchor's is in row 0.
  std::vector<std::vector<RowSlot>> rows;
  // Duplicates that are not the anchor in its slot.
  int num_padding_slots = 0;
};

// For 1 <= T, 1 <= N; kInvalidArgument otherwise. A pure function of its arguments: `seed` chooses
// the partition of kCentralRandom and is ignored by the other plans.
//
// The central plans take frame floor(N/2) as the anchor, as the paper does, and
// B = max(1, ceil(before / a), ceil(after / (T-1-a))) rows. Where T is even one side has a slot
// more, so the other decides B: at T = 4 a third of the slots is padding. kCentralInterleaved deals
// the frames of a side out in turn, so those of a row are B apart.
//
// kContiguous is for frames that are not all known yet: row 0 holds the first T frames, one of them
// the anchor, each further row the next T-1 in time order (FollowerRow), B = ceil((N-1) / (T-1)).
absl::StatusOr<RowPlan> PlanRows(int num_frames, int frames_per_row, SequencePlan plan,
                                 uint64_t seed);

// A row of kContiguous after row 0: `frames`, 1 to T-1 of them in time order, in the slots before
// and after the anchor's. Fewer than T-1 are repeated evenly. For T >= 2.
std::vector<RowSlot> FollowerRow(absl::Span<const int> frames, const RowPlan& plan);

// Slots of a row of `plan` that hold duplicates, the anchor's own not counted.
int PaddingSlots(const std::vector<RowSlot>& row, const RowPlan& plan);

// How the rows of a plan are denoised: passes of rows that are in memory together. With an anchor
// slot every pass begins with row 0, because the others need its anchor tokens at every step; only
// the first pass shows its frames.
struct Pass {
  std::vector<int> rows;
  bool shows_first = true;  // whether rows[0] delivers its frames in this pass
};

// `max_rows` below 2 counts as 2 if there is an anchor slot and more than one row.
std::vector<Pass> PlanPasses(const RowPlan& plan, int max_rows);

}  // namespace reenact
