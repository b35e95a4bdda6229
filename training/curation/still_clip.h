// A clip from a still picture by geometric transformations (Anchored Diffusion, Appendix A): the
// picture turns, grows, shears and moves; the face in it does not act. Drawings and paintings teach
// a network their look this way.
//
// Pure functions, the same with every compiler.
#pragma once

#include <cstdint>
#include <vector>

#include "pipeline/face/crop.h"
#include "pipeline/face/landmarks.h"
#include "pipeline/image.h"

namespace reenact {

// Largest departures from the picture as it is; each moves smoothly through the clip.
struct StillMotion {
  double rotation = 12;  // degrees
  double scale = 0.1;    // as a share
  double shear = 0.06;   // likewise
  double shift = 0.06;   // of the crop
};

struct StillFrame {
  Image image;
  Landmarks landmarks;  // of `image`
};

// `num_frames` pictures of `size` pixels of what `box` shows of `image`. Where a transformation
// looks past the picture's edge, its border is repeated. `landmarks` are the whole picture's.
std::vector<StillFrame> AnimateStill(const Image& image, const Landmarks& landmarks,
                                     const CropBox& box, int num_frames, int size, uint64_t seed,
                                     const StillMotion& motion = {});

}  // namespace reenact
