// The frames of a source video by time, as they are shown beside an output that may be longer: at
// its end the video runs backwards, at its beginning forwards again, and so on.
//
// Memory is bounded whatever the video's length: frames are decoded again when they are needed, one
// by one forwards, and backwards in runs of as many as fit in max_bytes (one at least), each from
// the key frame before it. So running backwards decodes each frame once where what lies between two
// key frames fits in max_bytes, and else, of G frames between them and W in max_bytes, G / 2W times
// more; only a file without any key frames but the first is decoded from its beginning. The file
// itself is held twice.
//
// Thread-compatible.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "pipeline/image.h"
#include "pipeline/media/video_reader.h"

namespace reenact {

class SourceFrames {
 public:
  struct Options {
    VideoLimits limits;
    int64_t max_bytes = int64_t{192} << 20;  // of decoded frames that are held
  };
  // `bytes` is a video that has been read before: `starts` are its frames' times in seconds,
  // increasing from 0, and `duration` is that of all of it. At least one frame.
  SourceFrames(std::string bytes, std::vector<double> starts, double duration,
               const Options& options);

  int count() const { return static_cast<int>(starts_.size()); }

  // Which frame is shown `seconds` after the beginning, 0 or more.
  int IndexAt(double seconds) const;

  // A frame, valid until the next call. Cheap for the one before again, for the next one, and
  // mostly for the one before that. kInternal: the file does not give it any more.
  absl::StatusOr<const Image*> Frame(int index);

  // Frames decoded so far, each as often as it was.
  int64_t num_decoded() const {
    return num_decoded_before_ + (reader_ == nullptr ? 0 : reader_->num_decoded());
  }

 private:
  absl::Status Restart();
  // Makes the reader's next frame `index`.
  absl::Status GoTo(int index);
  absl::Status ReadOne();
  // Where a run that ends with `index`, of at most `most` frames, best begins.
  int RunStart(int index, int most) const;
  bool Holds(int index) const {
    return index >= first_ && index < first_ + static_cast<int>(held_.size());
  }

  std::string bytes_;  // while there is no reader
  std::vector<double> starts_;
  double duration_;
  Options options_;
  std::unique_ptr<VideoReader> reader_;
  int next_ = 0;            // the frame the reader gives next
  int first_ = 0;           // of those held
  std::deque<Image> held_;  // neighbours
  int last_asked_ = -1;
  int64_t num_decoded_before_ = 0;  // by readers before this one
};

}  // namespace reenact
