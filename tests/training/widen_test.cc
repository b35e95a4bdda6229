#include "training/widen.h"

#include <gtest/gtest.h>

#include "pipeline/weights/load.h"
#include "tests/training/tiny_autoencoder.h"
#include "tests/training/tiny_sdit.h"

namespace reenact {
namespace {

std::unique_ptr<AutoencoderTrainee> MakeAutoencoder(int64_t latent_channels) {
  AutoencoderTrainingOptions options = testing::TinyAutoencoderOptions();
  options.latent_channels = latent_channels;
  options.bfloat16 = false;
  return testing::MakeTinyAutoencoder(options);
}

TEST(WidenAutoencoderTest, KeepsTheOldLatentsAndThePicturesAndLearnsFromTheNewOnes) {
  const auto narrow = MakeAutoencoder(2);
  testing::TrainSteps(*narrow, 0, 60, 60);
  const auto wide = MakeAutoencoder(5);

  ASSERT_TRUE(wide->StartFrom(narrow->config(), StateDict(*narrow->averaged())).ok());

  torch::NoGradGuard no_grad;
  const torch::Tensor x = ToUnitRange(testing::TinyData().frames[0]);
  const Moments before = narrow->averaged()->encode(x), after = wide->averaged()->encode(x);
  EXPECT_TRUE(torch::allclose(after.mean.narrow(1, 0, 2), before.mean, 1e-4, 1e-5));
  EXPECT_TRUE(torch::allclose(after.logvar.narrow(1, 0, 2), before.logvar, 1e-4, 1e-4));
  EXPECT_TRUE(torch::allclose(wide->averaged()->decode(after.mean),
                              narrow->averaged()->decode(before.mean), 1e-4, 1e-4));
  const double known = before.mean.std().item<double>();
  const double fresh = after.mean.narrow(1, 2, 3).std().item<double>();
  EXPECT_GT(fresh, 0.1 * known);
  EXPECT_LT(fresh, 10 * known);

  at::AutoGradMode learning(true);
  const double start = wide->Evaluate()[0].second;
  testing::TrainSteps(*wide, 0, 60, 60);
  EXPECT_GT(wide->Evaluate()[0].second, start + 0.5);
}

TEST(WidenAutoencoderTest, FewerChannelsAreRefused) {
  const auto wide = MakeAutoencoder(5), narrow = MakeAutoencoder(2);
  const absl::Status status = narrow->StartFrom(wide->config(), StateDict(*wide->averaged()));

  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("5 latent channels"), absl::string_view::npos) << status;
}

TEST(WidenSditTest, PredictsTheOldChannelsAsBeforeWhateverTheNewOnesHold) {
  for (const bool learn_sigma : {false, true}) {
    SDiTConfig config{.latent_channels = 3,
                      .latent_size = 4,
                      .patch_size = 2,
                      .hidden_size = 32,
                      .depth = 2,
                      .num_heads = 2,
                      .num_frames = 2,
                      .clip_dim = 8,
                      .mapping_blocks = 1,
                      .learn_sigma = learn_sigma,
                      .source = SourceTokens::kSelf};
    SDiT narrow(config);
    torch::manual_seed(4);
    torch::NoGradGuard no_grad;
    for (torch::Tensor& parameter : narrow->parameters()) parameter.normal_(0, 0.2);
    SDiTConfig wider = config;
    wider.latent_channels = 5;
    SDiT wide(wider);

    ASSERT_TRUE(LoadWeights(*wide, WidenSdit(StateDict(*narrow), config, wider)).ok());
    SDiTInput input{.x = torch::randn({2, 2, 5, 4, 4}),
                    .t = torch::tensor({3, 900}),
                    .C = torch::randn({2, 2, 32})};
    input.source_latent = torch::randn({2, 5, 4, 4});
    input.source_C = torch::randn({2, 32});
    SDiTInput known = input;
    known.x = input.x.narrow(2, 0, 3).contiguous();
    known.source_latent = input.source_latent->narrow(1, 0, 3).contiguous();
    const torch::Tensor out = wide->forward(input), expected = narrow->forward(known);
    ASSERT_EQ(out.size(2), learn_sigma ? 10 : 5);
    for (int64_t half = 0; half < (learn_sigma ? 2 : 1); ++half) {
      EXPECT_TRUE(
          torch::allclose(out.narrow(2, 5 * half, 3), expected.narrow(2, 3 * half, 3), 1e-4, 1e-4));
      EXPECT_EQ(out.narrow(2, 5 * half + 3, 2).abs().max().item<double>(), 0);
    }
  }
}

TEST(WidenSditTest, ATrainingGoesOnWithMoreOfLandmarkMapsAndOfG) {
  SditTrainingOptions options = testing::TinySditOptions();
  options.landmark_map_frequencies = 1;
  options.landmark_map_openings = false;
  options.identity_change = false;
  const auto first = testing::MakeTinySdit(options);
  testing::TrainSteps(*first, 0, 30, 30);
  options.landmark_map_frequencies = 2;
  options.landmark_map_openings = true;
  options.identity_change = true;
  const auto second = testing::MakeTinySdit(options);

  ASSERT_TRUE(second->StartFrom({first->config(), first->Folded(), {}, {}}).ok());

  const auto sample = [](const SditTrainee& trainee) {
    SDiT sdit = trainee.Folded();
    return SampleRows(sdit, {}, "linear",
                      EvaluationRows(testing::TinySditData(), trainee.config(), {0, 1}, {0, 1}), 2,
                      1);
  };
  EXPECT_TRUE(torch::allclose(sample(*first), sample(*second), 1e-3, 1e-3));
  EXPECT_FALSE(first->StartFrom({second->config(), second->Folded(), {}, {}}).ok());
  const std::vector<double> losses = testing::TrainSteps(*second, 0, 60, 60);
  EXPECT_LT(testing::Mean(losses, 50, 10), testing::Mean(losses, 0, 10));
}

TEST(WidenSditTest, ATrainingGoesOnWithMoreChannels) {
  const auto first = testing::MakeTinySdit(testing::TinySditOptions());
  testing::TrainSteps(*first, 0, 30, 30);
  SditData wider = testing::TinySditData();
  wider.latents = torch::cat({wider.latents, wider.latents.narrow(2, 0, 2)}, 2);
  auto second =
      SditTrainee::Create(testing::TinySditOptions(), wider, &wider, AutoencoderKL(nullptr));
  ASSERT_TRUE(second.ok()) << second.status();

  ASSERT_TRUE((*second)->StartFrom({first->config(), first->Folded(), {}, {}}).ok());

  const std::vector<double> losses = testing::TrainSteps(**second, 0, 60, 60);
  EXPECT_LT(testing::Mean(losses, 50, 10), testing::Mean(losses, 0, 10));
}

}  // namespace
}  // namespace reenact
