// Puts a generated face square back into the full picture it was cropped from.
//
// The square is brought to the picture's pixels (any turn of the crop's fractions of a pixel
// included), its colours are matched to the surroundings (one transfer for all of it, and then what
// is left of slow changes over the picture), and it is blended through a soft matte made from the
// face mesh (face_matte.h), grown where hair or shoulders moved. Coarse differences fade over the
// whole border, fine detail over its middle third, so that neither a step nor a double image of
// hair is left.
//
// Guarantees: no byte outside the square changes; a square that equals the picture, at the
// picture's own pixels, changes none at all; equal calls in equal order give equal bytes. Memory
// is that of two pictures as large as the square in the picture, kept between calls.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "pipeline/compose/colour_transfer.h"
#include "pipeline/compose/face_matte.h"
#include "pipeline/compose/paste_back_options.h"
#include "pipeline/face/crop.h"
#include "pipeline/face/landmarks.h"
#include "pipeline/image.h"

namespace reenact {

// Where a square is put.
struct Placement {
  CropBox box;      // before it is turned about its middle
  double turn = 0;  // radians, clockwise as seen
};

// One face of one picture or video. Thread-compatible.
class PasteBack {
 public:
  // Landmarks in units of the square (ToCrop()): of the generated face, and of the face in the
  // picture before. Either may be missing; with neither the whole square is put back.
  struct Faces {
    std::optional<Landmarks> generated, original;
  };

  // `options` must pass CheckPasteBackOptions().
  explicit PasteBack(const PasteBackOptions& options) : options_(options) {}

  // The next frame: replaces what `box` shows of `frame` by `generated`. `frame` may be any size
  // and holds the original picture when called. A box outside it changes nothing. kInvalidArgument:
  // an empty or inconsistent picture, `generated` not square, a box without a positive finite side.
  //
  // `matte_out`: gets how much the generated picture counts at each pixel of `frame`, 0 to 255, row
  // by row. It may hold that of other faces, of which the larger stays; else it is empty before.
  // Where it is 0 no byte of `frame` has changed. Null: not asked for.
  absl::Status Blend(const Image& generated, const CropBox& box, const Faces& faces, Image& frame,
                     std::vector<uint8_t>* matte_out = nullptr) {
    return BlendTurned(generated, {.box = box, .turn = 0}, faces, frame, matte_out);
  }

  // The same where the square is turned: no byte outside the turned square changes.
  absl::Status BlendTurned(const Image& generated, const Placement& place, const Faces& faces,
                           Image& frame, std::vector<uint8_t>* matte_out = nullptr);

  // Forgets the frames before: a cut, or another source.
  void Reset() {
    transfer_.reset();
    growth_.clear();
    field_.clear();
  }

  // What the last frame's colours were changed by, before `colour_match`; none before the first.
  const std::optional<ColourTransfer>& transfer() const { return transfer_; }

 private:
  // Takes from the differences per coarse cell (three levels each) what changes slowly over the
  // picture, as far as it can be seen around the face.
  void SmoothOut(const std::vector<float>& matte, std::vector<float>& difference);

  // Raises the matte where the two pictures differ nearby; `difference` per coarse cell, in levels.
  void Grow(const float* difference, std::vector<float>& matte);

  const PasteBackOptions options_;
  std::optional<ColourTransfer> transfer_;
  std::vector<float> growth_;  // per coarse cell, 0 to 1
  std::vector<float> field_;   // per coarse cell, three levels
  // Reused between calls.
  std::vector<uint8_t> patch_, shrunk_;
  std::vector<ColourPair> pairs_;
};

}  // namespace reenact
