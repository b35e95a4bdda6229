// Where the frames of live driving come from: a stream of JPEG pictures, or whatever a caller
// makes.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace reenact {

struct DrivingFrame {
  std::string image;  // a JPEG, PNG, WebP or BMP file
  int64_t pts = 0;    // in units of the config's live.time_base; rises from frame to frame
};

// Read once from the first frame to the last, by one thread at a time.
class FrameSource {
 public:
  virtual ~FrameSource() = default;

  // The next frame; std::nullopt: the end, and the source is not asked again. May block until
  // there is one. An error ends the job with that error.
  virtual absl::StatusOr<std::optional<DrivingFrame>> Next() = 0;

  // Thread-safe: nobody wants more frames. Next, running or called later, returns the end soon.
  virtual void Stop() = 0;
};

// Frames per second as the fraction num / den, both positive.
struct FrameRate {
  int32_t num = 25;
  int32_t den = 1;
};

// "25", "29.97", "30000/1001". kInvalidArgument: it is none of these, or not 0.01 to 1000.
absl::StatusOr<FrameRate> ParseFrameRate(const std::string& text);

struct JpegStreamOptions {
  // Time stamps count frames: the unit is 1 / rate. Empty: time stamps tell when the frame's last
  // byte was read, in microseconds since the first.
  std::optional<FrameRate> rate;
  // A frame is not handed out before its time, counted from the first: what plays a file as a
  // camera would have sent it. Needs `rate`.
  bool pace = false;
  size_t max_frame_bytes = size_t{32} << 20;
};

// JPEG files one after another, as `ffmpeg -f mjpeg -` writes them, from a file, a pipe, or, for
// "-", standard input. Opens it at once, with the errors of OpenMediaFile. Next returns the errors
// of JpegSplitter, but leaves a last picture out that the end of the stream cuts short: a camera's
// program may be ended at any time.
absl::StatusOr<std::unique_ptr<FrameSource>> OpenJpegStream(const std::string& path,
                                                            const JpegStreamOptions& options);

// Unit of the time stamps of such a stream in seconds, as a fraction.
struct TimeUnit {
  int32_t num = 1;
  int32_t den = 1'000'000;
};
TimeUnit TimeUnitOf(const JpegStreamOptions& options);

}  // namespace reenact
