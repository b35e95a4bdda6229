// The picture that stands for a video until it plays.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "pipeline/image.h"

namespace reenact {

struct PosterOptions {
  int max_side = 512;  // 16..4096 pixels; a larger frame is made smaller, none is made larger
  int quality = 85;    // of the JPEG, 1..100
};

// kInvalidArgument names the field, its value and its range.
absl::Status CheckPosterOptions(const PosterOptions& options);

struct PosterSize {
  int width = 0, height = 0;
};

// Of the poster of a picture of `width` x `height`, 1 or more each.
PosterSize PosterSizeOf(int width, int height, const PosterOptions& options = {});

// `frame` as a JPEG file, its shape kept. kInvalidArgument: an empty frame or options out of range.
// Thread-safe.
absl::StatusOr<std::string> MakePoster(const Image& frame, const PosterOptions& options = {});

}  // namespace reenact
