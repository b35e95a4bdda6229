#include "training/sdit_data.h"

#include "tests/training/tiny_autoencoder.h"
#include "tests/training/tiny_data.h"
#include "training/autoencoder_trainer.h"

namespace reenact {
namespace {

TEST(LatentsTest, AreReadBackForThosePeopleAlone) {
  const DataCache& data = testing::TinyData();
  const auto trainee = testing::MakeTinyAutoencoder(testing::TinyAutoencoderOptions());
  TrainedAutoencoder autoencoder{trainee->config(), trainee->averaged(), {}};
  const std::string path = testing::FreshFolder() + "/latents";

  ASSERT_TRUE(WriteLatents(path, autoencoder, data, /*bfloat16=*/false).ok());

  const auto latents = ReadLatents(path, data);
  ASSERT_TRUE(latents.ok()) << latents.status();
  const torch::Tensor expected = EncodeAll(autoencoder.network, data, /*bfloat16=*/false);
  EXPECT_LT((latents->latents - expected).abs().max().item<double>(), 0.01);  // half precision
  EXPECT_NEAR(latents->scaling_factor * latents->latents.std().item<double>(), 1, 1e-5);

  DataCache others = data;
  others.seeds.back() += 1;
  EXPECT_THAT(ReadLatents(path, others).status().message(),
              ::testing::HasSubstr("does not hold latents of these people"));
}

}  // namespace
}  // namespace reenact
