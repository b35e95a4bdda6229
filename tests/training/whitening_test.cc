#include "training/whitening.h"

#include <gtest/gtest.h>

#include "tests/training/tiny_data.h"
#include "training/landmark_augmentation.h"

namespace reenact {
namespace {

// 400 samples of 30 numbers whose deviations span four orders of magnitude.
torch::Tensor Samples() {
  torch::manual_seed(7);
  const torch::Tensor scales = torch::logspace(0, -4, 30);
  const torch::Tensor mixing = std::get<0>(torch::linalg_qr(torch::randn({30, 30})));
  return (torch::randn({400, 30}) * scales).matmul(mixing) + 3;
}

TEST(WhiteningTest, DirectionsAboveTheFloorGetUnitVarianceAndNoCorrelation) {
  const torch::Tensor samples = Samples();
  const Whitening whitening = ComputeWhitening(samples, 10, 0.002);

  const torch::Tensor y = whitening.Apply(samples);

  const torch::Tensor covariance = y.t().matmul(y) / 399.0;
  EXPECT_LT((covariance - torch::eye(10)).abs().max().item<double>(), 0.01);
}

TEST(WhiteningTest, DirectionsBelowTheFloorAreNotBlownUp) {
  const torch::Tensor samples = Samples();

  const torch::Tensor y = ComputeWhitening(samples, 30, 0.1).Apply(samples);

  EXPECT_LT(y.std(0).max().item<double>(), 1.01);
  EXPECT_LT(y.std(0)[29].item<double>(), 0.01);
}

TEST(WhiteningTest, FoldedLayerEqualsTheWhitenedOne) {
  const torch::Tensor samples = Samples();
  const Whitening whitening = ComputeWhitening(samples, 12, 0.002);
  torch::nn::Linear whitened(12, 8), folded(30, 8);

  FoldWhitening(whitening, whitened, folded);

  const torch::Tensor difference = folded(samples) - whitened(whitening.Apply(samples));
  // Float32 against directions magnified up to 500 times.
  EXPECT_LT(difference.abs().max().item<double>(), 1e-4);
}

TEST(WhiteningTest, UnfoldingIsTheReverseOfFolding) {
  const torch::Tensor samples = Samples();
  const Whitening whitening = ComputeWhitening(samples, 12, 0.002);
  torch::nn::Linear whitened(12, 8), folded(30, 8), unfolded(12, 8);
  FoldWhitening(whitening, whitened, folded);

  UnfoldWhitening(whitening, folded, unfolded);

  EXPECT_TRUE(torch::allclose(unfolded->weight, whitened->weight, 1e-3, 1e-4));
  EXPECT_TRUE(torch::allclose(unfolded->bias, whitened->bias, 1e-3, 1e-3));
}

TEST(WhiteningTest, UnfoldsForAnotherWhitening) {
  const torch::Tensor samples = Samples();
  const Whitening other = ComputeWhitening(samples.narrow(0, 0, 200), 30, 0.0001);
  torch::nn::Linear raw(30, 8), unfolded(30, 8);

  UnfoldWhitening(other, raw, unfolded);

  EXPECT_TRUE(torch::allclose(unfolded(other.Apply(samples)), raw(samples), 1e-3, 1e-3));
}

TEST(LandmarkAugmentationTest, ErrorsAreOfTheSizeAskedForAndMostlyConstant) {
  const Landmarks exact = ToLandmarks(testing::TinyData().landmarks[0][0]);
  const double unit = EyeDistance(exact);
  AugmentationOptions options;
  options.exact = 0;
  std::mt19937_64 random(5);

  double total = 0, between_frames = 0;
  for (int clip = 0; clip < 50; ++clip) {
    const LandmarkAugmentation augmentation(options, /*detected=*/false, random);
    const Landmarks first = augmentation.Source(exact, random);
    total += MeanDistance(first, exact) / unit / 50;
    between_frames += MeanDistance(first, augmentation.Source(exact, random)) / unit / 50;
  }

  EXPECT_GT(total, 0.4 * options.bias);
  EXPECT_LT(total, 1.5 * options.bias);
  EXPECT_LT(between_frames, 0.5 * total);
}

TEST(LandmarkAugmentationTest, ToDetectedLandmarksNoFaultsAreAdded) {
  const Landmarks detected = ToLandmarks(testing::TinyData().landmarks[0][0]);
  AugmentationOptions options;
  options.exact = 0;
  std::mt19937_64 random(5);
  const LandmarkAugmentation augmentation(options, /*detected=*/true, random);

  EXPECT_EQ(MeanDistance(augmentation.Source(detected, random), detected), 0);
  // Another face is as large or small in every frame.
  const Landmarks driving = augmentation.Driving(detected, random);
  EXPECT_GT(MeanDistance(driving, detected), 0);
  EXPECT_EQ(MeanDistance(driving, augmentation.Driving(detected, random)), 0);
}

TEST(LandmarkAugmentationTest, ExactClipsAreLeftAlone) {
  const Landmarks exact = ToLandmarks(testing::TinyData().landmarks[0][0]);
  AugmentationOptions options;
  options.exact = 1;
  std::mt19937_64 random(5);
  const LandmarkAugmentation augmentation(options, /*detected=*/false, random);

  EXPECT_EQ(MeanDistance(augmentation.Driving(exact, random), exact), 0);
  EXPECT_EQ(MeanDistance(augmentation.Source(exact, random), exact), 0);
}

}  // namespace
}  // namespace reenact
