#include "eval/clustering.h"

#include <gtest/gtest.h>

#include "absl/status/status.h"

namespace reenact {
namespace {

// Two clusters of two points: (0,0) (0,2) and (6,0) (6,2). Centres (0,1) and (6,1), all points 1
// from theirs.
LabelledPoints TwoPairs() { return {2, {0, 0, 0, 2, 6, 0, 6, 2}, {7, 7, -3, -3}}; }

TEST(ClusteringTest, DaviesBouldinOfTwoPairs) {
  // (1 + 1) / 6 for both.
  EXPECT_NEAR(*DaviesBouldin(TwoPairs()), 1.0 / 3, 1e-12);
}

TEST(ClusteringTest, DaviesBouldinTakesTheWorstNeighbour) {
  // A third cluster, one point at (6, 9): its extent is 0, 8 from the second centre, 10 from the
  // first. Worst: 1/3 for the first two, 1/8 for the third.
  LabelledPoints points = TwoPairs();
  points.values.insert(points.values.end(), {6, 9});
  points.labels.push_back(0);

  EXPECT_NEAR(*DaviesBouldin(points), (1.0 / 3 + 1.0 / 3 + 1.0 / 8) / 3, 1e-12);
}

TEST(ClusteringTest, CalinskiHarabaszOfTwoPairs) {
  // Middle (3,1): between = 4 points * 9 = 36 over k - 1 = 1; within = 4 * 1 over n - k = 2.
  EXPECT_NEAR(*CalinskiHarabasz(TwoPairs()), 36.0 / (4.0 / 2), 1e-12);
}

TEST(ClusteringTest, FartherClustersAreBetterSeparated) {
  LabelledPoints far = TwoPairs();
  far.values[4] = far.values[6] = 60;

  EXPECT_LT(*DaviesBouldin(far), *DaviesBouldin(TwoPairs()));
  EXPECT_GT(*CalinskiHarabasz(far), *CalinskiHarabasz(TwoPairs()));
}

TEST(ClusteringTest, WhatHasNoAnswerIsRefused) {
  EXPECT_TRUE(absl::IsInvalidArgument(DaviesBouldin({2, {0, 0, 1, 1}, {1, 1}}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(DaviesBouldin({2, {0, 0, 1}, {1, 2}}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(DaviesBouldin({1, {1, 3, 0, 4}, {1, 1, 2, 2}}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(CalinskiHarabasz({1, {1, 2}, {1, 2}}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(CalinskiHarabasz({1, {1, 1, 2, 2}, {1, 1, 2, 2}}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(CalinskiHarabasz({0, {}, {}}).status()));
}

}  // namespace
}  // namespace reenact
