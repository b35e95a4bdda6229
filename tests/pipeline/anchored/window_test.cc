#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "pipeline/anchored/window_plan.h"
#include "pipeline/anchored/window_schedule.h"

namespace reenact {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

std::vector<std::pair<int, int>> Pairs(const std::vector<FrameWindow>& windows) {
  std::vector<std::pair<int, int>> pairs;
  for (const FrameWindow& window : windows) pairs.emplace_back(window.first, window.end());
  return pairs;
}

std::vector<FrameWindow> Plan(int num_frames, int width, int overlap, WindowTail tail) {
  auto windows = PlanWindows(num_frames, width, overlap, tail);
  EXPECT_TRUE(windows.ok()) << windows.status();
  return *std::move(windows);
}

TEST(WindowPlan, BeginsAWindowAfterEachStride) {
  // As Make-Your-Anchor: 16 frames, 4 of them shared.
  EXPECT_THAT(Pairs(Plan(40, 16, 4, WindowTail::kShort)),
              ElementsAre(Pair(0, 16), Pair(12, 28), Pair(24, 40)));
  EXPECT_THAT(Pairs(Plan(41, 16, 4, WindowTail::kShort)),
              ElementsAre(Pair(0, 16), Pair(12, 28), Pair(24, 40), Pair(36, 41)));
  EXPECT_THAT(Pairs(Plan(41, 16, 4, WindowTail::kMovedBack)),
              ElementsAre(Pair(0, 16), Pair(12, 28), Pair(24, 40), Pair(25, 41)));
  for (const WindowTail tail : {WindowTail::kShort, WindowTail::kMovedBack}) {
    EXPECT_THAT(Pairs(Plan(4, 4, 2, tail)), ElementsAre(Pair(0, 4)));
    EXPECT_THAT(Pairs(Plan(3, 4, 2, tail)), ElementsAre(Pair(0, 3)));
  }
}

TEST(WindowPlan, CoversEveryFrameWithWindowsThatAllAddSome) {
  for (int n = 1; n <= 60; ++n) {
    for (int width = 1; width <= 9; ++width) {
      for (int overlap = 0; overlap < width; ++overlap) {
        for (const WindowTail tail : {WindowTail::kShort, WindowTail::kMovedBack}) {
          SCOPED_TRACE(::testing::Message() << n << " frames, " << width << "/" << overlap);
          const std::vector<FrameWindow> windows = Plan(n, width, overlap, tail);
          ASSERT_EQ(windows.front().first, 0);
          ASSERT_EQ(windows.back().end(), n);
          for (size_t w = 0; w < windows.size(); ++w) {
            const bool last = w + 1 == windows.size();
            ASSERT_LE(windows[w].count, width);
            ASSERT_TRUE(windows[w].count == width ||
                        (last && (tail == WindowTail::kShort || w == 0)));
            if (w == 0) continue;
            ASSERT_GT(windows[w].end(), windows[w - 1].end());
            ASSERT_GT(windows[w].first, windows[w - 1].first);
            const int shared = windows[w - 1].end() - windows[w].first;
            ASSERT_TRUE(shared == overlap ||
                        (last && tail == WindowTail::kMovedBack && shared > overlap));
          }
        }
      }
    }
  }
}

TEST(WindowPlan, RefusesWindowsThatAreNone) {
  for (const auto& [n, width, overlap] : {std::tuple(0, 4, 0), {5, 0, 0}, {5, 4, 4}, {5, 4, -1}}) {
    EXPECT_EQ(PlanWindows(n, width, overlap, WindowTail::kShort).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
}

TEST(WindowSizes, HaveTheMethodsDefaults) {
  const auto size = [](LongVideoMethod method, const WindowOptions& options, int t) {
    const auto chosen = ChooseWindowSize(method, options, t);
    EXPECT_TRUE(chosen.ok()) << chosen.status();
    return std::pair(chosen->width, chosen->overlap);
  };
  EXPECT_THAT(size(LongVideoMethod::kMultiDiffusion, {}, 8), Pair(8, 4));
  EXPECT_THAT(size(LongVideoMethod::kMultiDiffusion, {.frames = 5, .overlap = {}}, 8), Pair(5, 2));
  EXPECT_THAT(size(LongVideoMethod::kMultiDiffusion, {}, 1), Pair(1, 0));
  EXPECT_THAT(size(LongVideoMethod::kOverlapped, {}, 16), Pair(16, 4));
  EXPECT_THAT(size(LongVideoMethod::kOverlapped, {.frames = 3, .overlap = {}}, 8), Pair(3, 1));
  EXPECT_THAT(size(LongVideoMethod::kOverlapped, {}, 1), Pair(1, 0));
  EXPECT_THAT(size(LongVideoMethod::kOverlapped, {.frames = 6, .overlap = 5}, 8), Pair(6, 5));
  EXPECT_THAT(size(LongVideoMethod::kIndependent, {.frames = 6, .overlap = {}}, 8), Pair(6, 0));
}

TEST(WindowSizes, AreCheckedByName) {
  const auto message = [](LongVideoMethod method, const WindowOptions& options) {
    const absl::Status status = ChooseWindowSize(method, options, 8).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return std::string(status.message());
  };
  EXPECT_THAT(message(LongVideoMethod::kOverlapped, {.frames = 9, .overlap = {}}),
              HasSubstr("window.frames must be 1..8, is 9"));
  EXPECT_THAT(message(LongVideoMethod::kOverlapped, {.frames = 0, .overlap = {}}),
              HasSubstr("window.frames must be 1..8, is 0"));
  EXPECT_THAT(message(LongVideoMethod::kMultiDiffusion, {.frames = 4, .overlap = 4}),
              HasSubstr("window.overlap must be 0..3, is 4"));
  EXPECT_THAT(message(LongVideoMethod::kMultiDiffusion, {.frames = {}, .overlap = -1}),
              HasSubstr("window.overlap must be 0..7, is -1"));
  EXPECT_THAT(message(LongVideoMethod::kIndependent, {.frames = {}, .overlap = 0}),
              HasSubstr("window.overlap is 0"));
}

TEST(IndependentRows, ShowEveryFrameOnce) {
  for (int n = 1; n <= 200; ++n) {
    for (int width = 1; width <= 16; ++width) {
      const auto plan = PlanIndependentRows(n, width);
      ASSERT_TRUE(plan.ok());
      ASSERT_FALSE(plan->anchor_slot.has_value());
      ASSERT_EQ(plan->rows.size(), static_cast<size_t>((n + width - 1) / width));
      std::vector<int> shown(static_cast<size_t>(n), 0);
      int padding = 0;
      for (const auto& row : plan->rows) {
        ASSERT_EQ(row.size(), static_cast<size_t>(std::min(n, width)));
        for (size_t k = 0; k < row.size(); ++k) {
          ASSERT_EQ(row[k].frame, row[0].frame + static_cast<int>(k));
          ++(row[k].duplicate ? padding : shown[static_cast<size_t>(row[k].frame)]);
        }
      }
      ASSERT_THAT(shown, ::testing::Each(1));
      ASSERT_EQ(plan->num_padding_slots, padding);
    }
  }
}

// Whatever is granted: a window's frames have all taken the steps before, each frame gets its
// windows' predictions in order, and no more windows are under way than said.
TEST(WindowSchedule, AnyGrantsKeepTheRules) {
  std::mt19937 random(1);
  const auto draw = [&random](int low, int high) {
    return std::uniform_int_distribution(low, high)(random);
  };
  for (int run = 0; run < 2000; ++run) {
    const int n = draw(1, 60), width = draw(1, 8), overlap = draw(0, width - 1);
    const int num_steps = draw(2, 6), max_rows = draw(1, 8);
    const auto windows =
        Plan(n, width, overlap, draw(0, 1) == 0 ? WindowTail::kShort : WindowTail::kMovedBack);
    WindowSchedule schedule(windows, num_steps, max_rows);
    EXPECT_EQ(schedule.total_row_steps(), static_cast<int64_t>(windows.size()) * num_steps);
    std::vector<int> steps(static_cast<size_t>(n), 0);
    std::map<std::pair<int, int>, std::vector<int>> predictions;  // by frame and step
    std::vector<int> taken(windows.size(), 0);
    while (!schedule.done()) {
      const RowDemand demand = schedule.demand();
      ASSERT_EQ(demand.min_rows, 1);
      ASSERT_GE(demand.max_rows, 1);
      ASSERT_LE(demand.max_rows, max_rows);
      const auto next = schedule.Next(draw(1, demand.max_rows));
      for (const WindowStep& step : next) {
        const FrameWindow& window = windows[static_cast<size_t>(step.window)];
        ASSERT_EQ(step.step, taken[static_cast<size_t>(step.window)]++);
        for (int f = window.first; f < window.end(); ++f) {
          ASSERT_EQ(steps[static_cast<size_t>(f)], step.step);
          predictions[{f, step.step}].push_back(step.window);
        }
      }
      for (const FrameStep& frame : schedule.Advance(next)) {
        ASSERT_EQ(frame.step, steps[static_cast<size_t>(frame.frame)]++);
        const auto& from = predictions.at({frame.frame, frame.step});
        ASSERT_TRUE(std::is_sorted(from.begin(), from.end()));
        size_t holding = 0;
        for (const FrameWindow& window : windows) {
          holding += window.first <= frame.frame && frame.frame < window.end() ? 1 : 0;
        }
        ASSERT_EQ(from.size(), holding);
      }
      const auto active = std::count_if(taken.begin(), taken.end(),
                                        [&](int count) { return count > 0 && count < num_steps; });
      ASSERT_LE(active, schedule.max_active_windows());
      ASSERT_EQ(
          schedule.num_open_windows(),
          std::count_if(taken.begin(), taken.end(), [&](int count) { return count < num_steps; }));
    }
    ASSERT_THAT(steps, ::testing::Each(num_steps));
    ASSERT_EQ(schedule.row_steps_done(), schedule.total_row_steps());
    ASSERT_EQ(schedule.demand().max_rows, 0);
  }
}

// In long clips every step is full but for the ends, with memory for few windows.
TEST(WindowSchedule, FillsStepsWithFewWindowsUnderWay) {
  for (const int overlap : {2, 4, 5}) {
    WindowSchedule schedule(Plan(2000, 8, overlap, WindowTail::kMovedBack), 20, 8);
    const int reach = overlap == 5 ? 2 : 1;
    EXPECT_EQ(schedule.max_active_windows(), reach * 19 + 9);
    int64_t steps = 0;
    int64_t first_frames = 0;
    while (!schedule.done()) {
      const auto taken = schedule.Advance(schedule.Next(schedule.demand().max_rows));
      ++steps;
      const bool ended = std::any_of(taken.begin(), taken.end(),
                                     [](const FrameStep& frame) { return frame.step == 19; });
      if (ended && first_frames == 0) first_frames = steps;
    }
    EXPECT_LT(static_cast<double>(steps),
              1.1 * static_cast<double>(schedule.total_row_steps()) / 8);
    // The first frames leave long before the last begin.
    EXPECT_LT(first_frames, steps / 4);
  }
}

}  // namespace
}  // namespace reenact
