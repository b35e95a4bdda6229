// A video file in memory, as RGB frames with exact times.
//
// Reads MP4/MOV, Matroska/WebM, AVI, MPEG-TS, FLV, Ogg and GIF. The bytes are all there is: no
// file, network or other stream is opened, whatever the container asks for. Containers and codecs
// are an allow-list.
//
// Frames come in order of presentation, one per frame of the first video track that is not a cover
// picture: those the container's edit list shows, none dropped or repeated to reach a rate. Times
// are the container's; MPEG-TS, whose clock starts anywhere, counts from the earlier of its first
// picture and first sound. Pixels are converted with the track's own matrix and range (BT.601
// limited where it states none, as the ffmpeg tool does); high bit depth is brought down to 8; HDR
// transfer curves are not tone-mapped. The track's rotation and mirroring (multiples of 90 degrees)
// are applied.
//
// Messages are for the caller of the service: they name frames and limits, never files. Error
// codes: kInvalidArgument (not a video, no video track, no frames, damaged or cut off),
// kResourceExhausted (over a limit).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "pipeline/image.h"
#include "pipeline/media/audio_track.h"

namespace reenact {

struct VideoLimits {
  int64_t max_pixels = 3840LL * 2160;  // width times height of a frame
  int max_frames = 100'000;
  double max_duration_seconds = 4 * 3600;
  int max_streams = 32;  // tracks in the container
};

struct VideoInfo {
  int width = 0;  // of every frame, after rotation
  int height = 0;
  int32_t time_base_num = 0;  // seconds per unit of pts = num / den
  int32_t time_base_den = 1;
  // Average, as the container says; 0/1 if it does not. A hint: only pts are exact.
  int32_t frame_rate_num = 0;
  int32_t frame_rate_den = 1;
  // From the container, which does not know what its edit list hides; 0 if it does not say.
  int64_t num_frames_hint = 0;
  double duration_seconds = 0;  // from the container; 0 if it does not say
  std::string container;        // such as "mov,mp4,m4a,3gp,3g2,mj2"
  std::string codec;            // such as "h264"
  std::string pixel_format;     // as stored, such as "yuv420p10le"
  int rotation_degrees = 0;     // clockwise, as applied: 0, 90, 180 or 270
  // Width of a stored pixel over its height. Frames are not stretched.
  int32_t pixel_aspect_num = 1;
  int32_t pixel_aspect_den = 1;
  bool has_audio = false;
  std::string audio_codec;  // of the first sound track
};

struct VideoFrame {
  Image image;
  int64_t pts = 0;  // in units of the time base; strictly increasing from frame to frame
  // The next frame's pts minus this one's, for the last frame what the container says; 1 or more.
  int64_t duration = 0;
};

// Thread-compatible: one thread at a time.
class VideoReader {
 public:
  // Takes the whole file. Decodes the first frame, so a file that holds no picture fails here.
  static absl::StatusOr<std::unique_ptr<VideoReader>> Open(std::string bytes,
                                                           const VideoLimits& limits = {});
  virtual ~VideoReader() = default;

  virtual const VideoInfo& info() const = 0;

  // The next frame; nullopt after the last. A file that is cut off or damaged gives the frames
  // before the damage and then an error that says how many there were. After an error every call
  // returns that error.
  virtual absl::StatusOr<std::optional<VideoFrame>> Next() = 0;

  // How many frames so far had a missing or backward time stamp and were put after the frame
  // before. 0 in a healthy file.
  virtual int num_repaired_timestamps() const = 0;

  // The first sound track, its packets copied; independent of Next(). If there is none, or MP4
  // cannot hold its codec, the track is empty (and `note` says so in the latter case).
  virtual absl::StatusOr<AudioTrack> ReadAudio() const = 0;
};

}  // namespace reenact
