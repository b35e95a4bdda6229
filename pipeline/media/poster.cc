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

PosterSize PosterSizeOf(int width, int height, const PosterOptions& options) {
  const int side = std::max(width, height);
  if (side <= options.max_side) return {width, height};
  const auto scaled = [&](int length) {
    const double exact = static_cast<double>(length) * options.max_side / side;
    return std::max(1, static_cast<int>(std::lround(exact)));
  };
  return {scaled(width), scaled(height)};
}

absl::StatusOr<std::string> MakePoster(const Image& frame, const PosterOptions& options) {
  absl::Status status = CheckPosterOptions(options);
  if (!status.ok()) return status;
  const PosterSize size = PosterSizeOf(frame.width, frame.height, options);
  if (size.width == frame.width && size.height == frame.height) {
    return EncodeJpeg(frame, options.quality);
  }
  return EncodeJpeg(ResizeImage(frame, size.width, size.height), options.quality);
}

}  // namespace reenact
