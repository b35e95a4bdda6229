// The square around a face that the networks see.
//
// Pure functions, no state. Pixel coordinates are continuous: the centre of the top-left pixel is
// (0.5, 0.5).
#pragma once

#include <vector>

#include "pipeline/face/landmarks.h"
#include "pipeline/image.h"

namespace reenact {

// A square in pixels of a picture. May reach outside it.
struct CropBox {
  double center_x = 0, center_y = 0, side = 0;
};

// One box for a whole clip: the centre of the median face box, and a side of which the median face
// height is 0.53 (Anchored Diffusion, App. B). `faces` are the clip's landmarks, normalised to the
// picture of `width` x `height`; frames without a face are simply not in it. Without any face: the
// largest centred square.
CropBox FaceCrop(const std::vector<Landmarks>& faces, int width, int height);

// The box as a picture of `size` x `size`: averaged over areas when it shrinks, bilinear when it
// grows, border pixels repeated outside the picture. `image` must not be empty, `box.side` and
// `size` must be positive.
Image CropImage(const Image& image, const CropBox& box, int size);

// Landmarks of a `width` x `height` picture in units of the box instead; z is scaled like x.
Landmarks ToCrop(const Landmarks& landmarks, const CropBox& box, int width, int height);

}  // namespace reenact
