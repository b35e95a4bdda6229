#include <sys/resource.h>

#include <cstring>
#include <filesystem>

#include "absl/status/status.h"
#include "tests/pipeline/weights/golden.h"

namespace reenact {
namespace {

using testing::FilesWithPrefix;
using testing::GoldenDir;
using testing::ReadFile;

// Every well-formed file equals its twin, where integers are widened to I64 and floats to F64 if
// the twin's names begin with "expected.".
TEST(SafetensorsGoldenTest, ReadsWellFormedFiles) {
  REENACT_GOLDEN_FILES(files, "st_");
  int num_compared = 0;
  for (const std::string& path : files) {
    if (path.ends_with(".expected.safetensors")) continue;
    SCOPED_TRACE(path);
    const auto file = ReadSafetensors(path);
    ASSERT_TRUE(file.ok()) << file.status();
    const std::string twin_path =
        path.substr(0, path.size() - std::string(".safetensors").size()) + ".expected.safetensors";
    if (!std::filesystem::exists(twin_path)) {
      EXPECT_TRUE(path.find("no_tensors") != std::string::npos) << "no twin";
      EXPECT_TRUE(file->tensors.empty());
      ++num_compared;
      continue;
    }
    const auto twin = ReadSafetensors(twin_path);
    ASSERT_TRUE(twin.ok()) << twin.status();
    EXPECT_EQ(file->tensors.size(), twin->tensors.size());
    for (const auto& [name, tensor] : file->tensors) {
      SCOPED_TRACE(name);
      const bool widened = twin->tensors.contains("expected." + name);
      const auto found = twin->tensors.find(widened ? "expected." + name : name);
      ASSERT_NE(found, twin->tensors.end());
      ASSERT_EQ(tensor.sizes(), found->second.sizes());
      const auto actual = tensor.to(found->second.scalar_type());
      EXPECT_TRUE(actual.numel() == 0 ||
                  torch::allclose(actual, found->second, /*rtol=*/0, /*atol=*/0,
                                  /*equal_nan=*/true));
      ++num_compared;
    }
  }
  EXPECT_GT(num_compared, 0);
}

TEST(SafetensorsGoldenTest, RefusesEveryBadFileWithoutMuchMemory) {
  REENACT_GOLDEN_FILES(files, "bad_st_");
  rusage before, after;
  getrusage(RUSAGE_SELF, &before);

  for (const std::string& path : files) {
    SCOPED_TRACE(path);
    const auto from_file = ReadSafetensors(path);
    EXPECT_EQ(from_file.status().code(), absl::StatusCode::kInvalidArgument) << from_file.status();
    EXPECT_EQ(ParseSafetensors(ReadFile(path)).status().code(), absl::StatusCode::kInvalidArgument);
  }

  getrusage(RUSAGE_SELF, &after);
  // Kilobytes. The files are a few kilobytes each, and claim up to 2^64 bytes.
  EXPECT_LT(after.ru_maxrss - before.ru_maxrss, 64 * 1024);
}

// The list names the files; none of it may be missing from the folder, and none is accepted.
TEST(SafetensorsGoldenTest, RefusesWhatTheListOfCorruptFilesNames) {
  REENACT_GOLDEN_FILES(lists, "corrupt", ".json");
  int num_refused = 0;
  for (const std::string& list : lists) {
    const auto json = nlohmann::json::parse(ReadFile(list));
    for (const auto& entry : json.at("cases")) {
      const std::string name = entry.at("file");
      if (!name.ends_with(".safetensors")) continue;
      SCOPED_TRACE(name + ": " + entry.at("reason").get<std::string>());
      EXPECT_EQ(entry.at("must"), "refuse");
      const auto file = ReadSafetensors(GoldenDir() + "/" + name);
      EXPECT_EQ(file.status().code(), absl::StatusCode::kInvalidArgument) << file.status();
      ++num_refused;
    }
  }
  EXPECT_GT(num_refused, 0);
}

// What is written is read back, for every dtype of the golden files.
TEST(SafetensorsGoldenTest, WritesWhatItRead) {
  REENACT_GOLDEN_FILES(files, "st_");
  const std::string copy = ::testing::TempDir() + "/copy.safetensors";
  for (const std::string& path : files) {
    SCOPED_TRACE(path);
    const auto file = ReadSafetensors(path);
    ASSERT_TRUE(file.ok()) << file.status();

    ASSERT_TRUE(WriteSafetensors(copy, file->tensors, file->metadata).ok());

    const auto again = ReadSafetensors(copy);
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(again->metadata, file->metadata);
    ASSERT_EQ(again->tensors.size(), file->tensors.size());
    for (const auto& [name, tensor] : file->tensors) {
      const torch::Tensor& other = again->tensors.at(name);
      ASSERT_EQ(other.scalar_type(), tensor.scalar_type()) << name;
      ASSERT_EQ(other.sizes(), tensor.sizes()) << name;
      EXPECT_TRUE(tensor.numel() == 0 ||
                  std::memcmp(other.data_ptr(), tensor.data_ptr(), tensor.nbytes()) == 0)
          << name;
    }
  }
}

}  // namespace
}  // namespace reenact
