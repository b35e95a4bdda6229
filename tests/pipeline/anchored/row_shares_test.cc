#include "pipeline/anchored/row_shares.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <numeric>
#include <random>
#include <vector>

namespace reenact {
namespace {

using ::testing::ElementsAre;

TEST(RowSharesTest, OneClipKeepsItsDemand) {
  for (const RowDemand demand :
       {RowDemand{0, 0}, RowDemand{1, 1}, RowDemand{1, 8}, RowDemand{5, 5}, RowDemand{2, 4}}) {
    const RowDemand sum = SumOfDemands({demand});
    EXPECT_EQ(sum.min_rows, demand.min_rows);
    EXPECT_EQ(sum.max_rows, demand.max_rows);
    for (int rows = demand.min_rows; rows <= demand.max_rows; ++rows) {
      EXPECT_THAT(ShareRows({demand}, rows), ElementsAre(rows));
    }
  }
}

TEST(RowSharesTest, RowsAreSpreadEvenly) {
  const std::vector<RowDemand> demands = {{1, 8}, {0, 0}, {1, 2}, {1, 8}};
  EXPECT_EQ(SumOfDemands(demands).min_rows, 1);
  EXPECT_EQ(SumOfDemands(demands).max_rows, 18);
  EXPECT_THAT(ShareRows(demands, 1), ElementsAre(1, 0, 0, 0));
  EXPECT_THAT(ShareRows(demands, 2), ElementsAre(1, 0, 1, 0));
  EXPECT_THAT(ShareRows(demands, 9), ElementsAre(4, 0, 2, 3));
  EXPECT_THAT(ShareRows(demands, 18), ElementsAre(8, 0, 2, 8));
}

TEST(RowSharesTest, RowsThatMustStayTogetherLeaveNoGap) {
  // 5 or 10 rows, but not 7: one clip at a time.
  EXPECT_EQ(SumOfDemands({{5, 5}, {5, 5}}).max_rows, 5);
  EXPECT_THAT(ShareRows({{5, 5}, {5, 5}}, 5), ElementsAre(5, 0));
  // The third fills the gap that the second would leave.
  EXPECT_EQ(SumOfDemands({{5, 5}, {5, 5}, {1, 3}}).max_rows, 8);
  EXPECT_THAT(ShareRows({{5, 5}, {5, 5}, {1, 3}}, 7), ElementsAre(5, 0, 2));
  EXPECT_EQ(SumOfDemands({{1, 4}, {5, 5}}).max_rows, 4);
  EXPECT_EQ(SumOfDemands({{1, 5}, {5, 5}}).max_rows, 10);
  EXPECT_THAT(ShareRows({{1, 5}, {5, 5}}, 6), ElementsAre(1, 5));
  EXPECT_THAT(ShareRows({{1, 5}, {5, 5}}, 5), ElementsAre(5, 0));
}

TEST(RowSharesTest, EveryNumberWithinTheDemandCanBeSharedOut) {
  std::mt19937 random(7);
  for (int round = 0; round < 2000; ++round) {
    std::vector<RowDemand> demands(1 + random() % 4);
    for (RowDemand& demand : demands) {
      demand.max_rows = static_cast<int>(random() % 9);
      if (demand.max_rows > 0) {
        demand.min_rows = 1 + static_cast<int>(random() % static_cast<uint32_t>(demand.max_rows));
      }
    }
    const RowDemand sum = SumOfDemands(demands);
    for (int rows = sum.min_rows; rows <= sum.max_rows; ++rows) {
      const std::vector<int> shares = ShareRows(demands, rows);
      EXPECT_EQ(std::accumulate(shares.begin(), shares.end(), 0), rows);
      for (size_t i = 0; i < shares.size(); ++i) {
        if (shares[i] == 0) continue;
        EXPECT_GE(shares[i], demands[i].min_rows);
        EXPECT_LE(shares[i], demands[i].max_rows);
      }
    }
  }
}

}  // namespace
}  // namespace reenact
