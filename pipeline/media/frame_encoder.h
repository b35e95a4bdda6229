// One compressed packet for every picture, at once. For the .cc files of this folder only.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "pipeline/image.h"
#include "pipeline/media/libav.h"
#include "pipeline/media/video_encoding.h"

namespace reenact {

// Converts to the codec's pixels and encodes. Nothing looks ahead, reorders or inserts key frames
// of its own, and all runs on the calling thread: the bytes do not depend on the machine's cores.
// Thread-compatible: one thread at a time.
class FrameEncoder {
 public:
  struct Options {
    VideoEncoding encoding;
    int width = 0;  // of the pictures
    int height = 0;
    AVRational time_base = {1, 25};   // of pts and duration
    AVRational frame_rate = {25, 1};  // nominal
  };

  // kInternal: the encoder is not there or does not take the options.
  static absl::StatusOr<std::unique_ptr<FrameEncoder>> Create(const Options& options);

  const AVCodecContext& context() const { return *encoder_; }
  int coded_width() const { return coded_width_; }
  int coded_height() const { return coded_height_; }

  // The picture as a packet with its times in the time base, valid until the next call. An odd side
  // is padded by its last column or row where the codec needs even ones.
  absl::StatusOr<AVPacket*> Encode(const Image& image, int64_t pts, int64_t duration, bool is_key);

 private:
  explicit FrameEncoder(const Options& options) : options_(options) {}

  absl::Status OpenEncoder();
  absl::Status OpenScaler();
  absl::Status Convert(const Image& image);

  const Options options_;
  int coded_width_ = 0;
  int coded_height_ = 0;
  LibavPtr<AVCodecContext> encoder_;
  LibavPtr<SwsContext> scaler_;  // null: the encoder takes RGB
  LibavPtr<AVFrame> frame_;
  LibavPtr<AVPacket> packet_;
  std::vector<uint8_t> padded_;
  int64_t num_frames_ = 0;
};

}  // namespace reenact
