// Finds the frames of a video that begin a new scene, as they come.
//
// A frame is compared with each of the few before it. It is a cut if it looks like none of them:
// small patches of it are found in none, at about the place the camera's and the patch's own motion
// would have brought them to, whatever the brightness and contrast. So light that comes and goes (a
// flash, a fade) and motion are no cuts, nor is the return from a flash. A frame that shows next to
// nothing (black, white) never is one: the first that shows something again is compared with the
// last that did.
//
// What it cannot tell: a dissolve is no cut at any of its frames; a cut between two pictures that
// look alike patch by patch is missed; a thing that jumps in and fills most of the picture is one.
#pragma once

#include <array>
#include <deque>

#include "pipeline/image.h"

namespace reenact {

// Thread-compatible. About 0.1 ms a frame of any size.
class SceneCutDetector {
 public:
  // Whether `image` begins a new scene. The first frame does not. Frames may differ in size. An
  // empty or inconsistent picture is none and changes nothing.
  bool Next(const Image& image);

  // How different the last frame was from those before, 0 to 1; 0 if there were none, or if it
  // shows nothing. A cut is one above 0.5, or more where the scene changes much.
  float score() const { return score_; }

  // The next frame is the first.
  void Reset();

  // A frame made small: means of equal cells, in levels.
  static constexpr int kSide = 32;
  struct Signature {
    std::array<float, kSide * kSide> luma;
    // Differences from it, which light of any strength scales alike.
    std::array<float, kSide * kSide> blue, red;
    float contrast = 0;  // standard deviation of luma
  };

 private:
  std::deque<Signature> before_;  // of this scene, the latest last
  // Of this scene's scores: mean and mean distance from it, both slowly forgotten.
  float mean_ = 0, spread_ = 0;
  float score_ = 0;
};

}  // namespace reenact
