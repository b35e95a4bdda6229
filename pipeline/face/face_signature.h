// What tells one face from another within a video or beside a reference picture: the proportions of
// the mesh, and the colours of skin, brows, lips, eyes and hair. No network.
//
// Good enough to keep several people of one scene apart, to find one again after a loss or a cut,
// and to pick one by a picture from the same days. It is no recognition: people of the same build
// and colouring are taken for one another, other light or a dyed head for another person, and much
// of it is hidden beyond about 45 degrees of yaw (what is hidden is left out).
//
// Measured, one frame against one: 120 synthetic people in three clips each: 6 % of the pairs of
// one person taken for two, 4 % of strangers for one, the right one among five picked in 99 %. Six
// recorded people, one clip each: none, 8 % and all.
//
// Pure functions. Thread-safe.
#pragma once

#include <array>
#include <cstddef>
#include <optional>

#include "pipeline/face/landmarks.h"
#include "pipeline/image.h"

namespace reenact {

// Numbers in no unit a caller needs; compare them with Likeness().
struct FaceSignature {
  static constexpr size_t kNumShapes = 22;
  static constexpr size_t kNumPlaces = 15;
  static constexpr size_t kSize = kNumShapes + 3 * kNumPlaces + 1;

  std::array<float, kSize> values = {};
  // 0 not seen .. 1 seen well.
  std::array<float, kSize> weights = {};
};

// The face with these landmarks (in units of the picture). No value: the landmarks are no face.
// Some 80 us.
std::optional<FaceSignature> SignFace(const Image& image, const Landmarks& landmarks);

// Probability that both show one person, were both answers as likely before: 0 to 1. What either
// does not see tells nothing; 0.5 if nothing is seen.
double Likeness(const FaceSignature& a, const FaceSignature& b);

// Moves `known` to `seen` by `share` (0 to 1), number by number and as well as each is seen.
void Learn(FaceSignature& known, const FaceSignature& seen, float share);

}  // namespace reenact
