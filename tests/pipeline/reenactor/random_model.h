// What the tests of whole jobs have in common: a small model with random weights.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string>

#include "absl/strings/str_cat.h"
#include "pipeline/engine/random_bundle.h"
#include "pipeline/reenactor/reenactor.h"

namespace reenact::testing {

// The model's bundle in a folder of its own: ctest runs the cases as processes side by side. To be
// removed by the caller. `change`: of the bundle before it is written.
inline std::string WriteRandomModel(const std::string& test,
                                    const std::function<void(BundleConfig&)>& change = {}) {
  const std::filesystem::path folder =
      std::filesystem::path(::testing::TempDir()) / absl::StrCat(test, "_", getpid());
  std::filesystem::remove_all(folder);
  BundleConfig config = SmallBundleConfig();
  if (change) change(config);
  const absl::Status status = WriteRandomBundle(folder.string(), config, 3);
  EXPECT_TRUE(status.ok()) << status;
  return folder.string();
}

// One thread, and the face models that set-up fetches unless the environment names others.
inline ReenactorOptions RandomModelOptions(const std::string& folder) {
  ReenactorOptions options;
  options.bundles = {folder};
  if (std::getenv("REENACT_FACE_MODELS") == nullptr) {
    options.face_models = std::string(REENACT_SOURCE_DIR) + "/.deps/mediapipe";
  }
  options.num_threads = 1;
  return options;
}

}  // namespace reenact::testing
