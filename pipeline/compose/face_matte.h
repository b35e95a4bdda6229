// How much of a generated face square counts at every place of it.
//
// Pure functions. Positions are in units of the square, origin top left.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "pipeline/compose/paste_back_options.h"
#include "pipeline/face/landmarks.h"

namespace reenact {

// Which sides of the square lie inside the picture, so that the matte must fade out towards them. A
// side on or beyond the picture's own border has nothing to be continuous with.
struct FadingSides {
  bool left = true, top = true, right = true, bottom = true;
};

// A rectangle in units of the square.
struct MatteWindow {
  double left = 0, top = 0, right = 1, bottom = 1;
};

// The window on a grid of side * side samples, row-major, at the centres of equal cells. A sample
// is 1 on the edge of the area, more inside (4 at most), 0 at the end of the soft border and
// negative beyond it: it falls by 1 on the way through the border, whose width is `border` in units
// of the square. The area is the convex hull of what `area` says of all `faces` together, so that a
// head that moved covers the place it left. No face, or none with finite numbers: as kCrop.
//
// `side` is 1 or more, `border` positive.
std::vector<float> MatteDistance(absl::Span<const Landmarks> faces, MatteArea area, double border,
                                 const MatteWindow& window, int side);

// Lowers the samples of MatteDistance() so that the matte ends, 0, at the fading sides.
void FadeAtSides(const FadingSides& fading, double border, const MatteWindow& window, int side,
                 std::vector<float>& samples);

// The same for sides that are turned: those of a square of side `inner` (1 or less) about the
// middle of the unit square, turned clockwise by `turn` radians. `border` is in the same units.
void FadeAtTurnedSides(double inner, double turn, const FadingSides& fading, double border,
                       const MatteWindow& window, int side, std::vector<float>& samples);

// The matte of the whole square as a picture of `side` x `side` bytes: 0 outside and at all sides,
// 255 inside, a smooth step through the border.
std::vector<uint8_t> FaceMatte(absl::Span<const Landmarks> faces, MatteArea area, double border,
                               int side);

// 0 for 0 and less, 1 for 1 and more, smooth between.
inline float SmoothStep(float t) {
  const float clamped = t < 0 ? 0 : (t > 1 ? 1 : t);
  return clamped * clamped * (3 - 2 * clamped);
}

}  // namespace reenact
