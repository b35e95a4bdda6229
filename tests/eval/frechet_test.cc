#include "eval/frechet.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "absl/status/status.h"

namespace reenact {
namespace {

Gaussian Make(const std::vector<double>& mean, const torch::Tensor& covariance) {
  return {torch::tensor(mean, torch::kFloat64), covariance.to(torch::kFloat64)};
}

torch::Tensor Diagonal(const std::vector<double>& variances) {
  return torch::diag(torch::tensor(variances, torch::kFloat64));
}

TEST(FrechetTest, OfOneGaussianIsZero) {
  const torch::Tensor a = torch::tensor({{2.0, 0.7}, {0.7, 1.0}});

  EXPECT_NEAR(*FrechetDistance(Make({1, 2}, a), Make({1, 2}, a)), 0, 1e-9);
}

TEST(FrechetTest, InOneDimensionIsThatOfMeansAndDeviations) {
  // (3 - 1)^2 + (5 - 2)^2
  EXPECT_NEAR(*FrechetDistance(Make({1}, Diagonal({4})), Make({3}, Diagonal({25}))), 13, 1e-9);
}

TEST(FrechetTest, OfIndependentFeaturesIsTheSumOverThem) {
  EXPECT_NEAR(
      *FrechetDistance(Make({0, 0, 1}, Diagonal({1, 4, 9})), Make({0, 2, 1}, Diagonal({9, 4, 1}))),
      4 + 4 + 4, 1e-9);
}

TEST(FrechetTest, DoesNotDependOnTheAxes) {
  torch::manual_seed(1);
  const auto [rotation, unused] =
      torch::linalg_qr(torch::randn({3, 3}, torch::kFloat64), "reduced");
  const auto turned = [&, &rotation = rotation](const std::vector<double>& variances) {
    return rotation.matmul(Diagonal(variances)).matmul(rotation.t());
  };

  EXPECT_NEAR(
      *FrechetDistance(Make({0, 0, 0}, turned({1, 4, 9})), Make({0, 0, 0}, turned({9, 4, 1}))), 8,
      1e-9);
}

TEST(FrechetTest, OfCovariancesThatDoNotCommute) {
  // S1 = I, so (S1 S2)^1/2 = S2^1/2 with eigenvalues 1 and sqrt(3) for S2 = [[2,1],[1,2]]:
  // 2 + 4 - 2 (1 + sqrt 3). And with S1 = diag(1, 4): the eigenvalues of S1 S2 = [[2,1],[4,8]] are
  // 5 +- sqrt(13).
  const torch::Tensor s2 = torch::tensor({{2.0, 1.0}, {1.0, 2.0}});

  EXPECT_NEAR(*FrechetDistance(Make({0, 0}, Diagonal({1, 1})), Make({0, 0}, s2)),
              6 - 2 * (1 + std::sqrt(3)), 1e-9);
  EXPECT_NEAR(*FrechetDistance(Make({0, 0}, Diagonal({1, 4})), Make({0, 0}, s2)),
              9 - 2 * (std::sqrt(5 + std::sqrt(13)) + std::sqrt(5 - std::sqrt(13))), 1e-9);
}

TEST(FrechetTest, SingularCovariancesAreNoProblem) {
  EXPECT_NEAR(*FrechetDistance(Make({0, 0}, Diagonal({4, 0})), Make({0, 0}, Diagonal({1, 0}))), 1,
              1e-9);
  EXPECT_NEAR(*FrechetDistance(Make({0, 0}, Diagonal({4, 0})), Make({0, 0}, Diagonal({0, 1}))), 5,
              1e-9);
}

TEST(FrechetTest, FitsMeanAndCovariance) {
  const torch::Tensor features = torch::tensor({{1.0, 0.0}, {3.0, 2.0}, {5.0, 7.0}});

  const auto fitted = FitGaussian(features, 1), whole = FitGaussian(features, 0);

  ASSERT_TRUE(fitted.ok()) << fitted.status();
  EXPECT_TRUE(torch::allclose(fitted->mean, torch::tensor({3.0, 3.0}, torch::kFloat64)));
  // Deviations (-2,-3) (0,-1) (2,4): 8/2, 14/2, 26/2.
  EXPECT_TRUE(torch::allclose(fitted->covariance,
                              torch::tensor({{4.0, 7.0}, {7.0, 13.0}}, torch::kFloat64)));
  EXPECT_TRUE(torch::allclose(whole->covariance * 3, fitted->covariance * 2));
}

TEST(FrechetTest, SamplesOfTwoGaussiansComeNearTheirDistance) {
  torch::manual_seed(3);
  const torch::Tensor a = torch::randn({20000, 4}), b = torch::randn({20000, 4}) * 2 + 1;

  const double distance = *FrechetDistance(*FitGaussian(a), *FitGaussian(b));

  EXPECT_NEAR(distance, 4 * 1 + 4 * 1, 0.25);  // of means and of deviations, 1 a dimension each
}

TEST(FrechetTest, RefusesWhatIsNoSample) {
  torch::Tensor broken = torch::ones({3, 2});
  broken[1][1] = std::numeric_limits<float>::quiet_NaN();

  EXPECT_TRUE(absl::IsInvalidArgument(FitGaussian(broken).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(FitGaussian(torch::ones({1, 2})).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(FitGaussian(torch::ones({5})).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(FitGaussian(torch::ones({5, 2}, torch::kInt64)).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(
      FrechetDistance(Make({0}, Diagonal({1})), Make({0, 0}, Diagonal({1, 1}))).status()));
}

}  // namespace
}  // namespace reenact
