#include "pipeline/anchored/row_schedule.h"

#include <algorithm>
#include <cstddef>
#include <limits>

namespace reenact {

RowSchedule::RowSchedule(const RowPlan& plan, bool complete, int num_steps, const Options& options)
    : num_rows_(static_cast<int>(plan.rows.size())),
      complete_(complete),
      num_steps_(num_steps),
      has_anchor_(plan.anchor_slot.has_value()),
      retained_(options.form == TraceForm::kRetained),
      max_active_rows_(options.form == TraceForm::kLockStep && complete
                           ? std::numeric_limits<int>::max()
                           : std::max(options.max_active_rows, has_anchor_ ? 2 : 1)),
      max_first_rows_(std::min(options.max_first_rows, max_active_rows_)) {}

int64_t RowSchedule::total_row_steps() const {
  if (retained_) return int64_t{num_rows_} * num_steps_;
  const int64_t left = num_rows_ - next_row_;
  int64_t rows = planned_rows_ + left;
  if (has_anchor_ && left > 0) {
    // Row 0 is part of each pass, and new to the first.
    const int64_t followers = max_active_rows_ - 1;
    const bool begins = next_row_ == 0;
    rows += (left - (begins ? 1 : 0) + followers - 1) / followers - (begins && left > 1 ? 1 : 0);
  }
  return rows * num_steps_;
}

bool RowSchedule::done() const { return complete_ && num_ended_ == num_rows_; }

int RowSchedule::StepsOf(int row) const {
  const auto found = steps_.find(row);
  if (found != steps_.end()) return found->second;
  return retained_ && row < next_row_ ? num_steps_ : 0;
}

bool RowSchedule::CanRun(int row, bool with_anchor) const {
  const int steps = StepsOf(row);
  if (row == 0) return steps < num_steps_;
  if (!has_anchor_) return true;
  return steps < StepsOf(0) || (with_anchor && steps == StepsOf(0));
}

std::vector<int> RowSchedule::PassRows() const {
  if (!pass_.empty()) return pass_;
  std::vector<int> rows;
  if (has_anchor_ && next_row_ > 0 && next_row_ < num_rows_) rows.push_back(0);
  for (int row = next_row_; row < num_rows_ && static_cast<int>(rows.size()) < max_active_rows_;
       ++row) {
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
    // Row 0 shows its frames in the pass in which it is new.
    const bool shows_first = pass_.empty() ? next_row_ == 0 : num_ended_ == 0;
    for (const int row : PassRows()) next.push_back(row_step(row, row != 0 || shows_first));
    return next;
  }

  const auto limit = static_cast<size_t>(num_rows);
  const bool with_anchor = num_rows_ > 0 && CanRun(0, false);
  const auto take = [&](int row) {
    if (next.size() < limit && CanRun(row, with_anchor)) next.push_back(row_step(row, true));
  };
  if (with_anchor) take(0);
  int num_active = with_anchor ? 1 : 0;
  for (const auto& [row, steps] : steps_) {
    if (row == 0) continue;
    take(row);
    ++num_active;
  }
  const int max_active = num_ended_ > 0 ? max_active_rows_ : max_first_rows_;
  for (int row = std::max(next_row_, 1); row < num_rows_ && num_active < max_active; ++row) {
    take(row);
    ++num_active;
  }
  return next;
}

void RowSchedule::Advance(const std::vector<RowStep>& steps) {
  if (!retained_ && !steps.empty() && steps[0].first) {
    for (const RowStep& step : steps) pass_.push_back(step.row);
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

int RowSchedule::first_step_needed() const {
  if (!has_anchor_ || done()) return num_steps_;
  // Read only within the step that makes it.
  if (!retained_) return StepsOf(0);
  if (!complete_ || next_row_ < num_rows_) return 0;
  // The followers' next steps; row 0 itself reads none.
  int first = num_steps_;
  for (const auto& [row, taken] : steps_) {
    if (row != 0) first = std::min(first, taken);
  }
  return first;
}

}  // namespace reenact
