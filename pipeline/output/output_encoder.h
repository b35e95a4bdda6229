// The end of a job's rendering: pictures in time order become what is sent, on a thread of its own,
// so that a picture is encoded while the next one is decoded and composed.
//
// Bounded: whoever adds a picture waits while as many as max_waiting are waiting to be encoded. The
// bytes do not depend on whether there is a thread.
//
// One thread adds, waits and takes; idle() is thread-safe. The destructor waits for the picture
// that is being encoded, not for those that wait.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "pipeline/image.h"
#include "pipeline/media/video_writer.h"
#include "pipeline/types.h"

namespace reenact {

// A picture as it was composed.
struct OutputPicture {
  Image image;
  std::vector<uint8_t> matte;  // a level per pixel, row by row; empty: there is none
};

class OutputEncoder {
 public:
  struct Options {
    OutputFormat format = OutputFormat::kFragmentedMp4;
    int jpeg_quality = 90;  // of kJpeg
    bool poster = false;    // of the first picture, before all else
    Matte matte = Matte::kNone;
    // Size of the pictures, without the matte, and the time base, of every format; the others are
    // of kFragmentedMp4.
    VideoWriter::Options video;
    bool own_thread = true;
    int max_waiting = 4;  // pictures, 1 or more
  };
  // kInvalidArgument: an option is out of its range. kInternal: an encoder is not there.
  static absl::StatusOr<std::unique_ptr<OutputEncoder>> Create(Options options);
  ~OutputEncoder();
  OutputEncoder(const OutputEncoder&) = delete;
  OutputEncoder& operator=(const OutputEncoder&) = delete;

  struct Frame {
    int64_t index = 0;
    int64_t pts = 0;
    int64_t duration = 0;                  // 1 or more with kFragmentedMp4
    std::optional<OutputPicture> picture;  // none: that of the frame before again (repeated)
  };
  // Hands over the next frame. After an error nothing more is encoded; it is returned by this call
  // or a later one, and by Take.
  absl::Status Add(Frame frame) ABSL_LOCKS_EXCLUDED(mu_);
  // There are no more. Once.
  absl::Status Finish() ABSL_LOCKS_EXCLUDED(mu_);

  // Waits until one more of what was handed over has been encoded. False: nothing is left to wait
  // for.
  bool WaitForOne() ABSL_LOCKS_EXCLUDED(mu_);

  struct Encoded {
    std::vector<Output> outputs;  // in the order they must be sent
    int num_frames = 0;           // encoded since the call before
  };
  // What has been encoded and not been taken.
  absl::StatusOr<Encoded> Take() ABSL_LOCKS_EXCLUDED(mu_);

  // Whether nothing waits, is being encoded, or is there to be taken; not after an error.
  bool idle() const ABSL_LOCKS_EXCLUDED(mu_);

  // A picture that was encoded, whose memory can be used for another one; or an empty one.
  OutputPicture TakeSpare() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct Work {
    Frame frame;
    bool end = false;
  };

  explicit OutputEncoder(Options options) : options_(std::move(options)) {}

  absl::Status Hand(Work work) ABSL_LOCKS_EXCLUDED(mu_);
  void Run() ABSL_LOCKS_EXCLUDED(mu_);
  void TakeIn(const Work& work, const absl::Status& status, std::vector<Output> outputs)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // The encoding thread, or, without one, the caller's.
  absl::Status Encode(Work& work, std::vector<Output>* outputs) ABSL_LOCKS_EXCLUDED(mu_);
  absl::Status EncodeFrame(Frame& frame, std::vector<Output>* outputs) ABSL_LOCKS_EXCLUDED(mu_);
  absl::Status AddPoster(std::vector<Output>* outputs);
  absl::Status EncodePicture(Output* output);
  // The last picture, with its matte where that is part of it.
  const Image& Shown() const { return below_.empty() ? last_.image : below_; }
  int shown_height() const;
  void AddPieces(std::vector<VideoWriter::Piece> pieces, std::vector<Output>* outputs) const;

  const Options options_;
  std::unique_ptr<VideoWriter> writer_;
  OutputPicture last_;
  Image below_;  // its picture and its matte, with Matte::kBelow
  bool poster_made_ = false;

  mutable Mutex mu_;
  std::deque<Work> waiting_ ABSL_GUARDED_BY(mu_);
  bool encoding_ ABSL_GUARDED_BY(mu_) = false;
  bool stop_ ABSL_GUARDED_BY(mu_) = false;
  absl::Status status_ ABSL_GUARDED_BY(mu_);  // the first error
  Encoded encoded_ ABSL_GUARDED_BY(mu_);
  std::vector<OutputPicture> spares_ ABSL_GUARDED_BY(mu_);

  std::thread thread_;  // from the first frame on
};

}  // namespace reenact
