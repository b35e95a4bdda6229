#include "training/autoencoder_trainer.h"

#include "tests/training/tiny_autoencoder.h"

namespace reenact {
namespace {

using testing::MakeTinyAutoencoder;
using testing::TinyAutoencoderOptions;
using testing::TinyData;

TEST(AutoencoderTraineeTest, LossFallsWithAndWithoutBfloat16) {
  for (const bool bfloat16 : {false, true}) {
    AutoencoderTrainingOptions options = TinyAutoencoderOptions();
    options.bfloat16 = bfloat16;
    const auto trainee = MakeTinyAutoencoder(options);

    const std::vector<double> losses = testing::TrainSteps(*trainee, 0, 60, 60);

    EXPECT_LT(testing::Mean(losses, 50, 10), 0.7 * testing::Mean(losses, 0, 5)) << bfloat16;
  }
}

TEST(AutoencoderTraineeTest, TrainingRaisesHeldOutFidelity) {
  const auto trainee = MakeTinyAutoencoder(TinyAutoencoderOptions());
  const double before = trainee->Evaluate()[0].second;

  testing::TrainSteps(*trainee, 0, 60, 60);

  EXPECT_GT(trainee->Evaluate()[0].second, before + 2);
}

TEST(PixelWeightTest, CountsEyesAndMouthMostAndWhatLiesAroundThemMore) {
  torch::Tensor masks = torch::zeros({1, 1, 9, 9});
  masks[0][0][4][4] = 1;
  AutoencoderTrainingOptions options;
  options.expressive_weight = 9;
  options.surround = 2;

  const torch::Tensor weight = PixelWeight(masks, options)[0][0];

  EXPECT_EQ(weight[4][4].item<float>(), 9);
  EXPECT_EQ(weight[2][6].item<float>(), 3);
  EXPECT_EQ(weight[4][7].item<float>(), 1);
  EXPECT_EQ(weight.sum().item<float>(), 9 + 24 * 3 + 56);
  options.surround = 0;
  EXPECT_EQ(PixelWeight(masks, options).sum().item<float>(), 9 + 80);
}

TEST(AutoencoderTraineeTest, ResumesExactly) {
  testing::ExpectExactResume([] { return MakeTinyAutoencoder(TinyAutoencoderOptions()); }, 4, 9);
}

TEST(AutoencoderTraineeTest, DecoderOnlyLeavesLatentsAlone) {
  AutoencoderTrainingOptions options = TinyAutoencoderOptions();
  options.decoder_only = true;
  const auto trainee = MakeTinyAutoencoder(options);
  const torch::Tensor before = EncodeAll(trainee->averaged(), TinyData(), false);

  const std::vector<double> losses = testing::TrainSteps(*trainee, 0, 60, 60);

  EXPECT_TRUE(torch::equal(EncodeAll(trainee->averaged(), TinyData(), false), before));
  EXPECT_LT(testing::Mean(losses, 50, 10), testing::Mean(losses, 0, 5));
}

TEST(AutoencoderTraineeTest, RefusesCropsThatDoNotFit) {
  AutoencoderTrainingOptions options = TinyAutoencoderOptions();
  options.crop = 40;  // more than the 32 pixels there are

  const auto trainee = AutoencoderTrainee::Create(options, TinyData(), nullptr);

  EXPECT_EQ(trainee.status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(AutoencoderTrainerTest, BytesSurviveTheUnitRange) {
  const torch::Tensor bytes = torch::arange(256).to(torch::kUInt8).view({1, 1, 16, 16});

  EXPECT_TRUE(torch::equal(ToBytes(ToUnitRange(bytes)), bytes));
}

}  // namespace
}  // namespace reenact
