// Videos of given pictures.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "pipeline/image.h"
#include "pipeline/media/video_writer.h"

namespace reenact::testing {

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
