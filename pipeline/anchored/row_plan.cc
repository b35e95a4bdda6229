#include "pipeline/anchored/row_plan.h"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <numeric>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace reenact {
namespace {

// SplitMix64 (Steele, Lea, Flood 2014): the k-th output is a pure function of (seed, k). Ours,
// because the standard library's distributions differ between implementations.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  uint64_t Next() {
    state_ += 0x9e3779b97f4a7c15;
    uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }

  // Uniform in 0..bound-1; rejects the values that would favour small results.
  size_t Below(size_t bound) {
    const uint64_t limit = UINT64_MAX - UINT64_MAX % bound;
    uint64_t value = Next();
    while (value >= limit) value = Next();
    return value % bound;
  }

  void Shuffle(std::vector<int>& items) {
    for (size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[Below(i)]);
  }

 private:
  uint64_t state_;
};

int CeilDivide(int a, int b) { return (a + b - 1) / b; }

int RowsFor(int before, int after, int slots_before, int slots_after) {
  return std::max({1, slots_before == 0 ? 0 : CeilDivide(before, slots_before),
                   slots_after == 0 ? 0 : CeilDivide(after, slots_after)});
}

// One side of the anchor: its frames, split among the rows from row `start` on. part[b] is sorted.
std::vector<std::vector<int>> Partition(int first, int count, int rows, int start,
                                        SequencePlan plan, Random& random) {
  std::vector<int> frames(static_cast<size_t>(count));
  std::iota(frames.begin(), frames.end(), first);
  if (plan == SequencePlan::kCentralRandom || plan == SequencePlan::kBalanced) {
    random.Shuffle(frames);
  }

  // Dealt out in turn, so that the padding of a shorter side is spread over the rows.
  std::vector<std::vector<int>> part(static_cast<size_t>(rows));
  for (int i = 0; i < count; ++i) part[(start + i) % rows].push_back(frames[i]);
  for (auto& frames_of_row : part) std::sort(frames_of_row.begin(), frames_of_row.end());
  return part;
}

// Fills one side's slots of a row: its own frames, and duplicates up to `slots`. Duplicates are
// other frames of the side, evenly spaced, while there are any: a row of different frames is what
// the network was trained on.
std::vector<RowSlot> FillSide(const std::vector<int>& own, int first, int count, int slots,
                              int anchor) {
  std::vector<RowSlot> side;
  for (const int frame : own) side.push_back({frame, false});
  const int missing = slots - static_cast<int>(own.size());
  if (missing > 0) {
    std::vector<int> others;
    for (int frame = first; frame < first + count; ++frame) {
      if (!std::binary_search(own.begin(), own.end(), frame)) others.push_back(frame);
    }
    if (others.empty()) others = own;
    if (others.empty()) others = {anchor};
    const int available = static_cast<int>(others.size());
    for (int i = 0; i < missing; ++i) {
      // The middle of the i-th of `missing` equal stretches.
      const int64_t at = (int64_t{2} * i + 1) * available / (int64_t{2} * missing);
      side.push_back({others[at], true});
    }
  }
  std::stable_sort(side.begin(), side.end(),
                   [](const RowSlot& a, const RowSlot& b) { return a.frame < b.frame; });
  return side;
}

int EarliestShown(const std::vector<RowSlot>& row) {
  int earliest = INT32_MAX;
  for (const RowSlot& slot : row) {
    if (!slot.duplicate) earliest = std::min(earliest, slot.frame);
  }
  return earliest;
}

// The row slots of a scene: `before` and `after` its anchor's, which all of its rows have.
struct SceneSlots {
  int before = 0;
  int after = 0;
  bool linked = false;  // one of those after shows the first scene's anchor in the scene's own row

  int reserved() const { return linked ? 1 : 0; }
};

// Of `count` frames.
int AnchorOf(int count, const SceneSlots& slots, SequencePlan plan) {
  const int others = count - 1;
  const int central = count / 2;
  if (plan == SequencePlan::kBalanced) {
    // With the fewest rows that hold everything, both sides must fit: frames before <= rows *
    // slots.before and frames after <= rows * slots.after - reserved.
    const int needed = others + slots.reserved();
    const int rows = CeilDivide(needed, slots.before + slots.after);
    return std::clamp(central, std::max(0, needed - rows * slots.after),
                      std::min(others, rows * slots.before));
  }
  if (slots.after == 0) return others;
  return slots.before == 0 ? 0 : central;
}

struct Scene {
  int anchor = 0;
  std::vector<std::vector<RowSlot>> rows;
};

// The rows of `count` frames from `first` on. Those of a linked scene lack the first scene's
// anchor.
Scene PlanScene(int first, int count, const SceneSlots& slots, SequencePlan plan, Random& random) {
  Scene scene;
  scene.anchor = first + AnchorOf(count, slots, plan);
  const int before = scene.anchor - first;
  const int after = count - 1 - before;
  const int num_rows = RowsFor(before, after + slots.reserved(), slots.before, slots.after);

  const auto part_before = Partition(first, before, num_rows, 0, plan, random);
  // Row 0 of a linked scene comes last, so that its share is the smallest.
  const auto part_after =
      Partition(scene.anchor + 1, after, num_rows, slots.reserved(), plan, random);
  for (int b = 0; b < num_rows; ++b) {
    std::vector<RowSlot> row = FillSide(part_before[b], first, before, slots.before, scene.anchor);
    row.push_back({scene.anchor, true});
    const int slots_after = slots.after - (b == 0 ? slots.reserved() : 0);
    const auto side = FillSide(part_after[b], scene.anchor + 1, after, slots_after, scene.anchor);
    row.insert(row.end(), side.begin(), side.end());
    scene.rows.push_back(std::move(row));
  }
  std::stable_sort(
      scene.rows.begin() + slots.reserved(), scene.rows.end(),
      [](const auto& x, const auto& y) { return EarliestShown(x) < EarliestShown(y); });
  scene.rows[0][slots.before].duplicate = false;
  return scene;
}

// The rows of the first `num_frames` frames around one of them.
RowPlan PlanAround(int num_frames, int frames_per_row, SequencePlan plan, Random& random) {
  RowPlan result;
  result.frames_per_row = frames_per_row;
  const int slot = frames_per_row / 2;
  Scene scene =
      PlanScene(0, num_frames, {.before = slot, .after = frames_per_row - 1 - slot}, plan, random);
  result.anchor_slot = slot;
  result.anchor_frame = scene.anchor;
  result.rows = std::move(scene.rows);
  return result;
}

int CountPadding(const RowPlan& plan) {
  int padding = 0;
  for (size_t row = 0; row < plan.rows.size(); ++row) {
    const LinkedScene* scene = plan.SceneOf(static_cast<int>(row));
    for (size_t k = 0; k < plan.rows[row].size(); ++k) {
      const auto is_slot = [k](std::optional<int> slot) {
        return slot.has_value() && k == static_cast<size_t>(*slot);
      };
      const bool is_anchor = scene == nullptr ? is_slot(plan.anchor_slot)
                                              : is_slot(scene->anchor_slot) ||
                                                    (row == static_cast<size_t>(scene->first_row) &&
                                                     is_slot(plan.anchor_slot));
      padding += plan.rows[row][k].duplicate && !is_anchor ? 1 : 0;
    }
  }
  return padding;
}

absl::Status CheckSizes(int num_frames, int frames_per_row) {
  if (num_frames >= 1 && frames_per_row >= 1) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("cannot plan ", num_frames, " frames in rows of ",
                                                 frames_per_row, ": both must be at least 1"));
}

}  // namespace

const LinkedScene* RowPlan::SceneOf(int row) const {
  const auto after = std::upper_bound(
      linked_scenes.begin(), linked_scenes.end(), row,
      [](int number, const LinkedScene& scene) { return number < scene.first_row; });
  return after == linked_scenes.begin() ? nullptr : &*(after - 1);
}

std::optional<int> RowPlan::LeaderOf(int row) const {
  if (row == 0 || !anchor_slot.has_value()) return std::nullopt;
  const LinkedScene* scene = SceneOf(row);
  return scene == nullptr || scene->first_row == row ? 0 : scene->first_row;
}

std::optional<int> RowPlan::AnchorSlotOf(int row) const {
  const LinkedScene* scene = SceneOf(row);
  return scene == nullptr || scene->first_row == row ? anchor_slot : scene->anchor_slot;
}

std::vector<RowSlot> FollowerRow(absl::Span<const int> frames, const RowPlan& plan) {
  const int count = static_cast<int>(frames.size());
  const int others = plan.frames_per_row - 1;
  std::vector<RowSlot> row;
  for (int k = 0; k < others; ++k) {
    const int at = k * count / others;
    row.push_back({frames[at], k > 0 && (k - 1) * count / others == at});
  }
  row.insert(row.begin() + *plan.anchor_slot, {plan.anchor_frame, true});
  return row;
}

int PaddingSlots(const std::vector<RowSlot>& row, const RowPlan& plan) {
  int padding = 0;
  for (size_t k = 0; k < row.size(); ++k) {
    const bool is_anchor =
        plan.anchor_slot.has_value() && k == static_cast<size_t>(*plan.anchor_slot);
    padding += row[k].duplicate && !is_anchor ? 1 : 0;
  }
  return padding;
}

absl::StatusOr<RowPlan> PlanRows(int num_frames, int frames_per_row, SequencePlan plan,
                                 uint64_t seed) {
  if (auto status = CheckSizes(num_frames, frames_per_row); !status.ok()) return status;
  RowPlan result;
  Random random(seed);
  if (frames_per_row == 1) {
    for (int frame = 0; frame < num_frames; ++frame) result.rows.push_back({{frame, false}});
  } else if (plan != SequencePlan::kContiguous) {
    result = PlanAround(num_frames, frames_per_row, plan, random);
  } else {
    const int first = std::min(num_frames, frames_per_row);
    result = PlanAround(first, frames_per_row, plan, random);
    for (int next = first; next < num_frames; next += frames_per_row - 1) {
      std::vector<int> frames(std::min(num_frames - next, frames_per_row - 1));
      std::iota(frames.begin(), frames.end(), next);
      result.rows.push_back(FollowerRow(frames, result));
    }
  }
  result.num_frames = num_frames;
  result.frames_per_row = frames_per_row;
  result.num_padding_slots = CountPadding(result);
  return result;
}

absl::StatusOr<RowPlan> PlanScenes(int num_frames, int frames_per_row, absl::Span<const int> cuts,
                                   SequencePlan plan, uint64_t seed) {
  if (auto status = CheckSizes(num_frames, frames_per_row); !status.ok()) return status;
  if (plan == SequencePlan::kContiguous) {
    return absl::InvalidArgumentError("anchors for each scene need all frames: not contiguous");
  }
  for (size_t i = 0; i < cuts.size(); ++i) {
    if (cuts[i] < (i == 0 ? 1 : cuts[i - 1] + 1) || cuts[i] >= num_frames) {
      return absl::InvalidArgumentError(
          absl::StrCat("cut ", i, " is ", cuts[i], ", must rise in 1..", num_frames - 1));
    }
  }
  if (cuts.empty() || frames_per_row == 1) return PlanRows(num_frames, frames_per_row, plan, seed);
  Random random(seed);
  RowPlan result = PlanAround(cuts[0], frames_per_row, plan, random);
  const int slot = *result.anchor_slot - 1;
  const SceneSlots slots = {.before = slot, .after = frames_per_row - 1 - slot, .linked = true};
  for (size_t i = 0; i < cuts.size(); ++i) {
    const int end = i + 1 < cuts.size() ? cuts[i + 1] : num_frames;
    Scene scene = PlanScene(cuts[i], end - cuts[i], slots, plan, random);
    scene.rows[0].insert(scene.rows[0].begin() + *result.anchor_slot, {result.anchor_frame, true});
    result.linked_scenes.push_back({.first_row = static_cast<int>(result.rows.size()),
                                    .anchor_frame = scene.anchor,
                                    .anchor_slot = slot});
    std::move(scene.rows.begin(), scene.rows.end(), std::back_inserter(result.rows));
  }
  result.num_frames = num_frames;
  result.frames_per_row = frames_per_row;
  result.num_padding_slots = CountPadding(result);
  return result;
}

std::vector<Pass> PlanPasses(const RowPlan& plan, int max_rows) {
  const int num_rows = static_cast<int>(plan.rows.size());
  const bool anchored = plan.anchor_slot.has_value() && num_rows > 1;
  max_rows = std::max(max_rows, anchored ? 2 : 1);
  std::vector<Pass> passes;
  for (int next = 0; next < num_rows;) {
    Pass pass;
    if (anchored && next > 0) {
      pass.rows.push_back(0);
      pass.shows_first = false;
    }
    while (next < num_rows && static_cast<int>(pass.rows.size()) < max_rows) {
      pass.rows.push_back(next++);
    }
    passes.push_back(std::move(pass));
  }
  return passes;
}

}  // namespace reenact
