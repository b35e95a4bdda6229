#include "pipeline/weights/checkpoint_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "pipeline/weights/load.h"
#include "pipeline/weights/safetensors.h"

namespace reenact {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;
using torch::Tensor;
using Tensors = std::map<std::string, Tensor>;

class CheckpointFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fs::path(::testing::TempDir()) /
              (std::string("reenact_") + test->name() + std::to_string(getpid()));
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string Path(const std::string& name) const { return (folder_ / name).string(); }
  void Write(const std::string& name, const std::string& content) const {
    std::ofstream(Path(name), std::ios::binary) << content;
  }
  void Write(const std::string& name, const Tensors& tensors) const {
    ASSERT_TRUE(WriteSafetensors(Path(name), tensors, {}).ok());
  }
  std::string Refusal(const std::string& name) const {
    const auto checkpoint = ReadCheckpoint(Path(name));
    EXPECT_FALSE(checkpoint.ok());
    return std::string(checkpoint.status().message());
  }

  fs::path folder_;
};

TEST_F(CheckpointFileTest, AnIndexJoinsItsFiles) {
  Write("a.safetensors", {{"x", torch::tensor({1.f})}});
  Write("b.safetensors", {{"y", torch::tensor({2.f})}, {"z", torch::tensor({3.f})}});
  Write("model.safetensors.index.json",
        R"({"metadata":{},"weight_map":{"x":"a.safetensors","y":"b.safetensors",)"
        R"("z":"b.safetensors"}})");
  Write("config.json", "{\"k\":1}");

  const auto checkpoint = ReadCheckpoint(Path("model.safetensors.index.json"));
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ(checkpoint->tensors.size(), 3u);
  EXPECT_EQ(checkpoint->tensors.at("z").item<float>(), 3.f);
  EXPECT_EQ(checkpoint->files.size(), 2u);

  // The folder finds the index, and its config.json.
  const auto folder = ReadCheckpoint(folder_.string());
  ASSERT_TRUE(folder.ok()) << folder.status();
  EXPECT_EQ(folder->tensors.size(), 3u);
  EXPECT_EQ(folder->config, "{\"k\":1}");
}

TEST_F(CheckpointFileTest, AllThatIsWrongWithAnIndexIsSaid) {
  Write("a.safetensors", {{"x", torch::tensor({1.f})}, {"extra", torch::tensor({1.f})}});
  Write("b.safetensors", "not weights");
  Write("x.index.json", R"({"weight_map":{"x":"a.safetensors","y":"a.safetensors",)"
                        R"("z":"b.safetensors","w":"c.safetensors"}})");

  EXPECT_THAT(Refusal("x.index.json"),
              AllOf(HasSubstr("a.safetensors lacks y"), HasSubstr("a.safetensors has extra"),
                    HasSubstr("b.safetensors: "), HasSubstr("c.safetensors: ")));
}

TEST_F(CheckpointFileTest, AnIndexDoesNotLeaveItsFolder) {
  for (const char* file : {"../a.safetensors", "/etc/passwd", ".", "a/b"}) {
    Write("x.index.json", std::string(R"({"weight_map":{"x":")") + file + "\"}}");
    EXPECT_THAT(Refusal("x.index.json"), HasSubstr("is not the name of a file beside it")) << file;
  }
}

TEST_F(CheckpointFileTest, SaysWhatAFileIsInstead) {
  Write("lfs.pt", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n");
  Write("page.pt", "<!DOCTYPE html>");
  Write("other.pt", "some text");
  EXPECT_THAT(Refusal("lfs.pt"), HasSubstr("Git LFS pointer"));
  EXPECT_THAT(Refusal("page.pt"), HasSubstr("web page"));
  EXPECT_THAT(Refusal("other.pt"), HasSubstr("neither safetensors nor a PyTorch file"));
  EXPECT_EQ(ReadCheckpoint(Path("none.pt")).status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(Refusal(""), HasSubstr("no weights in this folder"));
}

Checkpoint Of(const std::vector<std::string>& names) {
  Checkpoint checkpoint;
  for (const std::string& name : names) checkpoint.tensors[name] = torch::zeros({1});
  return checkpoint;
}

std::vector<std::string> NamesOf(const absl::StatusOr<Tensors>& tensors) {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : *tensors) names.push_back(name);
  return names;
}

TEST(WeightsOfTest, TakesTheAveragedWeightsAndStripsWrappers) {
  const Checkpoint training = Of({"ema.a", "ema.b", "model.a", "model.b"});
  EXPECT_THAT(NamesOf(WeightsOf(training, "")), ElementsAre("a", "b"));
  EXPECT_THAT(NamesOf(WeightsOf(training, "model")), ElementsAre("a", "b"));
  const auto other = WeightsOf(training, "opt");
  EXPECT_EQ(other.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(other.status().message()), HasSubstr("ema, model"));

  EXPECT_THAT(NamesOf(WeightsOf(Of({"state_dict.module.a"}), "")), ElementsAre("a"));
  EXPECT_THAT(NamesOf(WeightsOf(Of({"a", "b.c"}), "")), ElementsAre("a", "b.c"));
  // Latent diffusion's own "model." stays where other parts lie beside it.
  EXPECT_THAT(NamesOf(WeightsOf(Of({"state_dict.model.x", "state_dict.first_stage_model.y"}), "")),
              ElementsAre("first_stage_model.y", "model.x"));
}

TEST_F(CheckpointFileTest, SharedWeightsAreTheFilesMemoryAndNeverReachIt) {
  torch::nn::Linear source(3, 2), target(3, 2);
  Write("w.safetensors", StateDict(*source));
  auto mapped = MapSafetensors(Path("w.safetensors"));
  ASSERT_TRUE(mapped.ok()) << mapped.status();

  ASSERT_TRUE(ShareWeights(*target, mapped->tensors).ok());

  EXPECT_TRUE(torch::equal(target->weight, source->weight));
  EXPECT_EQ(target->weight.data_ptr(), mapped->tensors.at("weight").data_ptr());
  EXPECT_TRUE(target->weight.requires_grad());
  mapped->tensors.clear();  // the module keeps the mapping
  {
    const torch::NoGradGuard no_grad;
    target->weight.fill_(7);
  }
  EXPECT_EQ(target->weight.sum().item<float>(), 42.f);
  const auto again = ReadSafetensors(Path("w.safetensors"));
  ASSERT_TRUE(again.ok());
  EXPECT_TRUE(torch::equal(again->tensors.at("weight"), source->weight));
}

TEST_F(CheckpointFileTest, SharingCastsWhatHasAnotherType) {
  torch::nn::Linear target(1, 1);
  Write("w.safetensors",
        {{"weight", torch::tensor({{1.5f}}).to(torch::kHalf)}, {"bias", torch::tensor({2.f})}});
  const auto mapped = MapSafetensors(Path("w.safetensors"));
  ASSERT_TRUE(mapped.ok());
  ASSERT_TRUE(ShareWeights(*target, mapped->tensors).ok());
  EXPECT_EQ(target->weight.scalar_type(), torch::kFloat32);
  EXPECT_EQ(target->weight.item<float>(), 1.5f);
}

TEST(CheckWeightsTest, NamesEveryTensorWithBothShapes) {
  const absl::Status status = CheckWeights({{"a", {2}}, {"b", {2, 3}}, {"c", {1}}, {"d", {1}}},
                                           {{"a", torch::ones({3})},
                                            {"c", torch::ones({1}, torch::kInt64)},
                                            {"d", torch::full({1}, 1e6f)},
                                            {"e", torch::ones({4})}},
                                           torch::kHalf);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("misshapen a: [3], not [2]"), HasSubstr("missing b, expected [2, 3]"),
                    HasSubstr("mistyped c: Long, not Half"), HasSubstr("not finite d"),
                    HasSubstr("unexpected e [4]"), HasSubstr("(5)")));
}

TEST(AllFiniteTest, FindsNanAndInfinityInEveryType) {
  for (const auto dtype : {torch::kFloat64, torch::kFloat32, torch::kFloat16, torch::kBFloat16}) {
    for (const double bad :
         {std::nan(""), static_cast<double>(INFINITY), -static_cast<double>(INFINITY)}) {
      Tensor tensor = torch::linspace(-60000, 60000, 1000).to(dtype);
      EXPECT_TRUE(AllFinite(tensor)) << dtype;
      tensor[999] = bad;
      EXPECT_FALSE(AllFinite(tensor)) << dtype << bad;
      EXPECT_FALSE(AllFinite(tensor.view({2, 500}).t())) << dtype << bad;
    }
  }
  EXPECT_TRUE(AllFinite(torch::arange(3)));
  EXPECT_TRUE(AllFinite(torch::zeros({0})));
}

TEST_F(CheckpointFileTest, TheStreamingWriterWritesWhatTheOtherDoes) {
  const Tensors tensors = {{"b", torch::rand({2, 3})},
                           {"a", torch::arange(5)},
                           {"c", torch::rand({3, 2}).t().to(torch::kHalf)}};
  Write("one.safetensors", tensors);
  std::map<std::string, TensorSpec> specs;
  for (const auto& [name, tensor] : tensors) {
    specs[name] = {.dtype = tensor.scalar_type(), .shape = tensor.sizes().vec()};
  }
  auto writer = SafetensorsWriter::Create(Path("two.safetensors"), specs, {});
  ASSERT_TRUE(writer.ok()) << writer.status();
  for (const char* name : {"c", "a", "b"}) {
    EXPECT_TRUE((*writer)->Write(name, tensors.at(name)).ok());
  }
  EXPECT_FALSE((*writer)->Write("a", tensors.at("a")).ok()) << "twice";
  EXPECT_FALSE((*writer)->Write("d", tensors.at("a")).ok()) << "unknown";
  ASSERT_TRUE((*writer)->Finish().ok());

  std::ifstream one(Path("one.safetensors")), two(Path("two.safetensors"));
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(one), {}),
            std::string(std::istreambuf_iterator<char>(two), {}));
}

TEST_F(CheckpointFileTest, AnUnfinishedFileLeavesNothing) {
  {
    auto writer = SafetensorsWriter::Create(Path("w.safetensors"),
                                            {{"a", {.dtype = torch::kFloat32, .shape = {2}}}}, {});
    ASSERT_TRUE(writer.ok());
    EXPECT_FALSE((*writer)->Write("a", torch::zeros({3})).ok());
    EXPECT_EQ((*writer)->Finish().code(), absl::StatusCode::kFailedPrecondition);
  }
  EXPECT_TRUE(fs::is_empty(folder_));
}

}  // namespace
}  // namespace reenact
