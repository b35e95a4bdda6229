#include "eval/statistics.h"

#include <gtest/gtest.h>

#include <cmath>

namespace reenact {
namespace {

TEST(MeanTest, OfNothingIsNoValue) {
  Mean mean;
  EXPECT_FALSE(mean.value().has_value());
  mean.Add(std::nullopt);
  EXPECT_FALSE(mean.value().has_value());
  mean.Add(2);
  mean.Add(5);
  EXPECT_DOUBLE_EQ(*mean.value(), 3.5);
  EXPECT_EQ(mean.count(), 2);
}

TEST(CorrelationTest, OfALineIsOneOrMinusOne) {
  Correlation up, down;
  for (int i = 0; i < 5; ++i) {
    up.Add(i, 3 * i + 7);
    down.Add(i, -0.5 * i);
  }

  EXPECT_NEAR(*up.Pooled(), 1, 1e-12);
  EXPECT_NEAR(*down.Pooled(), -1, 1e-12);
}

TEST(CorrelationTest, HasTheTextbookValue) {
  // Deviations -1 0 1 and -1 1 0 (means 2 and 2): r = (1 + 0 + 0) / sqrt(2 * 2).
  Correlation correlation;
  correlation.Add(1, 1);
  correlation.Add(2, 3);
  correlation.Add(3, 2);

  EXPECT_NEAR(*correlation.Pooled(), 0.5, 1e-12);
}

TEST(CorrelationTest, WithoutVariationIsNoValue) {
  Correlation constant, few;
  for (int i = 0; i < 4; ++i) constant.Add(0.1, i);
  few.Add(1, 2);
  few.Add(2, 3);

  EXPECT_FALSE(constant.Pooled().has_value());
  EXPECT_FALSE(few.Pooled().has_value());
}

TEST(CorrelationTest, WithinGroupsForgetsWhereAGroupLies) {
  // Each group falls, but the second lies above the first: together they rise.
  Correlation correlation;
  for (int i = 0; i < 3; ++i) correlation.Add(i, -i);
  correlation.NextGroup();
  for (int i = 0; i < 3; ++i) correlation.Add(100 + i, 100 - i);

  EXPECT_GT(*correlation.Pooled(), 0.99);
  EXPECT_NEAR(*correlation.WithinGroups(), -1, 1e-9);
}

TEST(QuantileTest, LiesBetweenNeighbours) {
  EXPECT_FALSE(Quantile({}, 0.5).has_value());
  EXPECT_DOUBLE_EQ(*Quantile({4, 1, 3, 2}, 0.5), 2.5);
  EXPECT_DOUBLE_EQ(*Quantile({4, 1, 3, 2}, 0), 1);
  EXPECT_DOUBLE_EQ(*Quantile({4, 1, 3, 2}, 1), 4);
  EXPECT_DOUBLE_EQ(*Quantile({7}, 0.3), 7);
}

}  // namespace
}  // namespace reenact
