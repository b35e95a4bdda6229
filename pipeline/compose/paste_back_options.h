// How a generated face square is put back: plain data.
#pragma once

#include "absl/status/status.h"

namespace reenact {

// How far the generated picture replaces the original.
enum class MatteArea {
  kFace,  // the mesh and a little around it
  kHead,  // grown to hair, ears and neck
  kCrop,  // all of the square
};

struct PasteBackOptions {
  MatteArea area = MatteArea::kHead;
  // Width of the soft border in units of the square, 0.01 to 0.25.
  double border = 0.1;
  // How far the matte may follow hair and shoulders that moved beyond the area: 0 not at all, 1 up
  // to three border widths. A generator that does not keep the background wants little.
  double follow = 1;
  // How much of the measured colour difference is taken away: 0 none, 1 all.
  double colour_match = 1;
  // How much of the frame before's colour transfer stays: 0 every frame for itself, to 0.99.
  double smoothing = 0.9;
};

// kInvalidArgument naming the field, its value and its range.
absl::Status CheckPasteBackOptions(const PasteBackOptions& options);

}  // namespace reenact
