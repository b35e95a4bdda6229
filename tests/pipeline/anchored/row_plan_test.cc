#include "pipeline/anchored/row_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <random>
#include <set>
#include <vector>

namespace reenact {
namespace {

using ::testing::ElementsAre;

constexpr SequencePlan kPlans[] = {SequencePlan::kCentralRandom, SequencePlan::kCentralInterleaved,
                                   SequencePlan::kContiguous, SequencePlan::kBalanced};

std::vector<int> Frames(const std::vector<RowSlot>& row) {
  std::vector<int> frames;
  for (const RowSlot& slot : row) frames.push_back(slot.frame);
  return frames;
}

TEST(RowPlanTest, EveryFrameIsShownOnceAndAnchorsAgree) {
  for (const SequencePlan kind : kPlans) {
    for (int n = 1; n <= 200; ++n) {
      for (int t = 1; t <= 16; ++t) {
        SCOPED_TRACE(::testing::Message()
                     << "N=" << n << " T=" << t << " plan " << static_cast<int>(kind));
        const auto plan = PlanRows(n, t, kind, 7);
        ASSERT_TRUE(plan.ok()) << plan.status();
        ASSERT_EQ(plan->anchor_slot.has_value(), t > 1);
        const int a = t / 2;
        if (t > 1) {
          ASSERT_EQ(*plan->anchor_slot, a);
          const bool central = t > 2 && (kind == SequencePlan::kCentralRandom ||
                                         kind == SequencePlan::kCentralInterleaved);
          if (central) {
            ASSERT_EQ(plan->anchor_frame, n / 2);
          } else if (kind == SequencePlan::kContiguous) {
            ASSERT_EQ(plan->anchor_frame, t == 2 ? std::min(n, t) - 1 : std::min(n, t) / 2);
          }
          const int before = plan->anchor_frame;
          const int after = n - 1 - before;
          const int per_after = t - 1 - a;
          const int central_rows = std::max(
              {1, (before + a - 1) / a, per_after == 0 ? 0 : (after + per_after - 1) / per_after});
          const int fewest = std::max(1, (n - 1 + t - 2) / (t - 1));
          ASSERT_EQ(plan->rows.size(), static_cast<size_t>(central ? central_rows : fewest));
        }
        std::vector<int> shown(static_cast<size_t>(n), 0);
        int padding = 0;
        int last_earliest = -1;
        for (size_t b = 0; b < plan->rows.size(); ++b) {
          const auto& row = plan->rows[b];
          ASSERT_EQ(row.size(), static_cast<size_t>(t));
          // In time order, of a contiguous row's frames all but the anchor.
          std::vector<int> order;
          for (int k = 0; k < t; ++k) {
            if (kind != SequencePlan::kContiguous || k != a) order.push_back(row[k].frame);
          }
          ASSERT_TRUE(std::is_sorted(order.begin(), order.end()));
          int earliest = n;
          for (int k = 0; k < t; ++k) {
            ASSERT_GE(row[k].frame, 0);
            ASSERT_LT(row[k].frame, n);
            if (!row[k].duplicate) {
              ++shown[row[k].frame];
              earliest = std::min(earliest, row[k].frame);
            }
            if (t > 1 && k == a) {
              ASSERT_EQ(row[k].frame, plan->anchor_frame);
              ASSERT_EQ(row[k].duplicate, b > 0);
            } else if (row[k].duplicate) {
              ++padding;
            }
          }
          ASSERT_LT(earliest, n) << "row " << b << " shows nothing";
          ASSERT_GT(earliest, last_earliest) << "rows are not in order of their earliest frame";
          last_earliest = earliest;
        }
        ASSERT_THAT(shown, ::testing::Each(1));
        ASSERT_EQ(padding, plan->num_padding_slots);
        const int slots = static_cast<int>(plan->rows.size()) * (t > 1 ? t - 1 : 1);
        ASSERT_EQ(plan->num_padding_slots, slots - (t > 1 ? n - 1 : n));
      }
    }
  }
}

// No anchor needs fewer rows than the balanced one, and none that needs as few is nearer to the
// middle.
TEST(RowPlanTest, BalancedTakesTheLeastRowsAndTheAnchorNearestToTheMiddle) {
  for (int n = 1; n <= 200; ++n) {
    for (int t = 2; t <= 16; ++t) {
      SCOPED_TRACE(::testing::Message() << "N=" << n << " T=" << t);
      const auto plan = PlanRows(n, t, SequencePlan::kBalanced, 7);
      ASSERT_TRUE(plan.ok()) << plan.status();
      const int a = t / 2, per_after = t - 1 - a;
      int least = n + 1, nearest = n;
      for (int anchor = 0; anchor < n; ++anchor) {
        const int after = n - 1 - anchor;
        if (per_after == 0 && after > 0) continue;
        const int rows = std::max(
            {1, (anchor + a - 1) / a, per_after == 0 ? 0 : (after + per_after - 1) / per_after});
        const int distance = std::abs(anchor - n / 2);
        if (rows < least) nearest = n;
        least = std::min(least, rows);
        if (rows == least) nearest = std::min(nearest, distance);
      }
      ASSERT_EQ(plan->rows.size(), static_cast<size_t>(least));
      ASSERT_EQ(std::abs(plan->anchor_frame - n / 2), nearest);
      ASSERT_LE(plan->num_padding_slots,
                PlanRows(n, t, SequencePlan::kCentralRandom, 7)->num_padding_slots);
    }
  }
}

TEST(RowPlanTest, PaperExampleSizes) {
  // 12 frames at T=4: 6 before and 5 after the anchor, 2 and 1 slots per row. 24 frames at T=8: 12
  // and 11, 4 and 3 slots.
  EXPECT_EQ(PlanRows(12, 4, SequencePlan::kCentralRandom, 0)->rows.size(), 5u);
  EXPECT_EQ(PlanRows(24, 8, SequencePlan::kCentralRandom, 0)->rows.size(), 4u);
  // The anchor elsewhere: 4 rows instead of 5, one slot of padding instead of 4.
  EXPECT_EQ(PlanRows(12, 4, SequencePlan::kBalanced, 0)->rows.size(), 4u);
  EXPECT_EQ(PlanRows(12, 4, SequencePlan::kBalanced, 0)->num_padding_slots, 1);
  EXPECT_EQ(PlanRows(24, 8, SequencePlan::kBalanced, 0)->rows.size(), 4u);
}

TEST(RowPlanTest, RowsOfARandomPlanHaveDistinctFramesIfThereAreEnough) {
  const auto plan = PlanRows(50, 6, SequencePlan::kCentralRandom, 3);
  ASSERT_TRUE(plan.ok());
  for (const auto& row : plan->rows) {
    const auto frames = Frames(row);
    EXPECT_EQ(std::set<int>(frames.begin(), frames.end()).size(), frames.size());
  }
}

TEST(RowPlanTest, SeedDecidesTheRandomPartition) {
  const auto a = PlanRows(60, 4, SequencePlan::kCentralRandom, 1);
  const auto b = PlanRows(60, 4, SequencePlan::kCentralRandom, 1);
  const auto c = PlanRows(60, 4, SequencePlan::kCentralRandom, 2);
  std::vector<std::vector<int>> fa, fb, fc;
  for (const auto& row : a->rows) fa.push_back(Frames(row));
  for (const auto& row : b->rows) fb.push_back(Frames(row));
  for (const auto& row : c->rows) fc.push_back(Frames(row));
  EXPECT_EQ(fa, fb);
  EXPECT_NE(fa, fc);
}

TEST(RowPlanTest, InterleavedRowsHaveAConstantStride) {
  // N=9, T=3: anchor 4, one slot on each side, 4 rows.
  const auto plan = PlanRows(9, 3, SequencePlan::kCentralInterleaved, 0);
  ASSERT_EQ(plan->rows.size(), 4u);
  EXPECT_THAT(Frames(plan->rows[0]), ElementsAre(0, 4, 5));
  EXPECT_THAT(Frames(plan->rows[3]), ElementsAre(3, 4, 8));
  // N=13, T=5: anchor 6, two slots on each side, 3 rows.
  const auto wide = PlanRows(13, 5, SequencePlan::kCentralInterleaved, 0);
  EXPECT_THAT(Frames(wide->rows[1]), ElementsAre(1, 4, 6, 8, 11));
}

TEST(RowPlanTest, ContiguousRowsComeInTheOrderOfTheirFrames) {
  const auto plan = PlanRows(15, 5, SequencePlan::kContiguous, 0);
  ASSERT_EQ(plan->rows.size(), 4u);
  EXPECT_THAT(Frames(plan->rows[0]), ElementsAre(0, 1, 2, 3, 4));
  EXPECT_THAT(Frames(plan->rows[1]), ElementsAre(5, 6, 2, 7, 8));
  EXPECT_THAT(Frames(plan->rows[2]), ElementsAre(9, 10, 2, 11, 12));
  // Two frames are left for four slots.
  EXPECT_THAT(Frames(plan->rows[3]), ElementsAre(13, 13, 2, 14, 14));
  EXPECT_EQ(plan->num_padding_slots, 2);
  // The rows that are there do not change when frames come.
  for (int n = 5; n < 15; ++n) {
    const auto shorter = PlanRows(n, 5, SequencePlan::kContiguous, 0);
    for (size_t b = 0; b < shorter->rows.size(); ++b) {
      if (PaddingSlots(shorter->rows[b], *shorter) == 0) {
        EXPECT_EQ(Frames(shorter->rows[b]), Frames(plan->rows[b]));
      }
    }
  }
}

TEST(RowPlanTest, FollowerRowsTakeAnyFrames) {
  const auto plan = PlanRows(6, 6, SequencePlan::kContiguous, 0);
  EXPECT_THAT(Frames(FollowerRow({7, 9, 12}, *plan)), ElementsAre(7, 7, 9, 3, 9, 12));
  const auto one = FollowerRow({8}, *plan);
  EXPECT_THAT(Frames(one), ElementsAre(8, 8, 8, 3, 8, 8));
  EXPECT_EQ(PaddingSlots(one, *plan), 4);
  EXPECT_FALSE(one[0].duplicate);
}

TEST(RowPlanTest, OneFrameIsPaddedWithItself) {
  const auto plan = PlanRows(1, 4, SequencePlan::kCentralRandom, 0);
  ASSERT_EQ(plan->rows.size(), 1u);
  EXPECT_THAT(Frames(plan->rows[0]), ElementsAre(0, 0, 0, 0));
  EXPECT_EQ(plan->num_padding_slots, 3);
}

void ExpectEqual(const RowPlan& a, const RowPlan& b) {
  EXPECT_EQ(a.num_frames, b.num_frames);
  EXPECT_EQ(a.frames_per_row, b.frames_per_row);
  EXPECT_EQ(a.anchor_frame, b.anchor_frame);
  EXPECT_EQ(a.anchor_slot, b.anchor_slot);
  EXPECT_EQ(a.num_padding_slots, b.num_padding_slots);
  EXPECT_EQ(a.linked_scenes.size(), b.linked_scenes.size());
  ASSERT_EQ(a.rows.size(), b.rows.size());
  for (size_t row = 0; row < a.rows.size(); ++row) {
    ASSERT_EQ(a.rows[row].size(), b.rows[row].size());
    for (size_t k = 0; k < a.rows[row].size(); ++k) {
      EXPECT_EQ(a.rows[row][k].frame, b.rows[row][k].frame);
      EXPECT_EQ(a.rows[row][k].duplicate, b.rows[row][k].duplicate);
    }
  }
}

TEST(ScenePlanTest, OneSceneIsThePlanWithoutScenes) {
  for (const SequencePlan kind :
       {SequencePlan::kCentralRandom, SequencePlan::kCentralInterleaved, SequencePlan::kBalanced}) {
    for (const int t : {1, 2, 5, 8}) {
      ExpectEqual(*PlanScenes(37, t, {}, kind, 4), *PlanRows(37, t, kind, 4));
    }
    // Without anchors there is nothing to link.
    ExpectEqual(*PlanScenes(37, 1, {5, 20}, kind, 4), *PlanRows(37, 1, kind, 4));
  }
}

TEST(ScenePlanTest, EveryFrameIsShownOnceInARowOfItsScene) {
  std::mt19937 random(2);
  const auto draw = [&random](int low, int high) {
    return std::uniform_int_distribution(low, high)(random);
  };
  for (int run = 0; run < 3000; ++run) {
    const int n = draw(1, 120), t = draw(2, 16);
    const SequencePlan kind =
        std::vector{SequencePlan::kCentralRandom, SequencePlan::kCentralInterleaved,
                    SequencePlan::kBalanced}[static_cast<size_t>(draw(0, 2))];
    std::set<int> chosen;
    for (int i = draw(0, 6); i > 0 && n > 1; --i) chosen.insert(draw(1, n - 1));
    const std::vector<int> cuts(chosen.begin(), chosen.end());
    SCOPED_TRACE(::testing::Message()
                 << "N=" << n << " T=" << t << " cuts " << ::testing::PrintToString(cuts)
                 << " plan " << static_cast<int>(kind));
    const auto plan = PlanScenes(n, t, cuts, kind, 3);
    ASSERT_TRUE(plan.ok()) << plan.status();
    ASSERT_EQ(plan->linked_scenes.size(), cuts.size());
    const int a = *plan->anchor_slot;
    std::vector<int> shown(static_cast<size_t>(n), 0);
    int padding = 0;
    for (size_t b = 0; b < plan->rows.size(); ++b) {
      const int number = static_cast<int>(b);
      const auto& row = plan->rows[b];
      ASSERT_EQ(row.size(), static_cast<size_t>(t));
      const LinkedScene* scene = plan->SceneOf(number);
      const size_t at =
          scene == nullptr ? 0 : static_cast<size_t>(scene - &plan->linked_scenes[0]) + 1;
      const int begin = at == 0 ? 0 : cuts[at - 1];
      const int end = at < cuts.size() ? cuts[at] : n;
      const bool linked = scene != nullptr && scene->first_row == number;
      ASSERT_EQ(plan->LeaderOf(number), b == 0 ? std::nullopt
                                        : scene == nullptr || linked
                                            ? std::optional(0)
                                            : std::optional(scene->first_row));
      ASSERT_EQ(plan->AnchorSlotOf(number), scene == nullptr || linked ? a : scene->anchor_slot);
      bool shows = false;
      for (int k = 0; k < t; ++k) {
        const RowSlot& slot = row[static_cast<size_t>(k)];
        if (!slot.duplicate) {
          ++shown[static_cast<size_t>(slot.frame)];
          shows = true;
        }
        if (k == a && (scene == nullptr || linked)) {
          ASSERT_EQ(slot.frame, plan->anchor_frame);
          ASSERT_EQ(slot.duplicate, b > 0);
          continue;
        }
        ASSERT_GE(slot.frame, begin);
        ASSERT_LT(slot.frame, end);
        if (scene != nullptr && k == scene->anchor_slot) {
          ASSERT_EQ(k, a - 1);
          ASSERT_EQ(slot.frame, scene->anchor_frame);
          ASSERT_EQ(slot.duplicate, !linked);
        } else {
          padding += slot.duplicate ? 1 : 0;
        }
      }
      ASSERT_TRUE(shows) << "row " << b;
    }
    ASSERT_THAT(shown, ::testing::Each(1));
    ASSERT_EQ(padding, plan->num_padding_slots);
    if (kind == SequencePlan::kBalanced) {
      size_t least = 0;
      for (size_t i = 0; i <= cuts.size(); ++i) {
        const int size = (i < cuts.size() ? cuts[i] : n) - (i == 0 ? 0 : cuts[i - 1]);
        const int others = i == 0 ? size - 1 : size;
        least += static_cast<size_t>(std::max(1, (others + t - 2) / (t - 1)));
      }
      ASSERT_EQ(plan->rows.size(), least);
    }
  }
}

TEST(ScenePlanTest, RefusesCutsThatAreNone) {
  const auto code = [](const std::vector<int>& cuts, SequencePlan kind) {
    return PlanScenes(10, 4, cuts, kind, 0).status().code();
  };
  EXPECT_EQ(code({0}, SequencePlan::kBalanced), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({10}, SequencePlan::kBalanced), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({4, 4}, SequencePlan::kBalanced), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({4}, SequencePlan::kContiguous), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(PlanScenes(0, 4, {}, SequencePlan::kBalanced, 0).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(RowPlanTest, RefusesEmptyInput) {
  EXPECT_EQ(PlanRows(0, 4, SequencePlan::kContiguous, 0).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(PlanRows(4, 0, SequencePlan::kContiguous, 0).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(PassPlanTest, EveryRowRunsOnceAndRowZeroLeadsEveryPass) {
  for (int n = 1; n <= 60; ++n) {
    for (const int t : {1, 2, 3, 8}) {
      const auto plan = PlanRows(n, t, SequencePlan::kContiguous, 0);
      for (int max_rows = 1; max_rows <= 9; ++max_rows) {
        SCOPED_TRACE(::testing::Message()
                     << n << " frames, T=" << t << ", " << max_rows << " rows");
        const int num_rows = static_cast<int>(plan->rows.size());
        std::vector<int> shown(plan->rows.size(), 0);
        const auto passes = PlanPasses(*plan, max_rows);
        for (size_t p = 0; p < passes.size(); ++p) {
          const int limit = t > 1 && num_rows > 1 ? std::max(max_rows, 2) : max_rows;
          ASSERT_LE(passes[p].rows.size(), static_cast<size_t>(limit));
          ASSERT_FALSE(passes[p].rows.empty());
          ASSERT_EQ(passes[p].shows_first, t == 1 || p == 0);
          if (t > 1) {
            ASSERT_EQ(passes[p].rows[0], 0);
          }
          for (size_t i = passes[p].shows_first ? 0 : 1; i < passes[p].rows.size(); ++i) {
            ++shown[passes[p].rows[i]];
          }
        }
        ASSERT_THAT(shown, ::testing::Each(1));
        if (t > 1 && num_rows > 1) {
          const int followers = std::max(max_rows, 2) - 1;
          ASSERT_EQ(passes.size(), static_cast<size_t>((num_rows - 2) / followers + 1));
        }
      }
    }
  }
}

}  // namespace
}  // namespace reenact
