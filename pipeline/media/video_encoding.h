// How pictures become a compressed video: plain data, and what of it is in range. Pure functions,
// thread-safe; no FFmpeg.
#pragma once

#include <optional>

#include "absl/status/status.h"

namespace reenact {

// All go into fragmented MP4, which keeps frame times exactly; FFmpeg's Matroska counts whole
// milliseconds. None carries transparency.
enum class VideoCodec {
  kH264,      // 4:2:0 BT.709; plays everywhere
  kVp9,       // 4:2:0 BT.709
  kAv1,       // 4:2:0 BT.709; the smallest files and the slowest to make
  kMjpeg,     // 4:2:0 JPEG pictures; every frame by itself; for editing, not for browsers
  kLossless,  // H.264 in RGB without loss (High 4:4:4 Predictive); decodes in software only
};

enum class EncodingQuality { kLow, kMedium, kHigh };

// More time for smaller files of the same quality. MJPEG has one speed.
enum class EncodingSpeed { kFastest, kFast, kMedium, kSlow };

struct VideoEncoding {
  VideoCodec codec = VideoCodec::kH264;
  EncodingQuality quality = EncodingQuality::kMedium;
  EncodingSpeed speed = EncodingSpeed::kFast;
  // The codec's own scale in place of `quality`, lower is better; see CrfRangeOf. kLossless: none.
  std::optional<int> crf = {};
};

struct CrfRange {
  int min = 0;
  int max = 0;
};

// H.264 0..51, VP9 and AV1 0..63, MJPEG 2..31 (its quantiser); kLossless 0..0.
CrfRange CrfRangeOf(VideoCodec codec);

// What `encoding` comes to: its crf, or the one of its quality.
int CrfOf(const VideoEncoding& encoding);

// For people: "H.264", "VP9", "AV1", "MJPEG", "lossless H.264".
const char* NameOf(VideoCodec codec);

// kInvalidArgument names the field, its value and its range.
absl::Status CheckVideoEncoding(const VideoEncoding& encoding);

}  // namespace reenact
