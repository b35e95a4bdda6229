// Test material: driving clips of any length, pictures of any size.
//
// Pure functions, thread-safe.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "pipeline/image.h"

namespace reenact::bench {

// The first `max_frames` frames of a video file's bytes. Errors as VideoReader.
absl::StatusOr<std::vector<Image>> ReadFrames(const std::string& video, int max_frames);

// An MP4 file of `num_frames` frames of `video` at 25 frames a second: its beginning, or, if it is
// shorter, played forward and backward until there are enough. No sound. Errors as VideoReader.
absl::StatusOr<std::string> MakeClip(const std::string& video, int num_frames);

// As MakeClip, from pictures of one size. kInvalidArgument: there is none.
absl::StatusOr<std::string> EncodeClip(const std::vector<Image>& images, int num_frames);

// Which of `available` frames (1 or more) is shown as the `index`-th of a clip played forward and
// backward.
int ForthAndBack(int index, int available);

// A picture in motion: smooth colours and a bright square, different for each `index`.
Image MovingPicture(int width, int height, int index);

// The middle square of `image` at `side` x `side`.
Image CentreSquare(const Image& image, int side);

}  // namespace reenact::bench
