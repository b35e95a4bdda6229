// Where tests find what lies outside the repository: golden values and real media.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace reenact::testing {

// `variable` in the environment, else the first of `defaults` (relative to the source tree) that
// exists, else "".
inline std::string FolderFrom(const char* variable, const std::vector<std::string>& defaults) {
  if (const char* value = std::getenv(variable); value != nullptr && *value != '\0') return value;
  for (const std::string& path : defaults) {
    const std::filesystem::path folder = std::filesystem::path(REENACT_SOURCE_DIR) / path;
    if (std::filesystem::exists(folder)) return folder.string();
  }
  return "";
}

inline std::string GoldenDir() {
  return FolderFrom("REENACT_GOLDEN_DIR", {"../shared/golden", "tests/golden"});
}
inline std::string DataDir() { return FolderFrom("REENACT_DATA_DIR", {"../shared/data"}); }

// Whether a missing folder is a failure (CI) rather than a reason to skip.
inline bool MustHaveData() {
  const char* ci = std::getenv("CI");
  return ci != nullptr && std::string(ci) == "true";
}

// Files of `folder` whose name begins with `prefix` and ends in `suffix`, sorted. Empty if there is
// no such folder.
inline std::vector<std::string> FilesWithPrefix(const std::string& folder,
                                                const std::string& prefix,
                                                const std::string& suffix = ".safetensors") {
  std::vector<std::string> files;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(prefix) && name.ends_with(suffix)) files.push_back(entry.path().string());
  }
  std::sort(files.begin(), files.end());
  return files;
}

inline std::string ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream content;
  content << in.rdbuf();
  return content.str();
}

}  // namespace reenact::testing

// Skips the test (fails it where CI=true) if the folder of real media is absent.
#define REENACT_REQUIRE_DATA()                                                         \
  if (::reenact::testing::DataDir().empty()) {                                         \
    if (::reenact::testing::MustHaveData()) FAIL() << "REENACT_DATA_DIR is not there"; \
    GTEST_SKIP() << "REENACT_DATA_DIR is not there";                                   \
  }                                                                                    \
  static_assert(true, "")
