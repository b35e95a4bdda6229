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
//
// A clip of several scenes may have an anchor frame for each (AnchorPlacement::kPerScene). The rows
// of a scene then hold frames of it alone, and are linked through their anchors: the row in which a
// later scene's anchor is denoised shows the first scene's anchor in slot a, as any other row does
// in a clip of one scene, and the later scene's own in slot a-1. So all anchors attend to the first
// scene's, which carries the person over, and each frame to the anchor of its own scene.
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

// A scene but the first, with an anchor frame of its own.
struct LinkedScene {
  int first_row = 0;  // its anchor row; its rows go on to the next scene's
  int anchor_frame = 0;
  int anchor_slot = 0;  // of its rows
};

struct RowPlan {
  int num_frames = 0;
  int frames_per_row = 0;
  int anchor_frame = 0;            // meaningless without an anchor slot
  std::optional<int> anchor_slot;  // none: rows are independent of each other
  // [B][T]. Sorted by their earliest frame. Each frame is in exactly one slot with !duplicate; the
  // anchor's is in row 0. With linked scenes: so within each scene, whose anchor row comes first.
  std::vector<std::vector<RowSlot>> rows;
  // Duplicates that are not an anchor in its slot.
  int num_padding_slots = 0;
  std::vector<LinkedScene> linked_scenes;  // in the order of their rows

  // The linked scene that a row belongs to; null: the first scene, or the only one.
  const LinkedScene* SceneOf(int row) const;
  // The row whose anchor a row attends to: row 0, or the anchor row of its scene. None: the row is
  // row 0, or there are no anchors.
  std::optional<int> LeaderOf(int row) const;
  // The slot in which a row shows the frame that its leader denoises; that of row 0 its own anchor.
  std::optional<int> AnchorSlotOf(int row) const;
};

// For 1 <= T, 1 <= N; kInvalidArgument otherwise. A pure function of its arguments: `seed` chooses
// the partition of kCentralRandom and kBalanced and is ignored by the other plans.
//
// The central plans take frame floor(N/2) as the anchor, as the paper does, and
// B = max(1, ceil(before / a), ceil(after / (T-1-a))) rows. Where T is even one side has a slot
// more, so the other decides B: at T = 4 a third of the slots is padding. kCentralInterleaved deals
// the frames of a side out in turn, so those of a row are B apart.
//
// kBalanced is kCentralRandom with another anchor: of those for which B = max(1, ceil((N-1)/(T-1)))
// rows are enough, which is the least for any anchor, the frame nearest to the middle.
//
// kContiguous is for frames that are not all known yet: row 0 holds the first T frames, one of them
// the anchor, each further row the next T-1 in time order (FollowerRow), B = ceil((N-1) / (T-1)).
absl::StatusOr<RowPlan> PlanRows(int num_frames, int frames_per_row, SequencePlan plan,
                                 uint64_t seed);

// With an anchor for each scene. `cuts`: the first frames of all scenes but the first, rising, in
// 1..N-1. Without cuts it is PlanRows. A scene of n frames takes B = max(1, ceil(before / s),
// ceil((after + 1) / (T-1-s))) rows, where s = a-1 is its anchors' slot: its anchor row has one
// slot less. Where s is 0 (T = 2 and 3) the anchor is the first frame of its scene; else as `plan`
// says, with B = ceil(n / (T-1)) for kBalanced. With T = 1 there are no anchors and no scenes.
// kInvalidArgument: not for kContiguous, whose rows are made before the cuts are known.
absl::StatusOr<RowPlan> PlanScenes(int num_frames, int frames_per_row, absl::Span<const int> cuts,
                                   SequencePlan plan, uint64_t seed);

// A row of kContiguous after row 0: `frames`, 1 to T-1 of them in time order, in the slots before
// and after the anchor's. Fewer than T-1 are repeated evenly. For T >= 2.
std::vector<RowSlot> FollowerRow(absl::Span<const int> frames, const RowPlan& plan);

// Slots of a row of `plan`, which has one scene, that hold duplicates, the anchor's own not
// counted.
int PaddingSlots(const std::vector<RowSlot>& row, const RowPlan& plan);

// How the rows of a plan are denoised: passes of rows that are in memory together. With an anchor
// slot every pass begins with row 0, because the others need its anchor tokens at every step; only
// the first pass shows its frames.
struct Pass {
  std::vector<int> rows;
  bool shows_first = true;  // whether rows[0] delivers its frames in this pass
};

// For plans of one scene. `max_rows` below 2 counts as 2 if there is an anchor slot and more than
// one row.
std::vector<Pass> PlanPasses(const RowPlan& plan, int max_rows);

}  // namespace reenact
