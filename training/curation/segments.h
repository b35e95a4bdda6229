// Which stretches of a video show one face well enough to train on (Anchored Diffusion, section
// 3.3): no cut, a face in every frame, large and steady, for longer than two seconds.
//
// Pure functions and a thread-compatible class.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "pipeline/face/landmarks.h"

namespace reenact {

struct SegmentRules {
  double min_seconds = 2;
  double max_seconds = 10;  // longer stretches are cut into pieces
  double min_face = 400;    // pixels, the larger side of the face's box
  // Between two frames, as shares of the box's larger side: more is no steady face.
  double max_shift = 0.25;
  double max_growth = 0.25;
};

// Of landmarks, in pixels.
struct FaceBox {
  double left = 0, top = 0, right = 0, bottom = 0;

  double width() const { return right - left; }
  double height() const { return bottom - top; }
  double side() const { return width() > height() ? width() : height(); }
};
FaceBox BoxOf(const Landmarks& landmarks, int width, int height);

struct Segment {
  int64_t first_frame = 0;
  double begin = 0, end = 0;         // seconds
  std::vector<Landmarks> landmarks;  // one a frame, of the whole picture

  int64_t num_frames() const { return static_cast<int64_t>(landmarks.size()); }
};

class SegmentFinder {
 public:
  SegmentFinder(const SegmentRules& rules, int width, int height);

  // The next frame, shown from `begin` to `end` seconds. `face`: none found, or its landmarks.
  void Add(double begin, double end, bool is_cut, const std::optional<Landmarks>& face);
  // After the last frame: what was found, in order.
  std::vector<Segment> Finish();

  // Stretches that were too short, by what ended them: "cut", "no face", "small face", "jump",
  // "end". Read after Finish().
  const std::map<std::string, int>& too_short() const { return too_short_; }
  int64_t frames_with_face() const { return frames_with_face_; }

 private:
  void Close(const std::string& why);

  const SegmentRules rules_;
  const int width_, height_;
  int64_t next_frame_ = 0, frames_with_face_ = 0;
  std::optional<Segment> open_;
  FaceBox last_box_;
  std::vector<Segment> found_;
  std::map<std::string, int> too_short_;
};

}  // namespace reenact
