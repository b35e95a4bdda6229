// Where a result goes: a file, a folder of frames or standard output.
//
// A file or folder appears under its name only when it is complete: until Commit() the bytes lie
// under a temporary name beside it, and an object destroyed without Commit() takes them away again.
// Thread-compatible.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace reenact::tool {

// One encoded frame of a result in frames.
struct OutputFrame {
  int64_t index = 0;
  int64_t pts = 0;  // in units of time_base_num / time_base_den seconds
  int32_t time_base_num = 0;
  int32_t time_base_den = 1;
  std::string_view data;
};

class Output {
 public:
  virtual ~Output() = default;

  // Takes the next bytes of a video, in order.
  virtual absl::Status WriteVideo(std::string_view bytes) = 0;

  // Takes the next frame, in order.
  virtual absl::Status WriteFrame(const OutputFrame& frame) = 0;

  // Makes the result appear. Nothing may be written afterwards.
  virtual absl::Status Commit() = 0;
};

// A video file. Replaces what `path` names when it is committed. kInvalidArgument: `path` cannot be
// written there (says why).
absl::StatusOr<std::unique_ptr<Output>> CreateFileOutput(const std::string& path);

// A folder with frame_000000.EXTENSION, ... and timestamps.csv (index, pts, time base, seconds).
// kInvalidArgument: `path` exists and is not an empty folder, or cannot be made.
absl::StatusOr<std::unique_ptr<Output>> CreateFolderOutput(const std::string& path,
                                                           const std::string& extension);

// A video on standard output, while it is being made.
std::unique_ptr<Output> CreateStandardOutput();

}  // namespace reenact::tool
