#include "pipeline/anchored/row_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <vector>

namespace reenact {
namespace {

using ::testing::ElementsAre;

constexpr SequencePlan kPlans[] = {SequencePlan::kCentralRandom, SequencePlan::kCentralInterleaved,
                                   SequencePlan::kContiguous};

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
          const bool central = kind != SequencePlan::kContiguous && t > 2;
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

TEST(RowPlanTest, PaperExampleSizes) {
  // 12 frames at T=4: 6 before and 5 after the anchor, 2 and 1 slots per row. 24 frames at T=8: 12
  // and 11, 4 and 3 slots.
  EXPECT_EQ(PlanRows(12, 4, SequencePlan::kCentralRandom, 0)->rows.size(), 5u);
  EXPECT_EQ(PlanRows(24, 8, SequencePlan::kCentralRandom, 0)->rows.size(), 4u);
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
