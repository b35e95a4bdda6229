// In which order the rows of one clip take their denoising steps, so that every row finds the
// anchor trace it attends to. Pure bookkeeping; trace_denoiser.h does the work.
//
// Row 0 (the anchor row) leaves a trace at every step; a follower needs that of its own step. Three
// ways to have it, with the same result:
//  - retained: row 0 runs once and its traces are kept, each until no row can ask for it any more.
//    Any number of rows may be stepped at a time, in any company. Row steps: B K.
//  - lock-step: row 0 and all other rows take every step together; one trace exists at a time.
//  - recomputed: like lock-step, in passes of row 0 and some followers; row 0 runs again in every
//    pass. Row steps: (B + passes - 1) K. Memory is constant in the clip's length.
//
// Legend: B rows, K denoising steps. Owned by one thread at a time.
#pragma once

#include <cstdint>
#include <vector>

#include "pipeline/anchored/row_plan.h"
#include "pipeline/engine.h"

namespace reenact {

enum class TraceForm { kRetained, kLockStep, kRecomputed };

// One denoising step of one row.
struct RowStep {
  int row = 0;
  int step = 0;  // 0..K-1, in the order they run
  // Whether it begins or ends the row's run; the last of a row that shows its frames delivers them.
  bool first = false;
  bool last = false;
  bool shows = true;  // false: row 0 recomputed
};

class RowSchedule {
 public:
  struct Options {
    TraceForm form = TraceForm::kRetained;
    // Rows that have begun and not ended at any time: bounds memory. 2 or more, row 0 included.
    int max_active_rows = 8;
    // The same until the first row has ended: fewer means that the first frames are there sooner.
    int max_first_rows = 8;
  };

  // A plan without an anchor slot has rows that need no trace: kRetained then keeps none.
  RowSchedule(const RowPlan& plan, int num_steps, const Options& options);

  int64_t total_row_steps() const { return total_row_steps_; }
  int64_t row_steps_done() const { return row_steps_done_; }
  bool done() const { return row_steps_done_ == total_row_steps_; }

  // How many rows the next step may hold.
  RowDemand demand() const;

  // What a step of `num_rows` rows, within demand(), would run: row 0 first if it is among them,
  // then rows that have begun, by number, then new ones.
  std::vector<RowStep> Next(int num_rows) const;
  // Says that exactly those have run.
  void Advance(const std::vector<RowStep>& steps);

  // Traces of steps before this one will not be read any more.
  int first_step_needed() const;

 private:
  int ActiveLimit() const;
  // Whether `row` could take its next step if row 0 is (not) in the same step.
  bool CanRun(int row, bool with_anchor) const;

  const int num_rows_;
  const int num_steps_;
  const bool has_anchor_;
  const Options options_;
  std::vector<Pass> passes_;  // kLockStep and kRecomputed
  int64_t total_row_steps_ = 0;
  int64_t row_steps_done_ = 0;
  std::vector<int> steps_;  // taken by each row, in its present run
  size_t pass_ = 0;
  bool any_ended_ = false;
};

}  // namespace reenact
