#include "pipeline/engine/bundle.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <string>

#include "nlohmann/json.hpp"
#include "pipeline/engine/random_bundle.h"
#include "pipeline/engine/sha256.h"
#include "pipeline/weights/load.h"
#include "pipeline/weights/safetensors.h"
#include "tests/support/paths.h"

namespace reenact {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class BundleTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string name = ::testing::UnitTest::GetInstance()->current_test_info()->name();
    folder_ = (fs::path(::testing::TempDir()) / ("reenact_bundle_" + name)).string();
    fs::remove_all(folder_);
    const auto status = WriteRandomBundle(folder_, SmallBundleConfig(), 1);
    ASSERT_TRUE(status.ok()) << status;
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string Path(const std::string& name) const { return (fs::path(folder_) / name).string(); }
  void Write(const std::string& name, const std::string& content) const {
    std::ofstream(Path(name), std::ios::binary) << content;
  }
  json Config() const { return json::parse(testing::ReadFile(Path("bundle.json"))); }
  void EditConfig(const std::function<void(json&)>& edit) const {
    json config = Config();
    edit(config);
    Write("bundle.json", config.dump());
  }
  // Changes a weight file and enters its new hash, so that only the content can be wrong.
  void EditTensors(const std::string& name,
                   const std::function<void(std::map<std::string, torch::Tensor>&)>& edit) const {
    auto file = ReadSafetensors(Path(name));
    ASSERT_TRUE(file.ok()) << file.status();
    edit(file->tensors);
    ASSERT_TRUE(WriteSafetensors(Path(name), file->tensors, {}).ok());
    EditConfig(
        [&](json& config) { config["files"][name] = Sha256Hex(testing::ReadFile(Path(name))); });
  }
  // The message of the refusal.
  std::string Refusal() const {
    const auto bundle = ReadBundle(folder_);
    EXPECT_EQ(bundle.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(bundle.status().message());
  }

  std::string folder_;
};

TEST_F(BundleTest, WhatWasWrittenIsRead) {
  const auto bundle = ReadBundle(folder_);

  ASSERT_TRUE(bundle.ok()) << bundle.status();
  const BundleConfig expected = SmallBundleConfig();
  EXPECT_EQ(bundle->config.name, expected.name);
  EXPECT_EQ(bundle->config.prediction, Prediction::kV);
  EXPECT_EQ(bundle->config.sdit.source, SourceTokens::kSelf);
  EXPECT_EQ(bundle->config.training, expected.training);
  EXPECT_EQ(bundle->sha256, Sha256Hex(testing::ReadFile(Path("bundle.json"))));
  EXPECT_EQ(bundle->files.size(), 4u);
  EXPECT_EQ(BundleConfigToJson(bundle->config, bundle->files),
            testing::ReadFile(Path("bundle.json")));
  const auto stored = ReadSafetensors(Path("sdit.safetensors"));
  for (const auto& [name, tensor] : StateDict(*bundle->sdit)) {
    EXPECT_TRUE(torch::equal(tensor, stored->tensors.at(name))) << name;
    EXPECT_FALSE(tensor.requires_grad()) << name;
  }
  EXPECT_FALSE(bundle->sdit->is_training());
}

// KiB of the file at `path` that this process has in memory.
int64_t ResidentKib(const std::string& path) {
  std::ifstream maps("/proc/self/smaps");
  int64_t sum = 0;
  bool inside = false;
  for (std::string line; std::getline(maps, line);) {
    if (line.find('-') < line.find(' ')) inside = line.ends_with(path);
    if (inside && line.starts_with("Rss:")) sum += std::stoll(line.substr(4));
  }
  return sum;
}

TEST_F(BundleTest, PagesAreLetGoAndComeBack) {
  const auto bundle = ReadBundle(folder_);
  ASSERT_TRUE(bundle.ok()) << bundle.status();
  const std::string path = fs::canonical(Path("sdit.safetensors")).string();
  EXPECT_EQ(ResidentKib(path), 0) << "the checks have read it";

  const auto sum = [&] {
    double total = 0;
    for (const auto& [name, tensor] : StateDict(*bundle->sdit)) {
      total += tensor.abs().sum().item<double>();
    }
    return total;
  };
  const double before = sum();
  EXPECT_GT(ResidentKib(path), 100);
  bundle->ReleasePages();
  EXPECT_EQ(ResidentKib(path), 0);

  EXPECT_EQ(sum(), before);
}

TEST_F(BundleTest, HalfPrecisionOnDiskIsReadAsFloat) {
  const auto full = ReadBundle(folder_);
  ASSERT_TRUE(full.ok());
  BundleTensors tensors = {StateDict(*full->sdit), StateDict(*full->autoencoder),
                           StateDict(*full->clip), testing::ReadFile(Path("merges.txt")), true};
  const auto full_size = fs::file_size(Path("sdit.safetensors"));

  ASSERT_TRUE(WriteBundle(folder_, full->config, tensors).ok());
  const auto half = ReadBundle(folder_);

  ASSERT_TRUE(half.ok()) << half.status();
  EXPECT_LT(fs::file_size(Path("sdit.safetensors")), full_size * 6 / 10);
  const auto a = StateDict(*full->sdit);
  for (const auto& [name, tensor] : StateDict(*half->sdit)) {
    EXPECT_EQ(tensor.scalar_type(), torch::kFloat) << name;
    // float16 has 11 significant bits.
    EXPECT_TRUE(torch::allclose(tensor, a.at(name), 1.0 / 2048, 1e-7)) << name;
  }
}

TEST_F(BundleTest, ValuesTooLargeForHalfPrecisionAreNotWritten) {
  const auto full = ReadBundle(folder_);
  BundleTensors tensors = {StateDict(*full->sdit), StateDict(*full->autoencoder),
                           StateDict(*full->clip), testing::ReadFile(Path("merges.txt")), true};
  tensors.sdit["x_embedder.proj.weight"] = tensors.sdit["x_embedder.proj.weight"] + 1e6;

  const auto status = WriteBundle(folder_, full->config, tensors);

  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("x_embedder.proj.weight"));
}

TEST_F(BundleTest, NoBundleIsNotFound) {
  EXPECT_EQ(ReadBundle(folder_ + "_absent").status().code(), absl::StatusCode::kNotFound);
}

TEST_F(BundleTest, WrongHash) {
  std::string content = testing::ReadFile(Path("clip.safetensors"));
  content.back() = static_cast<char>(content.back() ^ 1);
  Write("clip.safetensors", content);

  EXPECT_THAT(Refusal(), HasSubstr("clip.safetensors has the wrong SHA-256"));
}

TEST_F(BundleTest, MissingFile) {
  fs::remove(Path("merges.txt"));

  EXPECT_THAT(Refusal(), HasSubstr("merges.txt is not there"));
}

TEST_F(BundleTest, FileNotListed) {
  EditConfig([](json& config) { config["files"].erase("sdit.safetensors"); });

  EXPECT_THAT(Refusal(), HasSubstr("sdit.safetensors is missing from \"files\""));
}

TEST_F(BundleTest, StrangeFileListed) {
  EditConfig([](json& config) { config["files"]["notes.txt"] = std::string(64, '0'); });

  EXPECT_THAT(Refusal(), HasSubstr("notes.txt in \"files\" is not part of a bundle"));
}

TEST_F(BundleTest, FileNamesCannotLeaveTheFolder) {
  EditConfig([](json& config) {
    config["files"]["../merges.txt"] = std::string(64, '0');
    config["landmarks"]["model"] = "/etc/passwd";
  });

  EXPECT_THAT(Refusal(),
              AllOf(HasSubstr("../merges.txt is not a plain file name"), HasSubstr("/etc/passwd")));
}

TEST_F(BundleTest, EveryFieldIsRequiredExceptTheOptional) {
  const json config = Config();
  for (const auto& [key, value] : config.items()) {
    json without = config;
    without.erase(key);
    const auto parsed = BundleConfigFromJson(without.dump(), nullptr);
    if (key == "accepts_text" || key == "choices") {
      EXPECT_TRUE(parsed.ok()) << parsed.status();
    } else {
      EXPECT_THAT(std::string(parsed.status().message()), HasSubstr(key + " is missing"));
    }
  }
}

TEST_F(BundleTest, AnotherReadingOfThePaperIsRefused) {
  ASSERT_GE(Config().at("choices").size(), 10u);
  EditConfig([](json& config) {
    config["choices"]["attention"] = "factorised";
    config["choices"]["colour"] = "blue";
  });
  EXPECT_THAT(Refusal(), AllOf(HasSubstr("choices.attention must be \"joint\""),
                               HasSubstr("choices.colour is unknown")));
}

// Each of them by name: a choice that nobody checks would be misread in silence.
TEST_F(BundleTest, EveryChoiceIsChecked) {
  const json config = Config();
  for (const auto& [key, value] : config["choices"].items()) {
    json other = config;
    other["choices"][key] = "another";
    EXPECT_THAT(std::string(BundleConfigFromJson(other.dump(), nullptr).status().message()),
                HasSubstr("choices." + key + " must be"));
    other["choices"][key] = 1;
    EXPECT_THAT(std::string(BundleConfigFromJson(other.dump(), nullptr).status().message()),
                HasSubstr("choices." + key + " must be a string"));
    other["choices"].erase(key);
    EXPECT_TRUE(BundleConfigFromJson(other.dump(), nullptr).ok()) << key;
  }
}

TEST_F(BundleTest, GuidanceOfThreeChannelsIsAChoice) {
  BundleConfig config = SmallBundleConfig();
  EXPECT_EQ(config.guided_channels, 0);
  config.guided_channels = 3;
  const std::string text = BundleConfigToJson(config, {{"sdit.safetensors", ""}});
  EXPECT_THAT(text, HasSubstr("\"guidance\": \"without identity, three channels\""));

  const auto read = BundleConfigFromJson(text, nullptr);

  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->guided_channels, 3);
}

TEST_F(BundleTest, NoiseSharedByAllFramesIsAChoice) {
  BundleConfig config = SmallBundleConfig();
  EXPECT_FALSE(config.shared_noise);
  json text = json::parse(BundleConfigToJson(config, {{"sdit.safetensors", ""}}));
  EXPECT_EQ(text["choices"]["noise"], "per frame");
  config.shared_noise = true;
  text = json::parse(BundleConfigToJson(config, {{"sdit.safetensors", ""}}));
  EXPECT_EQ(text["choices"]["noise"], "shared by all frames");
  const auto read = BundleConfigFromJson(text.dump(), nullptr);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_TRUE(read->shared_noise);

  text["choices"]["noise"] = "sometimes";
  EXPECT_THAT(std::string(BundleConfigFromJson(text.dump(), nullptr).status().message()),
              HasSubstr("choices.noise must be \"per frame\" or \"shared by all frames\""));
  text["choices"].erase("noise");
  EXPECT_FALSE(BundleConfigFromJson(text.dump(), nullptr)->shared_noise);
}

TEST_F(BundleTest, TrailingStepsAreAChoice) {
  BundleConfig config = SmallBundleConfig();
  EXPECT_FALSE(config.trailing_steps);
  json text = json::parse(BundleConfigToJson(config, {{"sdit.safetensors", ""}}));
  EXPECT_EQ(text["choices"]["steps"], "first to last");
  config.trailing_steps = true;
  text = json::parse(BundleConfigToJson(config, {{"sdit.safetensors", ""}}));
  EXPECT_EQ(text["choices"]["steps"], "trailing");

  const auto read = BundleConfigFromJson(text.dump(), nullptr);

  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_TRUE(read->trailing_steps);
  text["choices"].erase("steps");
  EXPECT_FALSE(BundleConfigFromJson(text.dump(), nullptr)->trailing_steps);
}

TEST_F(BundleTest, ZeroTerminalSnrNeedsAPredictionThatWorksThere) {
  EXPECT_EQ(Config()["schedule"]["name"], "linear");
  EditConfig([](json& config) { config["schedule"]["name"] = kLinearZeroTerminalSnr; });
  const auto bundle = ReadBundle(folder_);
  ASSERT_TRUE(bundle.ok()) << bundle.status();
  EXPECT_EQ(bundle->config.schedule, kLinearZeroTerminalSnr);

  EditConfig([](json& config) { config["prediction"] = "x0"; });
  EXPECT_TRUE(ReadBundle(folder_).ok());

  EditConfig([](json& config) { config["prediction"] = "eps"; });
  EXPECT_THAT(Refusal(), AllOf(HasSubstr("1 problem\n"),
                               HasSubstr("\"linear-zero-terminal-snr\" needs prediction")));

  EditConfig([](json& config) { config["schedule"]["name"] = "linear"; });
  EXPECT_TRUE(ReadBundle(folder_).ok());
}

TEST_F(BundleTest, ZeroTerminalSnrIsNotWrittenForNoisePredictionEither) {
  BundleConfig config = SmallBundleConfig();
  config.schedule = kLinearZeroTerminalSnr;
  config.prediction = Prediction::kEpsilon;

  const auto status = WriteRandomBundle(Path("noise"), config, 1);

  EXPECT_THAT(status.ToString(), HasSubstr("needs prediction"));
}

TEST_F(BundleTest, EveryFieldIsTyped) {
  const json config = Config();
  for (const auto& [key, value] : config.items()) {
    json wrong = config;
    wrong[key] = json::array({1});
    EXPECT_EQ(BundleConfigFromJson(wrong.dump(), nullptr).status().code(),
              absl::StatusCode::kInvalidArgument)
        << key;
  }
}

TEST_F(BundleTest, UnknownFieldsAtEveryLevel) {
  EditConfig([](json& config) {
    config["colour"] = "blue";
    for (const char* object :
         {"schedule", "defaults", "sdit", "autoencoder", "clip", "landmarks"}) {
      config[object]["colour_of_" + std::string(object)] = 1;
    }
  });

  const std::string refusal = Refusal();
  EXPECT_THAT(refusal, HasSubstr("colour is unknown"));
  for (const char* object : {"schedule", "defaults", "sdit", "autoencoder", "clip", "landmarks"}) {
    EXPECT_THAT(refusal, HasSubstr("colour_of_" + std::string(object)));
  }
}

TEST_F(BundleTest, OtherFormatVersionSaysOnlyThat) {
  EditConfig([](json& config) {
    config["format_version"] = 2;
    config["something_new"] = 1;
  });

  EXPECT_THAT(Refusal(), AllOf(HasSubstr("format_version is 2, this program reads 1"),
                               HasSubstr("1 problem\n"), Not(HasSubstr("something_new"))));
}

TEST_F(BundleTest, NotJson) {
  Write("bundle.json", "{\"name\": ");

  EXPECT_THAT(Refusal(), HasSubstr("not JSON"));
}

TEST_F(BundleTest, ContradictionsBetweenTheParts) {
  EditConfig([](json& config) {
    config["image_size"] = 128;
    config["frames_per_row"] = 8;
    config["sdit"]["clip_dim"] = 20;
    config["defaults"]["num_steps"] = 1;
    config["max_num_steps"] = 1001;
    config["clip"]["text"]["eos_token_id"] = 3;
  });

  EXPECT_THAT(Refusal(),
              AllOf(HasSubstr("image_size is 128"), HasSubstr("frames_per_row is 8"),
                    HasSubstr("sdit.clip_dim is 20"), HasSubstr("defaults.num_steps must be 2.."),
                    HasSubstr("max_num_steps must be 2.."), HasSubstr("clip.text.eos_token_id")));
}

TEST_F(BundleTest, AllTensorProblemsOfAllFilesInOneMessage) {
  EditTensors("sdit.safetensors", [](auto& tensors) {
    tensors.erase("null_clip");
    tensors["surplus"] = torch::zeros({2});
    tensors["x_embedder.proj.bias"] = torch::zeros({7});
  });
  EditTensors("clip.safetensors", [](auto& tensors) {
    tensors["logit_scale"] = torch::full_like(tensors["logit_scale"], NAN);
  });
  fs::remove(Path("autoencoder.safetensors"));
  EditConfig([](json& config) { config["licence"] = 3; });

  EXPECT_THAT(Refusal(),
              AllOf(HasSubstr("null_clip"), HasSubstr("surplus"), HasSubstr("x_embedder.proj.bias"),
                    HasSubstr("logit_scale"), HasSubstr("autoencoder.safetensors is not there"),
                    HasSubstr("licence must be a string")));
}

TEST_F(BundleTest, DamagedSafetensors) {
  Write("sdit.safetensors", "nothing of the kind");
  EditConfig([&](json& config) {
    config["files"]["sdit.safetensors"] = Sha256Hex("nothing of the kind");
  });

  EXPECT_THAT(Refusal(), HasSubstr("sdit.safetensors: "));
}

TEST_F(BundleTest, AFaceModelInTheFolderIsHashedIn) {
  Write("face_detection_short_range.tflite", "model");
  const auto old = ReadBundle(folder_);
  ASSERT_TRUE(old.ok()) << "an unlisted file is none of the bundle's business";
  ASSERT_TRUE(WriteBundle(folder_, old->config,
                          {StateDict(*old->sdit), StateDict(*old->autoencoder),
                           StateDict(*old->clip), testing::ReadFile(Path("merges.txt"))})
                  .ok());
  EXPECT_EQ(Config()["files"].size(), 5u);

  Write("face_detection_short_range.tflite", "other");

  EXPECT_THAT(Refusal(), HasSubstr("face_detection_short_range.tflite has the wrong SHA-256"));
}

}  // namespace
}  // namespace reenact
