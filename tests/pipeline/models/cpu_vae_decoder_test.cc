#include "pipeline/models/cpu_vae_decoder.h"

#include <tuple>

#include "ATen/Parallel.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/pipeline/models/random_autoencoder.h"
#include "tests/pipeline/weights/golden.h"

namespace reenact {
namespace {

using testing::Near;
using testing::RandomAutoencoder;
using torch::Tensor;

// Against AutoencoderKLImpl::decode in float32, relative to the largest value. Measured over the
// cases below: at most 4.7e-6; in bfloat16 2.9e-2 with our kernels, 4.3e-2 with libtorch's.
double Tolerance(ExecutorDtype dtype) { return dtype == ExecutorDtype::kFloat32 ? 2e-5 : 6e-2; }

class CpuVaeDecoderTest : public ::testing::TestWithParam<std::tuple<CpuPath, ExecutorDtype>> {
 protected:
  void SetUp() override {
    if (path() == CpuPath::kNative &&
        !HasNativeCpuPath(AutoencoderKLConfig{.block_out_channels = {8}}, dtype())) {
      GTEST_SKIP() << "this processor lacks the instructions";
    }
  }
  CpuPath path() const { return std::get<0>(GetParam()); }
  ExecutorDtype dtype() const { return std::get<1>(GetParam()); }

  std::unique_ptr<VaeDecoder> Make(const AutoencoderKL& autoencoder) const {
    return std::move(MakeCpuVaeDecoder(autoencoder, dtype(), path()).value());
  }

  void Check(AutoencoderKL autoencoder, int64_t height, int64_t width) {
    const Tensor z = torch::randn({2, autoencoder->config().latent_channels, height, width});
    const torch::NoGradGuard no_grad;

    const Tensor actual = Make(autoencoder)->Decode(z);

    EXPECT_EQ(actual.scalar_type(), torch::kFloat32);
    EXPECT_TRUE(Near(actual, autoencoder->decode(z), Tolerance(dtype())));
  }
};

TEST_P(CpuVaeDecoderTest, EqualsTheModuleForTheDemosWidths) {
  Check(RandomAutoencoder({32, 64, 128, 128}, 32, 4, 2), 16, 16);
}
TEST_P(CpuVaeDecoderTest, EqualsTheModuleForOddPictures) {
  Check(RandomAutoencoder({16, 32, 64}, 16), 5, 7);
  Check(RandomAutoencoder({32, 64}, 4), 1, 1);
  Check(RandomAutoencoder({32, 64}, 32), 3, 18);
}
TEST_P(CpuVaeDecoderTest, EqualsTheModuleForOddWidths) {
  Check(RandomAutoencoder({10, 26}, 2), 4, 6);
  Check(RandomAutoencoder({5, 6}, 1, /*latent_channels=*/3), 4, 6);
  Check(RandomAutoencoder({80, 144}, 8), 4, 6);
}
TEST_P(CpuVaeDecoderTest, EqualsTheModuleWithoutDoubling) {
  Check(RandomAutoencoder({24}, 4), 9, 9);
}

TEST_P(CpuVaeDecoderTest, APictureDependsOnNothingButItself) {
  AutoencoderKL autoencoder = RandomAutoencoder({32, 64}, 32);
  const auto decoder = Make(autoencoder);
  const Tensor z = torch::randn({5, 4, 8, 8});
  const Tensor together = decoder->Decode(z);

  for (int64_t i = 0; i < z.size(0); ++i) {
    EXPECT_TRUE(torch::equal(decoder->Decode(z.narrow(0, i, 1))[0], together[i])) << i;
  }
  const int num_threads = at::get_num_threads();
  at::set_num_threads(num_threads == 1 ? 2 : 1);
  EXPECT_TRUE(torch::equal(decoder->Decode(z), together));
  at::set_num_threads(num_threads);
}

INSTANTIATE_TEST_SUITE_P(Paths, CpuVaeDecoderTest,
                         ::testing::Combine(::testing::Values(CpuPath::kPortable, CpuPath::kNative),
                                            ::testing::Values(ExecutorDtype::kFloat32,
                                                              ExecutorDtype::kBfloat16)),
                         [](const auto& test) {
                           return absl::StrCat(
                               std::get<0>(test.param) == CpuPath::kNative ? "Native" : "Portable",
                               std::get<1>(test.param) == ExecutorDtype::kFloat32 ? "Float32"
                                                                                  : "Bfloat16");
                         });

}  // namespace
}  // namespace reenact
