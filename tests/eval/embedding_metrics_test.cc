#include "eval/embedding_metrics.h"

#include <gtest/gtest.h>

#include <cmath>

namespace reenact {
namespace {

// A vector of the plane at `degrees`, of any length.
Embedding At(double degrees, double length = 1) {
  const double radians = degrees * std::acos(-1.0) / 180;
  return {static_cast<float>(length * std::cos(radians)),
          static_cast<float>(length * std::sin(radians))};
}

double Cos(double degrees) { return std::cos(degrees * std::acos(-1.0) / 180); }

TEST(EmbeddingMetricsTest, CosineIgnoresLength) {
  EXPECT_NEAR(Cosine(At(10, 3), At(70, 0.2)), 0.5, 1e-6);
  EXPECT_NEAR(Cosine(At(0), At(180)), -1, 1e-6);
}

TEST(EmbeddingMetricsTest, CsimIsThatOfTheWorstFrame) {
  EXPECT_NEAR(Csim(At(0), {At(10), At(40), At(-20)}), Cos(40), 1e-6);
}

TEST(EmbeddingMetricsTest, SelfCsimComparesTheWorstPairs) {
  // The worst pairs are 50 and 20 degrees apart.
  const auto value = SelfCsim({At(0), At(30), At(-20)}, {At(0), At(20), At(10)});

  EXPECT_NEAR(*value, std::abs(Cos(50) - Cos(20)), 1e-6);
  EXPECT_NEAR(*SelfCsim({At(5), At(25)}, {At(0), At(20)}), 0, 1e-6);
  EXPECT_FALSE(SelfCsim({At(0)}, {At(0), At(20)}).has_value());
}

TEST(EmbeddingMetricsTest, ShareLessAlikeCountsThoseBelowTheSource) {
  const std::vector<Embedding> frames = {At(10), At(20)};
  // The source is 20 degrees from its worst frame; of the others one is nearer.
  const std::vector<Embedding> others = {At(15), At(60), At(-5), At(180)};

  EXPECT_DOUBLE_EQ(ShareLessAlike(At(0), others, frames), 0.75);
  // As near as the source is not below it.
  EXPECT_DOUBLE_EQ(ShareLessAlike(At(0), {At(0)}, frames), 0);
}

TEST(EmbeddingMetricsTest, LeakIsZeroAtTheSourceAndOneAtTheDriver) {
  EXPECT_NEAR(*IdentityLeak(At(0), At(60), {At(0)}), 0, 1e-6);
  EXPECT_NEAR(*IdentityLeak(At(0), At(60), {At(60)}), 1, 1e-6);
  EXPECT_NEAR(*IdentityLeak(At(0), At(60), {At(0), At(60)}), 0.5, 1e-6);
  EXPECT_LT(*IdentityLeak(At(0), At(60), {At(-30)}), 0);
  EXPECT_FALSE(IdentityLeak(At(0), At(0, 2), {At(30)}).has_value());
}

TEST(EmbeddingMetricsTest, TheMeanIsOfUnitLength) {
  const Embedding mean = MeanEmbedding({At(0), At(90)});

  EXPECT_NEAR(Cosine(mean, At(45)), 1, 1e-6);
  EXPECT_NEAR(mean[0] * mean[0] + mean[1] * mean[1], 1, 1e-6);
}

TEST(EmbeddingMetricsTest, RetrievalCountsPicturesNearestToTheirOwnText) {
  // The second picture is nearer to the third text.
  EXPECT_DOUBLE_EQ(
      RetrievalTop1({At(0), At(80), At(100), At(180)}, {At(5), At(50), At(85), At(170)}), 0.75);
  // Texts that are the same cannot be told apart.
  EXPECT_DOUBLE_EQ(RetrievalTop1({At(0), At(1)}, {At(0), At(0)}), 0);
}

}  // namespace
}  // namespace reenact
