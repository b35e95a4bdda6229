// The libtorch decoder on the CPU, and what all decoders share.
#include "pipeline/models/vae_decoder.h"

#include "gtest/gtest.h"
#include "pipeline/models/cpu_vae_decoder.h"
#include "tests/pipeline/models/random_autoencoder.h"
#include "tests/pipeline/weights/golden.h"

namespace reenact {
namespace {

using testing::Near;
using testing::RandomAutoencoder;
using torch::Tensor;

class TorchVaeDecoderTest : public ::testing::TestWithParam<ExecutorDtype> {
 protected:
  // Against AutoencoderKLImpl::decode in float32, relative to the largest value, as
  // CpuVaeDecoderTest.
  double Tolerance() const { return GetParam() == ExecutorDtype::kFloat32 ? 2e-5 : 6e-2; }

  std::unique_ptr<VaeDecoder> Make(const AutoencoderKL& autoencoder) const {
    return std::move(MakeTorchVaeDecoder(autoencoder, GetParam(), torch::kCPU).value());
  }
};

TEST_P(TorchVaeDecoderTest, EqualsTheModule) {
  AutoencoderKL autoencoder = RandomAutoencoder({32, 64, 64}, 16, 4, 2);
  const Tensor z = torch::randn({3, 4, 5, 7});
  const torch::NoGradGuard no_grad;

  const Tensor actual = Make(autoencoder)->Decode(z);

  EXPECT_EQ(actual.scalar_type(), torch::kFloat32);
  EXPECT_TRUE(Near(actual, autoencoder->decode(z), Tolerance()));
}

TEST_P(TorchVaeDecoderTest, LeavesTheWeightsAlone) {
  AutoencoderKL autoencoder = RandomAutoencoder({16, 32}, 8);
  const Tensor before = torch::nn::utils::parameters_to_vector(autoencoder->parameters()).clone();
  Make(autoencoder)->Decode(torch::randn({1, 4, 4, 4}));

  for (const auto& item : autoencoder->named_parameters()) {
    EXPECT_EQ(item.value().scalar_type(), torch::kFloat32) << item.key();
    EXPECT_TRUE(item.value().is_contiguous()) << item.key();
  }
  EXPECT_TRUE(
      torch::equal(torch::nn::utils::parameters_to_vector(autoencoder->parameters()), before));
}

TEST_P(TorchVaeDecoderTest, BytesAreThePicturesBytes) {
  AutoencoderKL autoencoder = RandomAutoencoder({16, 32}, 8);
  const Tensor z = torch::randn({2, 4, 4, 4});
  for (VaeDecoder* const decoder :
       {Make(autoencoder).release(), MakeCpuVaeDecoder(autoencoder, GetParam()).release()}) {
    const std::unique_ptr<VaeDecoder> owner(decoder);
    const Tensor bytes = decoder->DecodeToBytes(z);
    EXPECT_TRUE(bytes.is_contiguous());
    EXPECT_TRUE(torch::equal(bytes, PicturesToBytes(decoder->Decode(z))));
  }
}

TEST(PicturesToBytesTest, RoundsAndClamps) {
  const Tensor pictures =
      torch::tensor({-2.0f, -1.0f, -0.9999f, 0.0f, 0.5f, 1.0f, 9.0f, 1.0f - 1 / 127.5f})
          .view({1, 2, 2, 2});
  const Tensor expected =
      torch::tensor({0, 191, 0, 255, 0, 255, 128, 254}, torch::kUInt8).view({1, 2, 2, 2});
  EXPECT_TRUE(torch::equal(PicturesToBytes(pictures), expected)) << PicturesToBytes(pictures);
}

INSTANTIATE_TEST_SUITE_P(Dtypes, TorchVaeDecoderTest,
                         ::testing::Values(ExecutorDtype::kFloat32, ExecutorDtype::kBfloat16),
                         [](const auto& test) {
                           return test.param == ExecutorDtype::kFloat32 ? "Float32" : "Bfloat16";
                         });

}  // namespace
}  // namespace reenact
