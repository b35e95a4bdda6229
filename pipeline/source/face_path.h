// Where a face is in every frame of a video, as the place of one square that follows the head: its
// middle, size and turn in the picture's plane.
//
// Places are found from the pose of the head (head_pose.h), so a head that turns away stays in the
// middle of its square. They are smoothed forwards and backwards (One Euro), so they neither
// tremble nor lag. Between frames that show the face it is where its neighbours say, within a
// scene; in a scene that never shows it, it is nowhere.
//
// Thread-compatible.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "pipeline/compose/paste_back.h"
#include "pipeline/face/crop.h"
#include "pipeline/face/landmarks.h"

namespace reenact {

class FacePath {
 public:
  // Of every frame's picture, pixels.
  FacePath(int width, int height) : width_(width), height_(height) {}

  // The next frame, at `seconds`, later than the one before. `face` in units of the picture; none:
  // it is not seen. `cut`: the frame begins a scene. Some 2 kB of memory per frame.
  void Add(const std::optional<Landmarks>& face, bool cut, double seconds);
  int num_frames() const { return static_cast<int>(spots_.size()); }

  // Once, after the last frame: the square is `box` in frame `reference`, which shows the face.
  void Settle(int reference, const CropBox& box);

  // After Settle. None: the face is nowhere in the frame's scene.
  std::optional<Placement> place(int frame) const;
  // The face in the frame, in units of the square there, z 0; where it is not seen, that of the
  // nearest frame that shows it. For frames that have a place.
  Landmarks landmarks(int frame) const;
  // Counts scenes from 0.
  int scene(int frame) const { return spots_[static_cast<size_t>(frame)].scene; }

  // Frames in which the face is not seen: with a place, and without.
  int num_guessed() const { return num_guessed_; }
  int num_without() const { return num_without_; }

 private:
  // A head in the picture.
  struct Head {
    double x = 0, y = 0;  // of its origin, pixels
    double size = 0;      // logarithm of the pixels per cm
    double turn = 0;      // radians, clockwise
  };
  struct Spot {
    bool seen = false, placed = false;
    int scene = 0;
    int shown_by = 0;  // the nearest frame that shows the face
    double seconds = 0;
    Head head;
  };
  // In units of 1 / kUnits of the picture.
  using Points = std::array<int16_t, size_t{2} * kNumLandmarks>;

  void FillGaps(size_t begin, size_t end);
  void Smooth(size_t begin, size_t end);
  Placement PlaceOf(const Head& head) const;

  int width_, height_;
  std::vector<Spot> spots_;
  std::vector<Points> points_;  // one per frame; of no meaning where the face is not seen
  Head reference_;
  CropBox box_;
  int num_guessed_ = 0, num_without_ = 0;
};

}  // namespace reenact
