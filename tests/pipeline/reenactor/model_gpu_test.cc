// A model on a GPU against the same on the CPU. Skips, visibly, where there is no GPU.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "pipeline/engine/random_bundle.h"
#include "pipeline/models/device.h"
#include "pipeline/reenactor/model.h"

namespace reenact {
namespace {

namespace fs = std::filesystem;

class ModelGpuTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto device = FindDevice("cuda");
    if (!device.ok()) GTEST_SKIP() << device.status().message();
    folder_ = (fs::path(::testing::TempDir()) / absl::StrCat("model_gpu_test_", getpid())).string();
    const auto status = WriteRandomBundle(folder_, SmallBundleConfig(), 3);
    ASSERT_TRUE(status.ok()) << status;
  }
  void TearDown() override {
    if (!folder_.empty()) fs::remove_all(folder_);
  }

  std::unique_ptr<Model> Load(const std::string& device) const {
    ReenactorOptions options;
    options.device = device;
    if (std::getenv("REENACT_FACE_MODELS") == nullptr) {
      options.face_models = std::string(REENACT_SOURCE_DIR) + "/.deps/mediapipe";
    }
    auto model = Model::Load(folder_, options);
    EXPECT_TRUE(model.ok()) << model.status();
    return model.ok() ? *std::move(model) : nullptr;
  }

  std::string folder_;
};

TEST_F(ModelGpuTest, DenoisesAndDecodesAsOnTheCpu) {
  const auto on_cpu = Load("cpu"), on_gpu = Load("cuda:0");
  ASSERT_TRUE(on_cpu != nullptr && on_gpu != nullptr);
  EXPECT_THAT(on_gpu->info().device, ::testing::StartsWith("cuda:0 ("));
  EXPECT_GT(on_gpu->info().gflop_per_second, 0);

  const SDiTConfig& config = on_cpu->executor().config();
  const c10::InferenceMode inference;
  torch::manual_seed(7);
  ExecutorRow row;
  row.x = torch::randn(
      {config.num_frames, config.latent_channels, config.latent_size, config.latent_size});
  row.t = 400;
  row.C = torch::randn({config.num_frames, config.hidden_size});
  const torch::Tensor maps =
      torch::rand({config.num_frames, config.tokens_side() * config.tokens_side(), 192});
  const auto forward = [&](const Model& model) {
    ExecutorRow own = row;
    own.extra = model.executor().EmbedMaps(maps);
    return model.executor().Forward({&own, 1})[0];
  };
  const torch::Tensor expected = forward(*on_cpu), actual = forward(*on_gpu);
  EXPECT_TRUE(actual.is_cpu());
  const double scale = expected.abs().max().item<double>();
  EXPECT_LE((actual - expected).abs().max().item<double>(), 1e-4 * scale);

  const auto picture = on_cpu->Decode(row.x[0]), gpu_picture = on_gpu->Decode(row.x[0]);
  ASSERT_TRUE(picture.ok() && gpu_picture.ok());
  ASSERT_EQ(gpu_picture->rgb.size(), picture->rgb.size());
  for (size_t i = 0; i < picture->rgb.size(); ++i) {
    ASSERT_NEAR(gpu_picture->rgb[i], picture->rgb[i], 1) << i;
  }
}

}  // namespace
}  // namespace reenact
