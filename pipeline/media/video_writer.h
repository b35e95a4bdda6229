// RGB frames to a compressed video in fragmented MP4, piece by piece, with the driving video's
// times and sound.
//
// The pieces in order are the file: one init segment, then fragments that each begin with a key
// frame, so a player can start before the end exists. Frame times are kept exactly (a start offset
// by an edit list); the sound's packets are copied bit by bit into the fragment of their time.
// Nothing is held back for B-frames or look-ahead, whatever the codec: a fragment is returned by
// the Write that completes it. The same input gives the same bytes.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "pipeline/image.h"
#include "pipeline/media/audio_track.h"
#include "pipeline/media/video_encoding.h"

namespace reenact {

// Thread-compatible: one thread at a time.
class VideoWriter {
 public:
  struct Options : VideoEncoding {
    int width = 0;  // of every image given to Write, pixels
    int height = 0;
    int32_t time_base_num = 1;  // seconds per unit of pts and duration = num / den
    int32_t time_base_den = 0;
    int32_t frame_rate_num = 30;  // nominal; only for the stream's level and headers. 0: 30
    int32_t frame_rate_den = 1;
    int frames_per_fragment = 16;  // 1 or more; the last fragment may be shorter
    // Of the first fragment alone, for whoever waits for a picture. 1 or more; not given:
    // frames_per_fragment.
    std::optional<int> first_fragment_frames = {};
    std::optional<AudioTrack> audio = {};  // an empty track counts as none
  };

  // A part of the file. Concatenated in order they are the file.
  struct Piece {
    bool init = false;  // the init segment (ftyp, moov): always the first piece
    std::string data;
    int64_t first_frame = 0;  // index of the first frame in a fragment
    int num_frames = 0;       // 0 for the init segment
    int64_t pts = 0;          // of the first frame, as given to Write
  };

  // kInvalidArgument: an option is out of its range.
  static absl::StatusOr<std::unique_ptr<VideoWriter>> Create(Options options);
  virtual ~VideoWriter() = default;

  // Size in the file: the options' size, an odd side padded by one pixel that repeats the edge
  // where the codec stores half the colours (all but kLossless).
  virtual int coded_width() const = 0;
  virtual int coded_height() const = 0;

  // Adds a frame that lasts from `pts` to `pts + duration`, where the next must begin. The first
  // pts may be negative: then picture and sound are both moved so that it becomes 0. Returns what
  // is complete, often nothing. kInvalidArgument: wrong size, empty duration, a gap or overlap
  // with the frame before, or sound whose times do not fit. kFailedPrecondition: after Finish or an
  // error.
  virtual absl::StatusOr<std::vector<Piece>> Write(const Image& image, int64_t pts,
                                                   int64_t duration) = 0;

  // Ends the file: the last fragment with the rest of the sound. kFailedPrecondition: no frame was
  // written.
  virtual absl::StatusOr<std::vector<Piece>> Finish() = 0;
};

}  // namespace reenact
