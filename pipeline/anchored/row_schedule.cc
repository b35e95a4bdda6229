#include "pipeline/anchored/row_schedule.h"

#include <algorithm>
#include <cstddef>
#include <limits>

namespace reenact {

namespace {

std::vector<int> LinkedRows(const RowPlan& plan) {
  std::vector<int> rows;
  for (const LinkedScene& scene : plan.linked_scenes) rows.push_back(scene.first_row);
  return rows;
}

// Anchor rows that a pass may hold, and one follower.
int LeastActiveRows(const RowPlan& plan) {
  if (!plan.anchor_slot.has_value()) return 1;
  return plan.linked_scenes.empty() ? 2 : 3;
}

}  // namespace

RowSchedule::RowSchedule(const RowPlan& plan, bool complete, int num_steps, const Options& options)
    : num_rows_(static_cast<int>(plan.rows.size())),
      complete_(complete),
      linked_(LinkedRows(plan)),
      num_steps_(num_steps),
      has_anchor_(plan.anchor_slot.has_value()),
      retained_(options.form == TraceForm::kRetained),
      max_active_rows_(options.form == TraceForm::kLockStep && complete
                           ? std::numeric_limits<int>::max()
                           : std::max(options.max_active_rows, LeastActiveRows(plan))),
      max_first_rows_(std::min(options.max_first_rows, max_active_rows_)) {}

bool RowSchedule::IsLeader(int row) const {
  return has_anchor_ && (row == 0 || std::binary_search(linked_.begin(), linked_.end(), row));
}

int RowSchedule::LeaderOf(int row) const {
  if (row == 0 || !has_anchor_) return -1;
  const int begin = SceneBegin(row);
  return begin == row ? 0 : begin;
}

int RowSchedule::SceneBegin(int row) const {
  const auto next = std::upper_bound(linked_.begin(), linked_.end(), row);
  return next == linked_.begin() ? 0 : *(next - 1);
}

int RowSchedule::SceneEnd(int row) const {
  const auto next = std::upper_bound(linked_.begin(), linked_.end(), row);
  return next == linked_.end() ? num_rows_ : *next;
}

int64_t RowSchedule::total_row_steps() const {
  if (retained_) return int64_t{num_rows_} * num_steps_;
  int64_t rows = planned_rows_;
  for (int begin = next_row_; begin < num_rows_;) {
    const std::vector<int> pass = PassFrom(begin);
    rows += static_cast<int64_t>(pass.size());
    begin = pass.back() + 1;
  }
  return rows * num_steps_;
}

bool RowSchedule::done() const { return complete_ && num_ended_ == num_rows_; }

int RowSchedule::StepsOf(int row) const {
  const auto found = steps_.find(row);
  if (found != steps_.end()) return found->second;
  return retained_ && row < next_row_ ? num_steps_ : 0;
}

std::vector<int> RowSchedule::PassFrom(int begin) const {
  std::vector<int> rows;
  // All at once, of any scenes; or what is new of one scene, after the anchor rows it needs.
  const bool all = max_active_rows_ == std::numeric_limits<int>::max();
  if (has_anchor_ && begin > 0) {
    rows.push_back(0);
    if (const int scene = SceneBegin(begin); scene > 0 && scene < begin) rows.push_back(scene);
  }
  const int end = all ? num_rows_ : SceneEnd(begin);
  for (int row = begin; row < end && static_cast<int>(rows.size()) < max_active_rows_; ++row) {
    rows.push_back(row);
  }
  return rows;
}

RowDemand RowSchedule::demand() const {
  const int rows = static_cast<int>(Next(num_rows_).size());
  if (rows == 0) return {};
  return {.min_rows = retained_ ? 1 : rows, .max_rows = rows};
}

std::vector<RowStep> RowSchedule::Next(int num_rows) const {
  const auto row_step = [this](int row, bool shows) {
    const int steps = StepsOf(row);
    return RowStep{.row = row,
                   .step = steps,
                   .first = steps == 0,
                   .last = steps == num_steps_ - 1,
                   .shows = shows};
  };
  std::vector<RowStep> next;
  if (!retained_) {
    const int begin = pass_.empty() ? next_row_ : pass_begin_;
    if (pass_.empty() && begin == num_rows_) return next;
    // An anchor row shows its frames in the pass in which it is new.
    for (const int row : pass_.empty() ? PassFrom(begin) : pass_) {
      next.push_back(row_step(row, row >= begin));
    }
    return next;
  }

  const auto limit = static_cast<size_t>(num_rows);
  const auto is_next = [&next](int row) {
    return std::any_of(next.begin(), next.end(),
                       [row](const RowStep& step) { return step.row == row; });
  };
  const auto take = [&](int row) {
    if (next.size() >= limit || StepsOf(row) >= num_steps_) return;
    const int leader = LeaderOf(row);
    // The leader may leave the trace in the same step.
    if (leader >= 0 && StepsOf(row) >= StepsOf(leader) + (is_next(leader) ? 1 : 0)) return;
    next.push_back(row_step(row, true));
  };
  int num_active = 0;
  int first_active = num_rows_;
  if (num_rows_ > 0 && StepsOf(0) < num_steps_) {
    take(0);
    ++num_active;
    first_active = 0;
  }
  for (const auto& [row, steps] : steps_) {
    if (row == 0) continue;
    take(row);
    ++num_active;
    first_active = std::min(first_active, row);
  }
  const int max_active = num_ended_ > 0 ? max_active_rows_ : max_first_rows_;
  for (int row = std::max(next_row_, 1); row < num_rows_ && num_active < max_active; ++row) {
    if (IsLeader(row) && first_active < row && SceneEnd(first_active) < row) {
      // At least the scene before is between: do not begin a third.
      break;
    }
    take(row);
    ++num_active;
    first_active = std::min(first_active, row);
  }
  return next;
}

void RowSchedule::Advance(const std::vector<RowStep>& steps) {
  if (!retained_ && !steps.empty() && steps[0].first) {
    for (const RowStep& step : steps) pass_.push_back(step.row);
    pass_begin_ = next_row_;
    planned_rows_ += static_cast<int64_t>(pass_.size());
  }
  for (const RowStep& step : steps) {
    ++steps_[step.row];
    next_row_ = std::max(next_row_, step.row + 1);
    if (!step.last) continue;
    if (step.shows) ++num_ended_;
    // Retained, row 0 tells the others by its steps that all traces are there.
    if (step.row != 0 || !has_anchor_ || !retained_) steps_.erase(step.row);
  }
  row_steps_done_ += static_cast<int64_t>(steps.size());
  if (!retained_ && !steps.empty() && steps[0].last) pass_.clear();
}

int RowSchedule::first_step_needed(int leader) const {
  if (!has_anchor_ || done()) return num_steps_;
  // Read only within the step that makes it.
  if (!retained_) return steps_.contains(leader) ? StepsOf(leader) : num_steps_;
  if (!complete_) return 0;
  // The followers' next steps; those not begun have taken none.
  int first = num_steps_;
  const auto follow = [&](int begin, int end) {
    if (begin < end && std::max(next_row_, begin) < end) first = 0;
    for (auto it = steps_.lower_bound(begin); it != steps_.end() && it->first < end; ++it) {
      first = std::min(first, it->second);
    }
  };
  follow(leader + 1, SceneEnd(leader));
  if (leader == 0) {
    for (const int row : linked_) follow(row, row + 1);
  }
  return first;
}

}  // namespace reenact
