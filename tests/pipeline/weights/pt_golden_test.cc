#include <sys/resource.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>

#include "absl/status/status.h"
#include "pipeline/weights/checkpoint_file.h"
#include "tests/pipeline/weights/golden.h"

namespace reenact {
namespace {

namespace fs = std::filesystem;
using testing::FilesWithPrefix;
using testing::GoldenDir;
using testing::ReadFile;

// "pt_x.pt" and "pt_x.ckpt" -> "pt_x.expected.safetensors".
std::string TwinOf(const std::string& path) {
  return path.substr(0, path.rfind('.')) + ".expected.safetensors";
}

// A folder of its own as working directory while it lives: what a hostile file would touch there
// shows.
class EmptyWorkingFolder {
 public:
  EmptyWorkingFolder() : before_(fs::current_path()) {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fs::path(::testing::TempDir()) /
              (std::string("reenact_") + test->name() + std::to_string(getpid()));
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    fs::current_path(folder_);
  }
  ~EmptyWorkingFolder() {
    fs::current_path(before_);
    fs::remove_all(folder_);
  }
  bool IsStillEmpty() const { return fs::is_empty(folder_); }

 private:
  fs::path before_, folder_;
};

TEST(PtGoldenTest, WellFormedFilesEqualTheirTwins) {
  REENACT_GOLDEN_FILES(twins, "pt_", ".expected.safetensors");
  int num_compared = 0;
  for (const char* suffix : {".pt", ".ckpt", ".pth", ".bin"}) {
    for (const std::string& path : FilesWithPrefix(GoldenDir(), "pt_", suffix)) {
      SCOPED_TRACE(path);
      const auto twin = ReadSafetensors(TwinOf(path));
      ASSERT_TRUE(twin.ok()) << twin.status();

      const auto checkpoint = ReadCheckpoint(path);

      ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
      EXPECT_EQ(checkpoint->tensors.size(), twin->tensors.size());
      for (const auto& [name, expected] : twin->tensors) {
        SCOPED_TRACE(name);
        const auto found = checkpoint->tensors.find(name);
        ASSERT_NE(found, checkpoint->tensors.end());
        ASSERT_EQ(found->second.scalar_type(), expected.scalar_type());
        ASSERT_EQ(found->second.sizes(), expected.sizes());
        const torch::Tensor actual = found->second.contiguous();
        EXPECT_TRUE(actual.numel() == 0 ||
                    std::memcmp(actual.data_ptr(), expected.data_ptr(), expected.nbytes()) == 0 ||
                    torch::allclose(actual, expected, 0, 0, /*equal_nan=*/true));
        ++num_compared;
      }
    }
  }
  EXPECT_GT(num_compared, 0);
}

TEST(PtGoldenTest, RefusesEveryBadFileAndRunsNothing) {
  REENACT_GOLDEN_FILES(twins, "pt_", ".expected.safetensors");
  rusage before, after;
  getrusage(RUSAGE_SELF, &before);
  const EmptyWorkingFolder folder;
  int num_refused = 0;
  for (const char* suffix : {".pt", ".pkl", ".ckpt", ".pth", ".bin"}) {
    for (const std::string& path : FilesWithPrefix(GoldenDir(), "bad_pt_", suffix)) {
      SCOPED_TRACE(path);

      const auto checkpoint = ReadCheckpoint(path);

      EXPECT_EQ(checkpoint.status().code(), absl::StatusCode::kInvalidArgument)
          << checkpoint.status();
      EXPECT_TRUE(std::string(checkpoint.status().message()).find(path) != std::string::npos)
          << "the message does not name the file: " << checkpoint.status();
      EXPECT_TRUE(folder.IsStillEmpty()) << "a command was executed";
      EXPECT_FALSE(fs::exists(GoldenDir() + "/pwned"));
      ++num_refused;
    }
  }
  EXPECT_GT(num_refused, 0);
  getrusage(RUSAGE_SELF, &after);
  // Kilobytes. The files are a hundred kilobytes at most, and claim up to 2^62 elements.
  EXPECT_LT(after.ru_maxrss - before.ru_maxrss, 64 * 1024);
}

// Of the files named as malicious every refusal says what would have run.
TEST(PtGoldenTest, NamesWhatMaliciousFilesWouldRun) {
  REENACT_GOLDEN_FILES(files, "bad_pt_malicious", ".pt");
  int num_files = 0;
  for (const char* suffix : {".pt", ".pkl"}) {
    for (const std::string& path : FilesWithPrefix(GoldenDir(), "bad_pt_malicious", suffix)) {
      SCOPED_TRACE(path);
      const std::string content = ReadFile(path);
      const auto checkpoint = ReadCheckpoint(path);
      const std::string message(checkpoint.status().message());
      for (const char* name : {"system", "eval"}) {
        const std::string global = std::string(name) + "\n";
        if (content.find(global) == std::string::npos) continue;
        EXPECT_TRUE(message.find(std::string(".") + name) != std::string::npos) << message;
        ++num_files;
      }
    }
  }
  EXPECT_GT(num_files, 0);
}

TEST(PtGoldenTest, DoesWhatTheListOfCorruptFilesSays) {
  REENACT_GOLDEN_FILES(lists, "corrupt", ".json");
  int num_cases = 0;
  for (const std::string& list : lists) {
    const auto json = nlohmann::json::parse(ReadFile(list));
    for (const auto& entry : json.at("cases")) {
      const std::string name = entry.at("file");
      if (name.ends_with(".safetensors")) continue;
      SCOPED_TRACE(name + ": " + entry.at("reason").get<std::string>());
      const auto checkpoint = ReadCheckpoint(GoldenDir() + "/" + name);
      if (name.starts_with("bad_")) {
        EXPECT_EQ(checkpoint.status().code(), absl::StatusCode::kInvalidArgument)
            << checkpoint.status();
      } else {
        EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
      }
      ++num_cases;
    }
  }
  EXPECT_GT(num_cases, 0);
}

// Every cut of a good file is refused: nothing is read from behind the end.
TEST(PtGoldenTest, RefusesEveryCutOfAFile) {
  REENACT_GOLDEN_FILES(files, "pt_", ".pt");
  const std::string path =
      (fs::path(::testing::TempDir()) / ("reenact_cut" + std::to_string(getpid()) + ".pt"))
          .string();
  std::string content = ReadFile(files[0]);
  for (const std::string& file : files) {
    if (fs::file_size(file) < content.size()) content = ReadFile(file);
  }
  for (size_t size = 0; size < content.size(); size += 1 + size / 64) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << content.substr(0, size);
    EXPECT_EQ(ReadCheckpoint(path).status().code(), absl::StatusCode::kInvalidArgument) << size;
  }
  fs::remove(path);
}

// Safetensors come through the same door, mapped, and equal what a plain reader reads.
TEST(PtGoldenTest, MappedSafetensorsEqualReadOnes) {
  REENACT_GOLDEN_FILES(files, "st_");
  for (const std::string& path : files) {
    SCOPED_TRACE(path);
    const auto expected = ReadSafetensors(path);
    ASSERT_TRUE(expected.ok()) << expected.status();
    const auto checkpoint = ReadCheckpoint(path);
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
    ASSERT_EQ(checkpoint->tensors.size(), expected->tensors.size());
    EXPECT_EQ(checkpoint->metadata, expected->metadata);
    for (const auto& [name, tensor] : expected->tensors) {
      const torch::Tensor& mapped = checkpoint->tensors.at(name);
      ASSERT_EQ(mapped.scalar_type(), tensor.scalar_type()) << name;
      ASSERT_EQ(mapped.sizes(), tensor.sizes()) << name;
      EXPECT_TRUE(tensor.numel() == 0 ||
                  std::memcmp(mapped.data_ptr(), tensor.data_ptr(), tensor.nbytes()) == 0)
          << name;
    }
  }
  REENACT_GOLDEN_FILES(bad_files, "bad_st_");
  for (const std::string& path : bad_files) {
    EXPECT_EQ(MapSafetensors(path).status().code(), absl::StatusCode::kInvalidArgument) << path;
    EXPECT_EQ(ReadCheckpoint(path).status().code(), absl::StatusCode::kInvalidArgument) << path;
  }
}

}  // namespace
}  // namespace reenact
