#include "pipeline/anchored/row_schedule.h"

#include <algorithm>
#include <cstddef>

namespace reenact {

RowSchedule::RowSchedule(const RowPlan& plan, int num_steps, const Options& options)
    : num_rows_(static_cast<int>(plan.rows.size())),
      num_steps_(num_steps),
      has_anchor_(plan.anchor_slot.has_value()),
      options_(options),
      steps_(plan.rows.size(), 0) {
  int64_t rows = num_rows_;
  if (options_.form != TraceForm::kRetained) {
    passes_ = PlanPasses(plan, options_.form == TraceForm::kLockStep ? std::max(num_rows_, 2)
                                                                     : options_.max_active_rows);
    rows = 0;
    for (const Pass& pass : passes_) rows += static_cast<int64_t>(pass.rows.size());
  }
  total_row_steps_ = rows * num_steps_;
}

int RowSchedule::ActiveLimit() const {
  const int limit = any_ended_ ? options_.max_active_rows
                               : std::min(options_.max_active_rows, options_.max_first_rows);
  return std::max(limit, has_anchor_ ? 2 : 1);
}

bool RowSchedule::CanRun(int row, bool with_anchor) const {
  if (steps_[row] == num_steps_) return false;
  if (row == 0 || !has_anchor_) return true;
  return steps_[row] < steps_[0] || (with_anchor && steps_[row] == steps_[0]);
}

RowDemand RowSchedule::demand() const {
  if (done()) return {};
  if (options_.form != TraceForm::kRetained) {
    const int rows = static_cast<int>(passes_[pass_].rows.size());
    return {.min_rows = rows, .max_rows = rows};
  }
  return {.min_rows = 1, .max_rows = static_cast<int>(Next(num_rows_).size())};
}

std::vector<RowStep> RowSchedule::Next(int num_rows) const {
  const auto row_step = [this](int row, bool shows) {
    return RowStep{.row = row,
                   .step = steps_[row],
                   .first = steps_[row] == 0,
                   .last = steps_[row] == num_steps_ - 1,
                   .shows = shows};
  };
  std::vector<RowStep> next;
  if (done()) return next;
  if (options_.form != TraceForm::kRetained) {
    const Pass& pass = passes_[pass_];
    for (const int row : pass.rows) next.push_back(row_step(row, row != 0 || pass.shows_first));
    return next;
  }

  const auto limit = static_cast<size_t>(num_rows);
  const bool with_anchor = CanRun(0, false);
  int num_active = 0;
  for (const int steps : steps_) num_active += steps > 0 && steps < num_steps_ ? 1 : 0;
  const auto take = [&](int row) {
    if (next.size() < limit && CanRun(row, with_anchor)) next.push_back(row_step(row, true));
  };
  if (with_anchor) {
    take(0);
    if (steps_[0] == 0) ++num_active;
  }
  for (int row = 1; row < num_rows_; ++row) {
    if (steps_[row] > 0) take(row);
  }
  for (int row = 1; row < num_rows_ && num_active < ActiveLimit(); ++row) {
    if (steps_[row] > 0) continue;
    take(row);
    ++num_active;
  }
  return next;
}

void RowSchedule::Advance(const std::vector<RowStep>& steps) {
  for (const RowStep& step : steps) {
    ++steps_[step.row];
    if (step.last) any_ended_ = true;
  }
  row_steps_done_ += static_cast<int64_t>(steps.size());
  if (options_.form != TraceForm::kRetained && !steps.empty() && steps[0].last) {
    ++pass_;
    if (pass_ < passes_.size()) {
      for (const int row : passes_[pass_].rows) steps_[row] = 0;
    }
  }
}

int RowSchedule::first_step_needed() const {
  if (!has_anchor_ || num_rows_ == 1) return num_steps_;
  if (options_.form != TraceForm::kRetained) {
    // Read only within the step that makes it.
    return done() ? num_steps_ : steps_[0];
  }
  // The followers' next steps; row 0 itself reads none.
  return *std::min_element(steps_.begin() + 1, steps_.end());
}

}  // namespace reenact
