// What the tests of whole jobs have in common: a small model with random weights, and clips.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "pipeline/engine/random_bundle.h"
#include "pipeline/image.h"
#include "pipeline/media/video_writer.h"
#include "pipeline/reenactor/reenactor.h"

namespace reenact::testing {

// The model's bundle in a folder of its own: ctest runs the cases as processes side by side. To be
// removed by the caller.
inline std::string WriteRandomModel(const std::string& test) {
  const std::filesystem::path folder =
      std::filesystem::path(::testing::TempDir()) / absl::StrCat(test, "_", getpid());
  std::filesystem::remove_all(folder);
  const absl::Status status = WriteRandomBundle(folder.string(), SmallBundleConfig(), 3);
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

// A video of pictures of one size: picture i is shown from times[i] to times[i + 1]. `options`
// needs neither width nor height.
inline std::string EncodeClip(VideoWriter::Options options, const std::vector<Image>& images,
                              const std::vector<int64_t>& times) {
  options.width = images[0].width;
  options.height = images[0].height;
  auto writer = VideoWriter::Create(std::move(options));
  EXPECT_TRUE(writer.ok()) << writer.status();
  std::string bytes;
  const auto add = [&](absl::StatusOr<std::vector<VideoWriter::Piece>> pieces) {
    ASSERT_TRUE(pieces.ok()) << pieces.status();
    for (const auto& piece : *pieces) bytes += piece.data;
  };
  for (size_t i = 0; i < images.size(); ++i) {
    add((*writer)->Write(images[i], times[i], times[i + 1] - times[i]));
  }
  add((*writer)->Finish());
  return bytes;
}

// Times of `count` pictures that last `duration` units each.
inline std::vector<int64_t> EvenTimes(size_t count, int64_t duration) {
  std::vector<int64_t> times;
  for (size_t i = 0; i <= count; ++i) times.push_back(static_cast<int64_t>(i) * duration);
  return times;
}

}  // namespace reenact::testing
