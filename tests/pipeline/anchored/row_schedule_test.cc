#include "pipeline/anchored/row_schedule.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
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

// Rows 0, 1, 2 of the first scene, 3 and 4 of the second, 5 and 6 of the third.
RowPlan PlanOfThreeScenes() {
  RowPlan plan = Plan(7);
  plan.linked_scenes = {{.first_row = 3, .anchor_slot = 1}, {.first_row = 5, .anchor_slot = 1}};
  return plan;
}

TEST(RowSchedule, LinkedScenesFollowTheFirstAnchor) {
  RowSchedule schedule(PlanOfThreeScenes(), true, 2, {.max_active_rows = 8, .max_first_rows = 8});
  EXPECT_EQ(schedule.total_row_steps(), 14);
  // The third scene waits until the first has ended.
  EXPECT_THAT(RowsAndSteps(schedule.Next(8)),
              ElementsAre(std::pair(0, 0), std::pair(1, 0), std::pair(2, 0), std::pair(3, 0),
                          std::pair(4, 0)));
  schedule.Advance(schedule.Next(4));
  // Row 4 was not granted; its leader's trace of step 0 is kept.
  EXPECT_EQ(schedule.first_step_needed(3), 0);
  EXPECT_EQ(schedule.first_step_needed(0), 0);
  schedule.Advance(schedule.Next(8));
  EXPECT_THAT(RowsAndSteps(schedule.Next(8)),
              ElementsAre(std::pair(4, 1), std::pair(5, 0), std::pair(6, 0)));
  EXPECT_EQ(schedule.first_step_needed(3), 1);
  schedule.Advance(schedule.Next(8));
  EXPECT_EQ(schedule.first_step_needed(3), 2);
  EXPECT_EQ(schedule.first_step_needed(0), 1);
  schedule.Advance(schedule.Next(8));
  EXPECT_TRUE(schedule.done());
}

TEST(RowSchedule, RecomputedPassesHoldOneSceneEach) {
  RowSchedule schedule(PlanOfThreeScenes(), true, 1,
                       {.form = TraceForm::kRecomputed, .max_active_rows = 2});
  EXPECT_EQ(schedule.total_row_steps(), 9);
  std::vector<std::vector<int>> passes;
  std::vector<int> shown;
  while (!schedule.done()) {
    const auto next = schedule.Next(schedule.demand().max_rows);
    passes.emplace_back();
    for (const RowStep& step : next) {
      passes.back().push_back(step.row);
      if (step.shows) shown.push_back(step.row);
    }
    schedule.Advance(next);
  }
  // Two rows are too few beside two anchors: there are three.
  EXPECT_THAT(passes,
              ElementsAre(ElementsAre(0, 1, 2), ElementsAre(0, 3, 4), ElementsAre(0, 5, 6)));
  EXPECT_THAT(shown, ElementsAre(0, 1, 2, 3, 4, 5, 6));
  EXPECT_EQ(schedule.row_steps_done(), 9);
}

// Whatever is granted, and whenever rows come: each step of each row runs once and in order, a
// follower's trace exists and has not been given up, and no more rows are under way than allowed.
TEST(RowSchedule, AnyGrantsKeepTheRules) {
  std::mt19937 random(1);
  const auto draw = [&random](int low, int high) {
    return std::uniform_int_distribution(low, high)(random);
  };
  for (int run = 0; run < 4000; ++run) {
    const int num_rows = draw(1, 9), num_steps = draw(2, 5);
    const RowSchedule::Options options = {.form = static_cast<TraceForm>(draw(0, 2)),
                                          .max_active_rows = draw(2, 6),
                                          .max_first_rows = draw(1, 6)};
    const bool grows = draw(0, 2) == 0;
    int num_there = grows ? draw(0, num_rows) : num_rows;
    RowPlan plan = Plan(num_there);
    std::set<int> links;
    for (int i = grows ? 0 : draw(0, 3); i > 0 && num_rows > 1; --i) {
      links.insert(draw(1, num_rows - 1));
    }
    for (const int row : links) plan.linked_scenes.push_back({.first_row = row, .anchor_slot = 1});
    RowSchedule schedule(plan, !grows, num_steps, options);
    std::vector<int> taken(static_cast<size_t>(num_rows), 0);
    std::map<int, std::set<int>> traces;  // by leader
    const auto forget_traces = [&] {
      size_t kept = 0;
      for (auto& [leader, steps] : traces) {
        steps.erase(steps.begin(), steps.lower_bound(schedule.first_step_needed(leader)));
        kept += steps.empty() ? 0 : 1;
      }
      return kept;
    };
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
        const int leader = schedule.LeaderOf(step.row);
        if (!grows) {
          ASSERT_EQ(leader, plan.LeaderOf(step.row).value_or(-1));
        }
        if (step.first) taken[step.row] = 0;
        ASSERT_EQ(step.step, taken[step.row]++);
        ASSERT_EQ(step.last, step.step == num_steps - 1);
        if (leader >= 0) {
          ASSERT_TRUE(traces[leader].contains(step.step)) << "row " << step.row << " has no trace";
        }
        if (schedule.IsLeader(step.row)) traces[step.row].insert(step.step);
        if (step.last && step.shows) {
          ASSERT_TRUE(ended.insert(step.row).second);
        }
      }
      schedule.Advance(next);
      const size_t kept = forget_traces();
      if (options.form == TraceForm::kRetained) {
        const auto active = std::count_if(
            taken.begin(), taken.end(), [&](int steps) { return steps > 0 && steps < num_steps; });
        ASSERT_LE(active, std::max(options.max_active_rows, links.empty() ? 2 : 3));
        ASSERT_LE(kept, 3u);
      }
    }
    ASSERT_EQ(static_cast<int>(ended.size()), num_rows);
    ASSERT_EQ(schedule.row_steps_done(), schedule.total_row_steps());
    ASSERT_EQ(schedule.demand().max_rows, 0);
    ASSERT_EQ(forget_traces(), 0u);
  }
}

}  // namespace
}  // namespace reenact
