// TensorBoard event files: records of length, masked CRC-32C of the length, event, masked CRC-32C
// of the event (tensorboard_event.proto). `tensorboard --logdir FOLDER` shows them.
//
// Thread-compatible.
#pragma once

#include <cstdint>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace reenact {

class EventLog {
 public:
  // Starts a new file in `folder`. What earlier files say of steps from `first_step` on counts no
  // more: the run repeats them. kUnavailable: it cannot be written.
  static absl::StatusOr<std::unique_ptr<EventLog>> Create(const std::string& folder,
                                                          int64_t first_step);

  // kUnavailable: the disk is full or gone.
  absl::Status Scalar(const std::string& tag, int64_t step, double value);
  absl::Status Picture(const std::string& tag, int64_t step, const std::string& png, int width,
                       int height);

  const std::string& path() const { return path_; }

 private:
  EventLog(std::string path, std::ofstream out) : path_(std::move(path)), out_(std::move(out)) {}
  absl::Status Append(const std::string& event);

  const std::string path_;
  std::ofstream out_;
};

// CRC-32C (Castagnoli), and as the records hold it: rotated and offset, since a checksum of bytes
// that hold their own checksum is weak.
uint32_t Crc32c(std::string_view bytes);
uint32_t MaskedCrc32c(std::string_view bytes);

}  // namespace reenact
