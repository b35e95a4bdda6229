#include "pipeline/media/video_encoding.h"

#include "absl/strings/str_cat.h"

namespace reenact {
namespace {

struct Scale {
  const char* name;
  CrfRange range;
  int crf[3];  // low, medium, high quality
};

// The medium qualities look alike to the eye at 512 x 512.
Scale ScaleOf(VideoCodec codec) {
  switch (codec) {
    case VideoCodec::kH264:
      return {"H.264", {0, 51}, {27, 20, 14}};
    case VideoCodec::kVp9:
      return {"VP9", {0, 63}, {42, 32, 20}};
    case VideoCodec::kAv1:
      return {"AV1", {0, 63}, {42, 32, 20}};
    case VideoCodec::kMjpeg:
      return {"MJPEG", {2, 31}, {8, 4, 2}};
    case VideoCodec::kLossless:
      return {"lossless H.264", {0, 0}, {0, 0, 0}};
  }
  return {"", {0, -1}, {}};
}

absl::Status CheckEnum(const char* field, int value, int last) {
  if (value >= 0 && value <= last) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("output ", field, " is ", value, "; it must be 0 to ", last));
}

}  // namespace

CrfRange CrfRangeOf(VideoCodec codec) { return ScaleOf(codec).range; }

const char* NameOf(VideoCodec codec) { return ScaleOf(codec).name; }

int CrfOf(const VideoEncoding& encoding) {
  return encoding.crf.value_or(ScaleOf(encoding.codec).crf[static_cast<int>(encoding.quality)]);
}

absl::Status CheckVideoEncoding(const VideoEncoding& encoding) {
  absl::Status status =
      CheckEnum("codec", static_cast<int>(encoding.codec), static_cast<int>(VideoCodec::kLossless));
  if (status.ok()) {
    status = CheckEnum("quality", static_cast<int>(encoding.quality),
                       static_cast<int>(EncodingQuality::kHigh));
  }
  if (status.ok()) {
    status = CheckEnum("speed", static_cast<int>(encoding.speed),
                       static_cast<int>(EncodingSpeed::kSlow));
  }
  if (!status.ok() || !encoding.crf.has_value()) return status;
  if (encoding.codec == VideoCodec::kLossless) {
    return absl::InvalidArgumentError(absl::StrCat("output quality (CRF) is ", *encoding.crf,
                                                   "; lossless video has none, leave it out"));
  }
  const CrfRange range = CrfRangeOf(encoding.codec);
  if (*encoding.crf < range.min || *encoding.crf > range.max) {
    return absl::InvalidArgumentError(absl::StrCat("output quality (CRF) is ", *encoding.crf,
                                                   "; for ", NameOf(encoding.codec), " it must be ",
                                                   range.min, " to ", range.max));
  }
  return absl::OkStatus();
}

}  // namespace reenact
