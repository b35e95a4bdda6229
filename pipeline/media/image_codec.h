// Pictures as files: PNG, JPEG, WebP, BMP and TIFF bytes to an Image, and an Image to JPEG or PNG
// bytes.
//
// All functions are thread-safe and touch memory only: no file is ever opened.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "pipeline/image.h"

namespace reenact {

struct ImageLimits {
  // Width times height. The header is checked before anything is allocated for the picture.
  int64_t max_pixels = 40'000'000;
};

enum class Orientation {
  kHonour,  // turn and mirror the picture as its EXIF orientation tag says
  kIgnore,  // the stored pixels as they are
};

// Whether `bytes` begin as a file of one of the five formats does.
bool LooksLikePicture(std::string_view bytes);

// Decodes the first picture in `bytes`. Grey becomes three equal channels, 16 bits per channel are
// rounded to 8, transparency is laid over white. Colour profiles are not applied. kInvalidArgument:
// not one of the five formats, damaged, or cut off; kResourceExhausted: over `limits`.
absl::StatusOr<Image> DecodeImage(std::string_view bytes, const ImageLimits& limits = {},
                                  Orientation orientation = Orientation::kHonour);

// `quality` 1..100. kInvalidArgument: empty image or bad quality.
absl::StatusOr<std::string> EncodeJpeg(const Image& image, int quality);

// Lossless. `alpha`: a fourth channel, a byte per pixel row by row, which the colours are not
// multiplied by; empty: none. kInvalidArgument: empty image, or alpha of another size.
absl::StatusOr<std::string> EncodePng(const Image& image, absl::Span<const uint8_t> alpha = {});

}  // namespace reenact
