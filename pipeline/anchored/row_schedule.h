// In which order the rows of one clip take their denoising steps, so that every row finds the
// anchor trace it attends to. Pure bookkeeping; trace_denoiser.h does the work.
//
// Row 0 (the anchor row) leaves a trace at every step; a follower needs that of its own step. Three
// ways to have it, with the same result:
//  - retained: row 0 runs once and its traces are kept, each until no row can ask for it any more.
//    Any number of rows may be stepped at a time, in any company. Row steps: B K.
//  - lock-step: row 0 and all other rows take every step together; one trace exists at a time. Only
//    for clips that are complete.
//  - recomputed: like lock-step, in passes of row 0 and some followers; row 0 runs again in every
//    pass. Row steps: (B + passes - 1) K. Memory is constant in the clip's length.
//
// Rows may be added while others run. A clip is not done before it is complete.
//
// In a plan of several scenes (row_plan.h) the anchor row of a linked scene follows row 0 and leads
// the rows of its scene. Retained, no linked scene begins before the one two before it has ended,
// so that the traces of three anchors are kept at most. Recomputed, a pass holds rows of one scene:
// row 0, the scene's anchor row, which runs again in every pass of it, and some followers.
//
// Legend: B rows, K denoising steps. Owned by one thread at a time.
#pragma once

#include <cstdint>
#include <map>
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
  bool shows = true;  // false: an anchor row recomputed
};

class RowSchedule {
 public:
  struct Options {
    TraceForm form = TraceForm::kRetained;
    // Rows that have begun and not ended at any time: bounds memory. 2 or more, row 0 included; 3
    // or more with linked scenes. Less counts as that.
    int max_active_rows = 8;
    // The same until the first row has ended, 1 or more: fewer means that the first frames are
    // there sooner. kRetained only.
    int max_first_rows = 8;
  };

  // Of the rows that `plan` has now. Without an anchor slot rows need no trace: kRetained then
  // keeps none. kLockStep counts as kRecomputed if the plan is not complete.
  RowSchedule(const RowPlan& plan, bool complete, int num_steps, const Options& options);

  // One more row, after those that are there.
  void AddRow() { ++num_rows_; }
  // There will be no more.
  void Complete() { complete_ = true; }
  bool complete() const { return complete_; }

  // Of the rows that are there.
  int64_t total_row_steps() const;
  int64_t row_steps_done() const { return row_steps_done_; }
  bool done() const;
  // Rows that have not ended yet.
  int num_open_rows() const { return num_rows_ - num_ended_; }

  // How many rows the next step may hold.
  RowDemand demand() const;

  // What a step of `num_rows` rows, within demand(), would run: row 0 first if it is among them,
  // then rows that have begun, by number, then new ones. So a leader comes before its followers.
  std::vector<RowStep> Next(int num_rows) const;
  // Says that exactly those have run.
  void Advance(const std::vector<RowStep>& steps);

  // Of the anchor row `leader`, traces of steps before this one will not be read any more.
  int first_step_needed(int leader = 0) const;
  // Row 0 and the anchor rows of linked scenes.
  bool IsLeader(int row) const;
  // As RowPlan's; -1: none.
  int LeaderOf(int row) const;

 private:
  int StepsOf(int row) const;
  // The first row of the scene of `row`, and that of the next (num_rows_: it is the last).
  int SceneBegin(int row) const;
  int SceneEnd(int row) const;
  // kLockStep and kRecomputed: the rows of the pass whose first new row is `begin`.
  std::vector<int> PassFrom(int begin) const;

  int num_rows_ = 0;
  bool complete_ = false;
  const std::vector<int> linked_;  // the anchor rows of linked scenes
  const int num_steps_;
  const bool has_anchor_;
  const bool retained_;
  const int max_active_rows_;
  const int max_first_rows_;

  int64_t row_steps_done_ = 0;
  int num_ended_ = 0;  // rows that have shown their frames
  int next_row_ = 0;   // the first that has not begun
  // Steps taken by each row that has begun and not ended, in its present run. Row 0 stays while it
  // may be needed.
  std::map<int, int> steps_;
  std::vector<int> pass_;     // kLockStep and kRecomputed: the pass that runs
  int pass_begin_ = 0;        // its first new row
  int64_t planned_rows_ = 0;  // of the passes that have begun
};

}  // namespace reenact
