// The picture that reenact-strip writes: videos below each other, moments side by side.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "pipeline/image.h"

namespace reenact {

// One video. Its source and its label stand at its left, where there are any.
struct StripRow {
  Image source;                 // may be empty
  std::string label;            // ASCII, wrapped at blanks; may be empty
  std::vector<Image> pictures;  // at least one
};

// `source` (may be empty) stands at the left of all rows, in the middle. Every picture is scaled to
// `size` pixels of height and keeps its shape; a label's place is as wide as high. Thread-safe.
// kInvalidArgument: there is no row, a row without pictures, or `size` is not 16..1024.
absl::StatusOr<Image> DrawStrip(const Image& source, const std::vector<StripRow>& rows, int size);

}  // namespace reenact
