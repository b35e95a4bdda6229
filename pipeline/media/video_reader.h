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
// transfer curves are not tone-mapped; transparency is dropped. The track's rotation and mirroring
// (multiples of 90 degrees) are applied. Frames flagged as interlaced are deinterlaced, each to one
// frame at its own time. A frame of another size than the first is scaled to the first's.
//
// Damage inside a whole file costs the frames it hits and no others: they are left out, and the
// frame before lasts longer. VideoReport counts that and all else that was done to the frames.
//
// Messages are for the caller of the service: they name frames and limits, never files. Error
// codes: kInvalidArgument (not a video, no video track, no frames, cut off),
// kResourceExhausted (over a limit).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "pipeline/image.h"
#include "pipeline/media/audio_track.h"

namespace reenact {

struct VideoLimits {
  int64_t max_pixels = 3840LL * 2160;  // width times height of a frame
  int max_frames = 100'000;
  double max_duration_seconds = 4 * 3600;
  int max_streams = 32;  // tracks in the container
  // Of a processor, for the container's header and for each frame from its packets to RGB. Checked
  // between packets and between reads.
  double max_seconds_per_frame = 20;
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
  // A transfer curve for high dynamic range, "PQ" or "HLG"; empty: none.
  std::string hdr_transfer;
};

// What was done to the frames so far. All 0 for a healthy progressive clip.
struct VideoReport {
  // Frames with a missing or backward time stamp, put after the frame before.
  int num_repaired_timestamps = 0;
  int num_deinterlaced = 0;     // frames
  int num_damaged_packets = 0;  // that did not decode and were left out
  int num_leading_packets = 0;  // likewise, before the first frame: a recording's beginning
  int num_concealed = 0;        // frames whose damaged parts were guessed by the decoder
  int num_resized = 0;          // frames of another size than the first, scaled to it
};

// What of it the caller should hear, a sentence each: "3 frames of the video had ...". `what` is
// the video's name in them, such as "driving video".
std::vector<std::string> DescribeReport(const VideoInfo& info, const VideoReport& report,
                                        const std::string& what);

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
  // `goes_back`: for GoBack; the track's packets are kept, at most a little more than the file.
  static absl::StatusOr<std::unique_ptr<VideoReader>> Open(std::string bytes,
                                                           const VideoLimits& limits = {},
                                                           bool goes_back = false);
  virtual ~VideoReader() = default;

  virtual const VideoInfo& info() const = 0;

  // The next frame; nullopt after the last. A file that is cut off gives the frames before the cut
  // and then an error that says how many there were; likewise one whose container cannot be read
  // on. After an error every call returns that error.
  virtual absl::StatusOr<std::optional<VideoFrame>> Next() = 0;

  // Passes over the next `count` frames: what Next() returns afterwards is as if it had been called
  // so often before. Takes less time, as pixels are not converted. Fewer are left: all of them are
  // passed over.
  virtual absl::Status Skip(int count) = 0;

  // Goes back to frame `index`, 0 or more, of those returned or passed over: what Next() returns
  // afterwards is as it was the first time, but that what is missing of a damaged picture may be
  // guessed otherwise. Decodes the frames from EntryFrame(index) on, whatever the video's length.
  // False: it cannot (it does not keep packets, or they were more than the file should hold), and
  // what Next() returns is not settled.
  virtual absl::StatusOr<bool> GoBack(int index) = 0;
  // The last frame up to `index`, of those returned or passed over, before which nothing much has
  // to be decoded: one of the key frames found, or the one after it, or 0.
  virtual int EntryFrame(int index) const = 0;

  // Frames decoded, also to pass over them or to get back to one.
  virtual int64_t num_decoded() const = 0;

  // Gives the file back. Of the reader only info() and the reports can be asked for after that.
  virtual std::string TakeFile() = 0;

  // Counts the frames returned, and the one after them, each once.
  virtual const VideoReport& report() const = 0;
  int num_repaired_timestamps() const { return report().num_repaired_timestamps; }

  // The first sound track; independent of Next(). Its packets are copied; if MP4 cannot hold its
  // codec, it is decoded and encoded as AAC, and `note` says so. If there is none, or it does not
  // decode, the track is empty (and `note` says so in the latter case).
  virtual absl::StatusOr<AudioTrack> ReadAudio() const = 0;
};

}  // namespace reenact
