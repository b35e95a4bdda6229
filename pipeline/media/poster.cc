#include "pipeline/media/poster.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "pipeline/media/image_codec.h"
#include "pipeline/media/resize.h"

namespace reenact {

absl::Status CheckPosterOptions(const PosterOptions& options) {
  if (options.max_side < 16 || options.max_side > 4096) {
    return absl::InvalidArgumentError(
        absl::StrCat("poster max_side is ", options.max_side, "; it must be 16 to 4096"));
  }
  if (options.quality < 1 || options.quality > 100) {
    return absl::InvalidArgumentError(
        absl::StrCat("poster quality is ", options.quality, "; it must be 1 to 100"));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> MakePoster(const Image& frame, const PosterOptions& options) {
  absl::Status status = CheckPosterOptions(options);
  if (!status.ok()) return status;
  const int side = std::max(frame.width, frame.height);
  if (side <= options.max_side) return EncodeJpeg(frame, options.quality);
  const auto scaled = [&](int length) {
    const double exact = static_cast<double>(length) * options.max_side / side;
    return std::max(1, static_cast<int>(std::lround(exact)));
  };
  return EncodeJpeg(ResizeImage(frame, scaled(frame.width), scaled(frame.height)), options.quality);
}

}  // namespace reenact
