// Where a job's driving motion comes from: frame by frame, the chosen faces and where they are. A
// file (a video, a still picture or a motion template) or live pictures; who asks need not know.
//
// Thread-compatible.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "pipeline/face/face_choice.h"
#include "pipeline/face/face_landmarker.h"
#include "pipeline/face/face_tracker.h"
#include "pipeline/image.h"
#include "pipeline/media/audio_track.h"
#include "pipeline/media/video_reader.h"
#include "pipeline/types.h"

namespace reenact {

class FaceSource {
 public:
  // One frame of the driving.
  struct Frame {
    int64_t pts = 0;
    // 1 or more; 0 if it is not known before the next frame's pts is.
    int64_t duration = 0;
    absl::Time arrived;    // of a live frame
    TrackedFrame tracked;  // as many faces as were chosen, in that order
  };

  virtual ~FaceSource() = default;

  // The next frame; none: that was the last, or (live) there is none yet. kInvalidArgument,
  // kResourceExhausted: the media is bad or too much; the message names it and the frame.
  virtual absl::StatusOr<std::optional<Frame>> Next() = 0;

  // Of live driving only the size and the time base, and those once there was a frame.
  virtual const VideoInfo& info() const = 0;

  // The file's sound, if it was asked for; to be taken once.
  virtual std::optional<AudioTrack> TakeAudio() { return std::nullopt; }

  // For the caller; complete after the last frame.
  virtual std::vector<std::string> Notes() const { return {}; }

  absl::Duration decode_time() const { return decode_time_; }
  absl::Duration landmark_time() const { return landmark_time_; }

 protected:
  absl::Duration decode_time_, landmark_time_;
};

// The duration of a driving frame that stands alone, as of one of so many a second.
inline constexpr int kSingleFrameRate = 25;

struct FaceSourceOptions {
  int max_frames = 0;  // of a file
  int max_pixels = 0;  // of a frame
  std::vector<FaceChoice> faces = std::vector<FaceChoice>(1);
  bool read_audio = false;
};

// Takes the whole file. `landmarker` finds the faces. kInvalidArgument, kResourceExhausted: as of
// Next().
absl::StatusOr<std::unique_ptr<FaceSource>> OpenFaceSource(
    std::string file, const FaceSourceOptions& options, std::unique_ptr<FaceLandmarker> landmarker);

// Pictures that are handed over one by one.
class LiveFaceSource : public FaceSource {
 public:
  LiveFaceSource(const FaceSourceOptions& options, const LiveOptions& live,
                 std::unique_ptr<FaceLandmarker> landmarker);

  // kInvalidArgument: its pts is not above that of the frame before.
  absl::Status Add(LiveFrame frame);
  // Whether a frame was ever added.
  bool any() const { return last_pts_.has_value(); }

  absl::StatusOr<std::optional<Frame>> Next() override;
  const VideoInfo& info() const override { return info_; }

 private:
  absl::StatusOr<Image> Decode(const LiveFrame& frame);

  const int max_pixels_;
  const std::unique_ptr<FaceLandmarker> landmarker_;
  FaceTracker tracker_;
  VideoInfo info_;
  std::deque<LiveFrame> frames_;  // not yet read
  std::optional<int64_t> last_pts_;
  int64_t num_frames_ = 0;  // read
};

}  // namespace reenact
