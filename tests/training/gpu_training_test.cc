// Training on a GPU. Skips, visibly, where there is none; `ctest -L gpu` runs these alone.
#include "pipeline/models/device.h"
#include "pipeline/weights/safetensors.h"
#include "tests/training/tiny_data.h"
#include "tests/training/tiny_sdit.h"
#include "training/autoencoder_trainer.h"
#include "training/clip_trainer.h"

namespace reenact {
namespace {

class GpuTrainingTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto device = FindDevice("cuda");
    if (!device.ok()) GTEST_SKIP() << device.status().message();
    device_ = *device;
  }

  static std::unique_ptr<AutoencoderTrainee> MakeAutoencoder(torch::Device device) {
    AutoencoderTrainingOptions options;
    options.block_out_channels = {8, 8};
    options.norm_num_groups = 4;
    options.crop = 16;
    options.batch = 4;
    options.bfloat16 = false;
    options.device = device;
    auto trainee = AutoencoderTrainee::Create(options, testing::TinyData(), &testing::TinyData());
    if (!trainee.ok()) throw std::runtime_error(trainee.status().ToString());
    return *std::move(trainee);
  }

  torch::Device device_ = torch::kCPU;
};

TEST_F(GpuTrainingTest, TheAutoencodersGradientIsThatOfTheCpu) {
  const auto here = MakeAutoencoder(torch::kCPU), there = MakeAutoencoder(device_);
  const auto expected = here->BackPropagate(3), result = there->BackPropagate(3);
  ASSERT_TRUE(expected.ok() && result.ok());

  EXPECT_NEAR(result->loss, expected->loss, 1e-3 * expected->loss);
  const TensorMap gradients = testing::TakeGradients(there->parameters());
  for (const auto& [name, gradient] : testing::TakeGradients(here->parameters())) {
    const torch::Tensor& other = gradients.at(name);
    EXPECT_EQ(other.device(), device_) << name;
    EXPECT_LT((other.cpu() - gradient).abs().max().item<double>(),
              1e-2 * gradient.abs().max().item<double>() + 1e-5)
        << name;
  }
}

TEST_F(GpuTrainingTest, ARunBegunThereGoesOnHere) {
  const std::string folder = testing::FreshFolder();
  std::ostringstream log;
  RunOptions run;
  run.out = folder;
  run.steps = 3;
  run.log_every = 1;
  const auto there = MakeAutoencoder(device_);
  ASSERT_TRUE(RunTraining(run, *there, log).ok());
  run.steps = 6;
  const auto here = MakeAutoencoder(torch::kCPU);

  const auto summary = RunTraining(run, *here, log);

  ASSERT_TRUE(summary.ok()) << summary.status();
  EXPECT_EQ(summary->step, 6);
  EXPECT_EQ(testing::LossColumn(folder).size(), 6u);
}

TEST_F(GpuTrainingTest, LatentsArriveOnTheCpu) {
  const auto here = MakeAutoencoder(torch::kCPU), there = MakeAutoencoder(device_);
  const torch::Tensor expected = EncodeAll(here->averaged(), testing::TinyData(), false);
  const torch::Tensor latents = EncodeAll(there->averaged(), testing::TinyData(), false);

  EXPECT_TRUE(latents.is_cpu());
  EXPECT_LT((latents - expected).abs().max().item<double>(), 1e-3);
}

TEST_F(GpuTrainingTest, TheSditsGradientIsThatOfTheCpu) {
  SditTrainingOptions options = testing::TinySditOptions();
  options.bfloat16 = false;
  const auto here = testing::MakeTinySdit(options);
  options.device = device_;
  const auto there = testing::MakeTinySdit(options);
  const auto expected = here->BackPropagate(3), result = there->BackPropagate(3);
  ASSERT_TRUE(expected.ok() && result.ok());

  EXPECT_NEAR(result->loss, expected->loss, 1e-3 * expected->loss);
  const TensorMap gradients = testing::TakeGradients(there->parameters());
  for (const auto& [name, gradient] : testing::TakeGradients(here->parameters())) {
    EXPECT_LT((gradients.at(name).cpu() - gradient).abs().max().item<double>(),
              1e-2 * gradient.abs().max().item<double>() + 1e-5)
        << name;
  }
}

TEST_F(GpuTrainingTest, TheSditTrainsEvaluatesAndIsResumedOnTheCpu) {
  const std::string folder = testing::FreshFolder();
  std::ostringstream log;
  SditTrainingOptions options = testing::TinySditOptions();
  RunOptions run;
  run.out = folder;
  run.steps = 4;
  run.log_every = 1;
  options.device = device_;
  const auto there = testing::MakeTinySdit(options);
  ASSERT_TRUE(RunTraining(run, *there, log).ok());
  EXPECT_TRUE(there->Folded()->null_clip().is_cpu());
  const double reached = there->Evaluate()[0].second;
  options.device = torch::kCPU;
  const auto here = testing::MakeTinySdit(options);

  // No step is left to do: only the checkpoint is read.
  const auto summary = RunTraining(run, *here, log);

  ASSERT_TRUE(summary.ok()) << summary.status();
  EXPECT_EQ(summary->step, 4);
  EXPECT_NEAR(here->Evaluate()[0].second, reached, 1e-2 * reached);
}

TEST_F(GpuTrainingTest, TheTowersTrainToo) {
  ClipTrainingOptions options;
  options.hidden_size = 32;
  options.depth = 1;
  options.num_heads = 2;
  options.projection_dim = 16;
  options.image_size = 32;
  options.patch_size = 8;
  options.batch = 4;
  options.device = device_;
  auto trainee = ClipTrainee::Create(options, testing::TinyData(), &testing::TinyData());
  ASSERT_TRUE(trainee.ok()) << trainee.status();

  const std::vector<double> losses = testing::TrainSteps(**trainee, 0, 40, 40);

  EXPECT_LT(testing::Mean(losses, 30, 10), testing::Mean(losses, 0, 5));
  EXPECT_EQ((*trainee)->Evaluate().size(), 3u);
}

}  // namespace
}  // namespace reenact
