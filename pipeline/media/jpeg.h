// JPEG files by libjpeg-turbo, in memory. For the .cc files of this folder only. Thread-safe.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "pipeline/image.h"

namespace reenact {

// The picture in `bytes`, which must be `width` x `height`; an empty Image if it is not, or is
// damaged. Grey, YCbCr, RGB, CMYK and YCCK. kResourceExhausted: no memory, or more scans than any
// encoder makes.
absl::StatusOr<Image> DecodeJpeg(std::string_view bytes, int width, int height);

// 4:2:0. `quality` 1..100; the image is not empty. kInternal: it is larger than JPEG can say.
absl::StatusOr<std::string> CompressJpeg(const Image& image, int quality);

}  // namespace reenact
