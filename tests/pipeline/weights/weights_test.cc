#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "tests/pipeline/weights/golden.h"

namespace reenact {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string WithLength(const std::string& header, const std::string& data = "") {
  const uint64_t length = header.size();
  std::string bytes(sizeof(length), '\0');
  std::memcpy(bytes.data(), &length, sizeof(length));
  return bytes + header + data;
}

TEST(SafetensorsTest, ReadsATensorAtAnOddOffset) {
  const std::string header =
      R"({"b":{"dtype":"F32","shape":[1],"data_offsets":[1,5]},"a":{"dtype":"U8","shape":[],"data_offsets":[0,1]}})";
  const float value = 2.5f;
  std::string data(5, '\7');
  std::memcpy(data.data() + 1, &value, sizeof(value));

  const auto file = ParseSafetensors(WithLength(header, data));

  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->tensors.at("a").item<uint8_t>(), 7);
  EXPECT_EQ(file->tensors.at("b").item<float>(), 2.5f);
}

TEST(SafetensorsTest, ReadsEscapesInNamesAndMetadata) {
  const auto file = ParseSafetensors(WithLength(
      R"({"__metadata__":{"q\"":"\u00e9\n"},"\ud83d\ude00\t":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})"));

  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->metadata.at("q\""), "\xc3\xa9\n");
  EXPECT_TRUE(file->tensors.contains("\xf0\x9f\x98\x80\t"));
}

TEST(SafetensorsTest, NamesTheFault) {
  const struct {
    const char* header;
    const char* data;
    const char* message;
  } cases[] = {
      {R"({"a":{"dtype":"F31","shape":[],"data_offsets":[0,4]}})", "0000", "F31"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", "0000", "needs 8"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1}})", "0000", "unknown field"},
      {R"({"a":{"dtype":"F32","shape":[1],"shape":[1],"data_offsets":[0,4]}})", "0000", "twice"},
      {R"({"__metadata__":{"k":"1","k":"2"}})", "", "twice"},
      {R"({"a":{"dtype":"U8","shape":[1e0],"data_offsets":[0,1]}})", "0", "number"},
      {R"({"a":{"dtype":"U8","shape":[0,4611686018427387904,4],"data_offsets":[0,0]}})", "",
       "overflows"},
      {R"({"a":{"dtype":"BOOL","shape":[1],"data_offsets":[0,1]}})", "\2", "BOOL"},
      {R"( {})", "", "start with {"},
  };
  for (const auto& c : cases) {
    const auto file = ParseSafetensors(WithLength(c.header, c.data));
    EXPECT_EQ(file.status().code(), absl::StatusCode::kInvalidArgument) << c.header;
    EXPECT_THAT(std::string(file.status().message()), HasSubstr(c.message));
  }
  // JSON readers take a NUL for the end: what hides behind it must not be overlooked.
  EXPECT_FALSE(ParseSafetensors(WithLength(std::string("{}\0garbage", 10))).ok());
}

TEST(SafetensorsTest, MissingFileIsNotFound) {
  EXPECT_EQ(ReadSafetensors("/nonexistent/file").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ReadSafetensors("/").status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(SafetensorsTest, WritesAtomicallyAndRepeatably) {
  const std::string folder = ::testing::TempDir() + "/atomic";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  const std::map<std::string, torch::Tensor> tensors = {
      {"half", torch::ones({3}, torch::kFloat16)},
      {"transposed", torch::arange(6, torch::kFloat32).view({2, 3}).t()}};

  ASSERT_TRUE(WriteSafetensors(folder + "/a", tensors, {{"k", "v"}}).ok());
  ASSERT_TRUE(WriteSafetensors(folder + "/b", tensors, {{"k", "v"}}).ok());

  EXPECT_EQ(testing::ReadFile(folder + "/a"), testing::ReadFile(folder + "/b"));
  const auto file = ReadSafetensors(folder + "/a");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_TRUE(torch::equal(file->tensors.at("transposed"), tensors.at("transposed")));
  const std::filesystem::directory_iterator entries(folder);
  EXPECT_EQ(std::distance(begin(entries), end(entries)), 2) << "a temporary file is left";
}

TEST(SafetensorsTest, FailedWriteLeavesTheOldFile) {
  const std::string path = ::testing::TempDir() + "/kept";
  ASSERT_TRUE(WriteSafetensors(path, {{"a", torch::ones({2})}}, {}).ok());

  EXPECT_FALSE(WriteSafetensors(path, {{"a", torch::ones({2}, torch::kComplexFloat)}}, {}).ok());
  EXPECT_FALSE(WriteSafetensors("/nonexistent/file", {{"a", torch::ones({2})}}, {}).ok());

  EXPECT_TRUE(ReadSafetensors(path).ok());
}

torch::nn::Linear Layer() { return torch::nn::Linear(2, 3); }

TEST(LoadWeightsTest, CastsToTheParametersType) {
  auto layer = Layer();

  const auto status = LoadWeights(*layer, {{"weight", torch::full({3, 2}, 0.5, torch::kFloat16)},
                                           {"bias", torch::full({3}, 2, torch::kFloat64)}});

  ASSERT_TRUE(status.ok()) << status;
  EXPECT_TRUE(torch::equal(layer->weight, torch::full({3, 2}, 0.5)));
  EXPECT_TRUE(torch::equal(layer->bias, torch::full({3}, 2.0)));
  EXPECT_TRUE(layer->weight.requires_grad());
}

// Integers where numbers with a fraction belong: a quantised file, or another tensor's.
TEST(LoadWeightsTest, RefusesAnotherKindOfNumber) {
  auto layer = Layer();
  const auto status = LoadWeights(
      *layer, {{"weight", torch::full({3, 2}, 1, torch::kInt8)}, {"bias", torch::ones({3})}});
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("mistyped weight: Char, not Float"));
}

TEST(LoadWeightsTest, ListsEveryProblemAndChangesNothing) {
  auto net = torch::nn::Sequential(Layer(), Layer(), Layer());
  const auto before = net->parameters().back().clone();
  auto tensors = StateDict(*net);
  for (auto& [name, tensor] : tensors) tensor = torch::ones_like(tensor);
  tensors.erase("0.bias");
  tensors["1.weight"] = torch::ones({2, 3});
  tensors["1.bias"] = torch::full({3}, std::numeric_limits<float>::quiet_NaN());
  tensors["extra"] = torch::ones({1});

  const auto status = LoadWeights(*net, tensors);

  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  const std::string message(status.message());
  EXPECT_THAT(message, HasSubstr("missing 0.bias"));
  EXPECT_THAT(message, HasSubstr("misshapen 1.weight: [2, 3], not [3, 2]"));
  EXPECT_THAT(message, HasSubstr("not finite 1.bias"));
  EXPECT_THAT(message, HasSubstr("unexpected extra"));
  EXPECT_THAT(message, Not(HasSubstr("2.weight")));
  EXPECT_TRUE(torch::equal(net->parameters().back(), before));
}

// 1e30 is finite until it becomes a half.
TEST(LoadWeightsTest, RefusesWhatOverflowsTheParametersType) {
  auto layer = Layer();
  layer->to(torch::kFloat16);

  const auto status =
      LoadWeights(*layer, {{"weight", torch::full({3, 2}, 1e30)}, {"bias", torch::ones({3})}});

  EXPECT_THAT(std::string(status.message()), HasSubstr("not finite weight"));
}

TEST(LoadWeightsTest, StateDictGoesThroughAFile) {
  auto net = torch::nn::Sequential(Layer(), torch::nn::BatchNorm1d(3));
  auto other = torch::nn::Sequential(Layer(), torch::nn::BatchNorm1d(3));
  const std::string path = ::testing::TempDir() + "/net.safetensors";

  ASSERT_TRUE(WriteSafetensors(path, StateDict(*net), {}).ok());
  const auto file = ReadSafetensors(path);
  ASSERT_TRUE(file.ok());
  ASSERT_TRUE(LoadWeights(*other, file->tensors).ok());

  for (const auto& [name, tensor] : StateDict(*net)) {
    EXPECT_TRUE(torch::equal(tensor, StateDict(*other).at(name))) << name;
  }
}

// Mapped weights that a network shares: written pages become its own, and only where that is asked
// for.
TEST(MappedFileTest, WritesStayInTheProcessAndSurviveARelease) {
  const std::string path = ::testing::TempDir() + "/mapped.safetensors";
  ASSERT_TRUE(WriteSafetensors(path, {{"a", torch::ones({4096})}}, {}).ok());
  const auto mapped = MappedFile::Open(path);
  ASSERT_TRUE(mapped.ok()) << mapped.status();
  const auto file = MapSafetensors(*mapped);
  ASSERT_TRUE(file.ok()) << file.status();

  file->tensors.at("a").fill_(2);
  (*mapped)->Release();

  EXPECT_TRUE(torch::equal(file->tensors.at("a"), torch::full({4096}, 2.0)));
  EXPECT_TRUE(torch::equal(ReadSafetensors(path)->tensors.at("a"), torch::ones({4096})));
}

TEST(MappedFileTest, ReleasedPagesComeBack) {
  const std::string path = ::testing::TempDir() + "/released.safetensors";
  ASSERT_TRUE(WriteSafetensors(path, {{"a", torch::arange(4096.0)}}, {}).ok());
  const auto mapped = MappedFile::Open(path, MappedFile::Access::kReadOnly);
  ASSERT_TRUE(mapped.ok()) << mapped.status();
  const auto file = MapSafetensors(*mapped);
  ASSERT_TRUE(file.ok()) << file.status();
  const torch::Tensor copy = file->tensors.at("a").clone();

  (*mapped)->Release();

  EXPECT_TRUE(torch::equal(file->tensors.at("a"), copy));
}

TEST(MappedFileDeathTest, ReadOnlyMeansReadOnly) {
  const std::string path = ::testing::TempDir() + "/read_only.safetensors";
  ASSERT_TRUE(WriteSafetensors(path, {{"a", torch::ones({8})}}, {}).ok());
  const auto mapped = MappedFile::Open(path, MappedFile::Access::kReadOnly);
  ASSERT_TRUE(mapped.ok()) << mapped.status();

  EXPECT_DEATH((*mapped)->data()[0] = 'x', "");
}

}  // namespace
}  // namespace reenact
