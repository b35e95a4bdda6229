// Where the bytes of a driving video come from: a file, memory, or whatever a caller makes.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace reenact {

// A run of bytes, read once from front to end, by one thread at a time.
class MediaSource {
 public:
  virtual ~MediaSource() = default;

  // Replaces `chunk` by the next 1 to `max_bytes` bytes. Empty afterwards: the end, and the source
  // is not asked again. May block. An error ends the job with that error.
  virtual absl::Status Read(size_t max_bytes, std::string& chunk) = 0;
};

// The content of a file, read piece by piece as it is sent. Opens it at once: kNotFound (no such
// file), kPermissionDenied, kInvalidArgument (a folder), each naming `path`.
absl::StatusOr<std::unique_ptr<MediaSource>> OpenMediaFile(const std::string& path);

// `bytes`, which it owns.
std::unique_ptr<MediaSource> MediaFromBytes(std::string bytes);

// The whole file, for a source image. As OpenMediaFile, and kResourceExhausted beyond `max_bytes`.
absl::StatusOr<std::string> ReadWholeFile(const std::string& path, size_t max_bytes);

}  // namespace reenact
