// Motion templates as server/ sees them: a driving file goes in as bytes, a template
// (motion_template.proto) comes out as bytes. Errors as pipeline/engine.h has them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "pipeline/types.h"

namespace reenact {

// What a caller asks for.
struct MotionRequest {
  FaceSelection driver_face;  // as JobRequest::driver_face
  bool copy_audio = true;
};

// What became of it.
struct MotionSummary {
  int64_t frames = 0;
  int64_t frames_with_face = 0;
  int64_t bytes_out = 0;
  bool audio_copied = false;
  std::vector<FrameNote> frame_notes;  // in the order of their frames
  std::vector<std::string> notes;      // about the whole
};

// Life: AddBytes* -> Finish -> Read until kDone -> Summary, on any one thread at a time. It is
// abandoned by destroying it when none of its calls is running.
class MotionExtraction {
 public:
  virtual ~MotionExtraction() = default;

  // Takes the next bytes of the driving media, in order. kResourceExhausted beyond
  // ModelInfo::max_driving_bytes.
  virtual absl::Status AddBytes(std::string_view bytes) = 0;
  // Says that all of it is there.
  virtual absl::Status Finish() = 0;

  enum class Reading {
    kMore,        // there is more to do at once
    kNeedsInput,  // nothing to do before Finish
    kDone,        // the template is complete
  };
  // Reads some frames, in a bounded time (tens of milliseconds) but for the first call that opens
  // the file, and appends what came of them to the template's `bytes`: a bounded piece, but for one
  // packet of sound. kInvalidArgument: also if there is no face in any frame.
  virtual absl::StatusOr<Reading> Read(std::string* bytes) = 0;

  // Thread-safe, from any thread: Read, running now or called later, returns kCancelled soon
  // (within the reading of one frame).
  virtual void Cancel() = 0;

  // After kDone.
  virtual MotionSummary Summary() const = 0;
};

}  // namespace reenact
