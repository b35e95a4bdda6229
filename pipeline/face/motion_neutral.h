// A driver's own face at rest: what his motion is measured from.
//
// Frames are landmarks whose three axes share one unit (head_pose.h), any unit, the same for all of
// a driver's frames. A frame in which FitHeadPose() sees no head is left out.
//
// How much a frame looks at rest: expression near what is usual in the clip, mouth closed, eyes
// open as usual, looking into the camera. The face at rest is the mean of the up to nine best such
// frames that are nearly as good as the best one, so that neither the noise of one frame nor
// whatever the first frame shows stays in every picture.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "pipeline/face/head_pose.h"

namespace reenact {

struct NeutralFace {
  HeadShape shape;      // of the face at rest
  Quaternion rotation;  // of the head in the frame most at rest
  // Where and how large the head is usually: medians over the frames.
  Vector3 place;
  double scale = 1;
};

// Over a whole clip; looks at up to 2000 frames, evenly. kInvalidArgument: no frame shows a head.
absl::StatusOr<NeutralFace> FindNeutralFace(absl::Span<const Landmarks> clip);

// The same while frames come in. The first frame is at rest for want of a better one; whenever the
// frames so far give another estimate, neutral() moves there exponentially (time constant one
// second, so by 4 % of the way from one frame to the next at 25 frames a second) and never jumps.
// Memory and time per frame are bounded, however long the stream.
//
// Thread-compatible.
class NeutralTracker {
 public:
  // `seconds`: the frame's time; a time not later than the frame's before counts as the same.
  void Observe(const Landmarks& frame, double seconds);

  // Whether a head has been seen.
  bool has_neutral() const { return !candidates_.empty(); }
  // Only if has_neutral().
  const NeutralFace& neutral() const { return neutral_; }

 private:
  struct Candidate {
    HeadShape shape;
    Quaternion rotation;
    double opening = 0;  // of both eyes
    double cost = 0;     // as of the last frame
  };
  // What the medians are taken of.
  struct Sample {
    double opening, x, y, z, log_scale;
  };

  void AddSample(const Sample& sample);
  NeutralFace Estimate();

  NeutralFace neutral_;
  std::vector<Candidate> candidates_;  // best first
  HeadShape usual_{};                  // mean shape, of the last while
  int num_frames_ = 0;
  double last_seconds_ = 0;
  // Every stride_th frame; thinned out when full.
  std::vector<Sample> samples_;
  int stride_ = 1;
};

}  // namespace reenact
