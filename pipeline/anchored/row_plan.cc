#include "pipeline/anchored/row_plan.h"

#include <algorithm>
#include <cstddef>
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
  return std::max(
      {1, CeilDivide(before, slots_before), slots_after == 0 ? 0 : CeilDivide(after, slots_after)});
}

// One side of the anchor: its frames, split among the rows. part[b] is sorted.
std::vector<std::vector<int>> Partition(int first, int count, int rows, SequencePlan plan,
                                        Random& random) {
  std::vector<int> frames(static_cast<size_t>(count));
  std::iota(frames.begin(), frames.end(), first);
  if (plan == SequencePlan::kCentralRandom) random.Shuffle(frames);

  // Dealt out in turn, so that the padding of a shorter side is spread over the rows.
  std::vector<std::vector<int>> part(static_cast<size_t>(rows));
  for (int i = 0; i < count; ++i) part[i % rows].push_back(frames[i]);
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

// The rows of the first `num_frames` frames around the middle one of them.
RowPlan PlanCentral(int num_frames, int frames_per_row, SequencePlan plan, uint64_t seed) {
  RowPlan result;
  result.num_frames = num_frames;
  result.frames_per_row = frames_per_row;
  const int slots_before = frames_per_row / 2;
  const int slots_after = frames_per_row - 1 - slots_before;
  const int anchor = slots_after == 0 ? num_frames - 1 : num_frames / 2;
  const int before = anchor;
  const int after = num_frames - 1 - anchor;
  const int num_rows = RowsFor(before, after, slots_before, slots_after);

  Random random(seed);
  const auto part_before = Partition(0, before, num_rows, plan, random);
  const auto part_after = Partition(anchor + 1, after, num_rows, plan, random);
  for (int b = 0; b < num_rows; ++b) {
    std::vector<RowSlot> row = FillSide(part_before[b], 0, before, slots_before, anchor);
    row.push_back({anchor, true});
    const auto side = FillSide(part_after[b], anchor + 1, after, slots_after, anchor);
    row.insert(row.end(), side.begin(), side.end());
    result.rows.push_back(std::move(row));
  }
  std::stable_sort(result.rows.begin(), result.rows.end(), [](const auto& x, const auto& y) {
    return EarliestShown(x) < EarliestShown(y);
  });
  result.anchor_slot = slots_before;
  result.anchor_frame = anchor;
  result.rows[0][slots_before].duplicate = false;
  return result;
}

}  // namespace

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
  if (num_frames < 1 || frames_per_row < 1) {
    return absl::InvalidArgumentError(absl::StrCat("cannot plan ", num_frames,
                                                   " frames in rows of ", frames_per_row,
                                                   ": both must be at least 1"));
  }
  RowPlan result;
  if (frames_per_row == 1) {
    for (int frame = 0; frame < num_frames; ++frame) result.rows.push_back({{frame, false}});
  } else if (plan != SequencePlan::kContiguous) {
    result = PlanCentral(num_frames, frames_per_row, plan, seed);
  } else {
    const int first = std::min(num_frames, frames_per_row);
    result = PlanCentral(first, frames_per_row, plan, seed);
    for (int next = first; next < num_frames; next += frames_per_row - 1) {
      std::vector<int> frames(std::min(num_frames - next, frames_per_row - 1));
      std::iota(frames.begin(), frames.end(), next);
      result.rows.push_back(FollowerRow(frames, result));
    }
  }
  result.num_frames = num_frames;
  result.frames_per_row = frames_per_row;
  for (const auto& row : result.rows) result.num_padding_slots += PaddingSlots(row, result);
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
