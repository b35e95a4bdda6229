#include "training/trained_parts.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "pipeline/engine/random_bundle.h"
#include "pipeline/weights/load.h"
#include "pipeline/weights/safetensors.h"
#include "tests/training/tiny_data.h"
#include "tests/training/tiny_sdit.h"

namespace reenact {
namespace {

TEST(TrainedPartsTest, AnSditRemembersItsProcessAndOldFilesAreLinear) {
  const std::string folder = testing::FreshFolder();
  const auto trainee = testing::MakeTinySdit(testing::TinySditOptions());
  SDiT network = trainee->Folded();
  const DiffusionProcess process{
      .prediction = Prediction::kX0, .schedule = kLinearZeroTerminalSnr, .scaling_factor = 0.75};
  const RunSummary summary{.step = 5, .seconds = 90, .started_from = {{"steps", 3}}};
  ASSERT_TRUE(WriteSdit(folder, trainee->config(), network, process, summary).ok());

  auto read = ReadSdit(folder);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->training,
            nlohmann::json({{"steps", 5}, {"minutes", 1.5}, {"started_from", {{"steps", 3}}}}));
  EXPECT_EQ(read->process.prediction, Prediction::kX0);
  EXPECT_EQ(read->process.schedule, kLinearZeroTerminalSnr);
  EXPECT_EQ(read->process.scaling_factor, 0.75);

  const std::string path = folder + "/sdit.safetensors";
  auto file = ReadSafetensors(path);
  ASSERT_TRUE(file.ok());
  auto about = nlohmann::json::parse(file->metadata.at("about"));
  about.erase("schedule");
  ASSERT_TRUE(WriteSafetensors(path, file->tensors, {{"about", about.dump()}}).ok());
  read = ReadSdit(folder);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->process.schedule, "linear");
}

// The same tensors under the same names.
void ExpectSameWeights(const torch::nn::Module& a, const torch::nn::Module& b) {
  const auto expected = StateDict(b);
  const auto found = StateDict(a);
  ASSERT_EQ(found.size(), expected.size());
  for (const auto& [name, tensor] : found) {
    EXPECT_TRUE(torch::equal(tensor, expected.at(name))) << name;
  }
}

TEST(TrainedPartsTest, ABundleIsReadAsTheFolderOfEachPart) {
  const std::string folder = testing::FreshFolder();
  BundleConfig config = SmallBundleConfig();
  config.autoencoder.scaling_factor = 0.75;
  config.training = {{"sdit", {{"steps", 5}}}};
  ASSERT_TRUE(WriteRandomBundle(folder, config, 3).ok());

  auto autoencoder = ReadAutoencoder(folder);
  auto clip = ReadClip(folder);
  auto sdit = ReadSdit(folder);

  ASSERT_TRUE(autoencoder.ok()) << autoencoder.status();
  ASSERT_TRUE(clip.ok()) << clip.status();
  ASSERT_TRUE(sdit.ok()) << sdit.status();
  const auto bundle = ReadBundle(folder);
  ASSERT_TRUE(bundle.ok()) << bundle.status();
  ExpectSameWeights(*autoencoder->network, *bundle->autoencoder);
  ExpectSameWeights(*clip->network, *bundle->clip);
  ExpectSameWeights(*sdit->network, *bundle->sdit);
  EXPECT_EQ(sdit->process.prediction, config.prediction);
  EXPECT_EQ(sdit->process.scaling_factor, 0.75);
  EXPECT_EQ(sdit->training, nlohmann::json({{"steps", 5}}));
  EXPECT_TRUE(ClipTokenizer::FromMerges(clip->merges, 512).ok());
  // Not the bundle's pages, which are read-only.
  torch::NoGradGuard no_grad;
  for (torch::Tensor& parameter : sdit->network->parameters()) parameter.zero_();
}

TEST(TrainedPartsTest, ADamagedBundleIsNamed) {
  const std::string folder = testing::FreshFolder();
  ASSERT_TRUE(WriteRandomBundle(folder, SmallBundleConfig(), 3).ok());
  std::filesystem::remove(folder + "/sdit.safetensors");

  const absl::Status status = ReadSdit(folder).status();

  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("sdit.safetensors"), absl::string_view::npos) << status;
}

}  // namespace
}  // namespace reenact
