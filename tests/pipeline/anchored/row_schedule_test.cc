#include "pipeline/anchored/row_schedule.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>
#include <tuple>
#include <vector>

namespace reenact {
namespace {

using ::testing::ElementsAre;

RowPlan Plan(int num_rows, bool anchored = true) {
  RowPlan plan;
  plan.frames_per_row = 4;
  if (anchored) plan.anchor_slot = 2;
  plan.rows.resize(static_cast<size_t>(num_rows));
  return plan;
}

std::vector<std::pair<int, int>> RowsAndSteps(const std::vector<RowStep>& steps) {
  std::vector<std::pair<int, int>> pairs;
  for (const RowStep& step : steps) pairs.emplace_back(step.row, step.step);
  return pairs;
}

TEST(RowSchedule, RetainedRowsFollowRowZeroAsFarAsItIs) {
  RowSchedule schedule(Plan(4), true, 2, {.max_active_rows = 3, .max_first_rows = 2});
  EXPECT_EQ(schedule.total_row_steps(), 8);
  EXPECT_EQ(schedule.demand().min_rows, 1);
  EXPECT_EQ(schedule.demand().max_rows, 2);
  // Row 0 alone: nobody can follow beyond it.
  schedule.Advance(schedule.Next(1));
  EXPECT_THAT(RowsAndSteps(schedule.Next(8)), ElementsAre(std::pair(0, 1), std::pair(1, 0)));
  EXPECT_EQ(schedule.first_step_needed(), 0);
  schedule.Advance(schedule.Next(8));
  // Row 0 has ended, so the window opens.
  EXPECT_THAT(RowsAndSteps(schedule.Next(8)),
              ElementsAre(std::pair(1, 1), std::pair(2, 0), std::pair(3, 0)));
  EXPECT_EQ(schedule.demand().max_rows, 3);
  schedule.Advance(schedule.Next(8));
  EXPECT_EQ(schedule.first_step_needed(), 1);
  schedule.Advance(schedule.Next(8));
  EXPECT_TRUE(schedule.done());
  EXPECT_EQ(schedule.first_step_needed(), 2);
  EXPECT_EQ(schedule.demand().max_rows, 0);
  EXPECT_TRUE(schedule.Next(8).empty());
}

TEST(RowSchedule, LockStepTakesAllRowsTogether) {
  RowSchedule schedule(Plan(5), true, 3, {.form = TraceForm::kLockStep, .max_active_rows = 2});
  EXPECT_EQ(schedule.total_row_steps(), 15);
  for (int step = 0; step < 3; ++step) {
    EXPECT_EQ(schedule.demand().min_rows, 5);
    const auto next = schedule.Next(5);
    ASSERT_EQ(next.size(), 5u);
    for (const RowStep& row : next) EXPECT_EQ(row.step, step);
    schedule.Advance(next);
  }
  EXPECT_TRUE(schedule.done());
}

TEST(RowSchedule, RecomputedRunsRowZeroInEveryPassAndShowsItOnce) {
  RowSchedule schedule(Plan(4), true, 2, {.form = TraceForm::kRecomputed, .max_active_rows = 2});
  // Passes {0, 1}, {0, 2}, {0, 3}.
  EXPECT_EQ(schedule.total_row_steps(), 12);
  int shown = 0;
  for (int pass = 0; pass < 3; ++pass) {
    for (int step = 0; step < 2; ++step) {
      const auto next = schedule.Next(schedule.demand().max_rows);
      EXPECT_THAT(RowsAndSteps(next), ElementsAre(std::pair(0, step), std::pair(pass + 1, step)));
      if (next[0].last && next[0].shows) ++shown;
      schedule.Advance(next);
    }
  }
  EXPECT_TRUE(schedule.done());
  EXPECT_EQ(shown, 1);
}

TEST(RowSchedule, RowsWithoutAnAnchorNeedNothing) {
  RowSchedule schedule(Plan(3, /*anchored=*/false), true, 2, {.max_active_rows = 8});
  EXPECT_EQ(schedule.demand().max_rows, 3);
  EXPECT_EQ(schedule.first_step_needed(), 2);
  schedule.Advance(schedule.Next(3));
  schedule.Advance(schedule.Next(3));
  EXPECT_TRUE(schedule.done());
}

TEST(RowSchedule, GrowsWhileRowsRun) {
  RowSchedule schedule(Plan(1), false, 2, {.max_active_rows = 8, .max_first_rows = 1});
  EXPECT_EQ(schedule.total_row_steps(), 2);
  schedule.AddRow();
  EXPECT_THAT(RowsAndSteps(schedule.Next(8)), ElementsAre(std::pair(0, 0)));
  schedule.Advance(schedule.Next(1));
  schedule.Advance(schedule.Next(1));
  EXPECT_EQ(schedule.num_open_rows(), 1);
  schedule.Advance(schedule.Next(1));
  schedule.Advance(schedule.Next(1));
  // Nothing to do, but the clip may go on: the traces stay.
  EXPECT_EQ(schedule.demand().max_rows, 0);
  EXPECT_FALSE(schedule.done());
  EXPECT_EQ(schedule.first_step_needed(), 0);
  schedule.AddRow();
  EXPECT_EQ(schedule.total_row_steps(), 6);
  EXPECT_THAT(RowsAndSteps(schedule.Next(8)), ElementsAre(std::pair(2, 0)));
  schedule.Complete();
  schedule.Advance(schedule.Next(1));
  EXPECT_EQ(schedule.first_step_needed(), 1);
  schedule.Advance(schedule.Next(1));
  EXPECT_TRUE(schedule.done());
}

// Whatever is granted, and whenever rows come: each step of each row runs once and in order, a
// follower's trace exists and has not been given up, and no more rows are under way than allowed.
TEST(RowSchedule, AnyGrantsKeepTheRules) {
  std::mt19937 random(1);
  const auto draw = [&random](int low, int high) {
    return std::uniform_int_distribution(low, high)(random);
  };
  for (int run = 0; run < 2000; ++run) {
    const int num_rows = draw(1, 9), num_steps = draw(2, 5);
    const RowSchedule::Options options = {.form = static_cast<TraceForm>(draw(0, 2)),
                                          .max_active_rows = draw(2, 6),
                                          .max_first_rows = draw(1, 6)};
    const bool grows = draw(0, 1) == 1;
    int num_there = grows ? draw(0, num_rows) : num_rows;
    RowSchedule schedule(Plan(num_there), !grows, num_steps, options);
    std::vector<int> taken(static_cast<size_t>(num_rows), 0);
    std::set<int> traces;
    std::set<int> ended;
    while (!schedule.done()) {
      if (num_there < num_rows && draw(0, 2) == 0) {
        schedule.AddRow();
        ++num_there;
      } else if (num_there == num_rows && !schedule.complete() && draw(0, 9) == 0) {
        schedule.Complete();
      }
      const RowDemand demand = schedule.demand();
      if (demand.max_rows == 0) {
        ASSERT_EQ(schedule.done(), schedule.complete());
        continue;
      }
      ASSERT_GE(demand.min_rows, 1);
      ASSERT_LE(demand.min_rows, demand.max_rows);
      const int grant = draw(demand.min_rows, demand.max_rows);
      const auto next = schedule.Next(grant);
      ASSERT_EQ(static_cast<int>(next.size()), grant);
      for (const RowStep& step : next) {
        if (step.first) taken[step.row] = 0;
        ASSERT_EQ(step.step, taken[step.row]++);
        ASSERT_EQ(step.last, step.step == num_steps - 1);
        if (step.row == 0) {
          traces.insert(step.step);
        } else {
          ASSERT_TRUE(traces.count(step.step)) << "row " << step.row << " has no trace";
        }
        if (step.last && step.shows) {
          ASSERT_TRUE(ended.insert(step.row).second);
        }
      }
      schedule.Advance(next);
      traces.erase(traces.begin(), traces.lower_bound(schedule.first_step_needed()));
      if (options.form == TraceForm::kRetained) {
        const auto active = std::count_if(
            taken.begin(), taken.end(), [&](int steps) { return steps > 0 && steps < num_steps; });
        ASSERT_LE(active, options.max_active_rows);
      }
    }
    ASSERT_EQ(static_cast<int>(ended.size()), num_rows);
    ASSERT_EQ(schedule.row_steps_done(), schedule.total_row_steps());
    ASSERT_EQ(schedule.demand().max_rows, 0);
    traces.erase(traces.begin(), traces.lower_bound(schedule.first_step_needed()));
    ASSERT_TRUE(traces.empty());
  }
}

}  // namespace
}  // namespace reenact
