// Cuts a stream of JPEG files, one after another as `ffmpeg -f mjpeg -` writes them, into its
// files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace reenact {

// Follows the markers: segments are skipped by their lengths, so a thumbnail or any other bytes
// inside of one are not looked at, and in entropy-coded data stuffed bytes and restart markers are
// told from the end. What lies between two files (padding, multipart headers) is left out.
//
// Bounded: holds one file, of max_file_bytes at most. Thread-compatible.
class JpegSplitter {
 public:
  // Most bytes that may lie before a file.
  static constexpr size_t kMaxBytesBetween = size_t{64} << 10;

  explicit JpegSplitter(size_t max_file_bytes) : max_file_bytes_(max_file_bytes) {}

  // Takes the next bytes of the stream, cut anywhere, and appends the files that are complete to
  // `files`. kInvalidArgument: it is not a stream of JPEG files, or one of them is damaged (says
  // which, counted from 0). kResourceExhausted: a file is too large. After an error nothing may
  // follow.
  absl::Status Push(std::string_view bytes, std::vector<std::string>& files);

  // No more bytes will come. kInvalidArgument: the last file is cut short, or there was none.
  absl::Status Finish() const;

 private:
  enum class State {
    kBetween,        // before a file; a 0xff may have been seen (saw_ff_)
    kMarker,         // a 0xff must come
    kMarkerCode,     // after 0xff, or several
    kLengthHigh,     // of the segment of marker_
    kLengthLow,      //
    kSegment,        // left_ more bytes
    kEntropy,        // coded data
    kEntropyMarker,  // after a 0xff in it
  };

  // Takes some of `bytes`, at least one, and returns how many. `ended` becomes true with the last
  // byte of a file.
  absl::Status Take(std::string_view bytes, size_t& taken, bool& ended);
  // A marker's code has been read.
  absl::Status TakeMarker(uint8_t code, bool& ended);
  absl::Status Damaged(const char* what) const;

  const size_t max_file_bytes_;
  State state_ = State::kBetween;
  bool saw_ff_ = false;
  uint8_t marker_ = 0;
  size_t left_ = 0;
  size_t num_between_ = 0;
  int64_t num_files_ = 0;
  std::string file_;
};

}  // namespace reenact
