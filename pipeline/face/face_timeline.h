// The landmarks of one tracked face, frame by frame as they are found: frames without it are filled
// from those with it, and every frame says where its landmarks come from.
//
// Nothing is interpolated across a cut or from one person to another: on either side of those the
// motion has nothing to do with the other side's. Frames without the face, by policy:
//  kInterpolate: linear in time between the nearest frames with the face in the same scene; held at
//    either end of a scene;
//  kHold: those of the last frame of the scene with the face; of its first one, before it;
//  kFail: Add() returns kInvalidArgument naming the frame.
// In a scene without the face its last landmarks before are held, else its first ones after.
//
// Thread-compatible.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "pipeline/face/face_tracker.h"
#include "pipeline/face/landmarks.h"
#include "pipeline/face/roi.h"
#include "pipeline/types.h"

namespace reenact {

enum class FaceOrigin {
  kFound,
  kInterpolated,  // in time between two frames of the scene in which it was found
  kHeld,          // from one other frame
};

// What is known of a frame's face.
struct FaceRecord {
  FaceOrigin origin = FaceOrigin::kFound;
  // The frames its landmarks come from; itself if found, twice the same if held.
  int64_t from = 0, to = 0;
  // Whether it begins another scene; never for the first frame.
  bool cut = false;
  // As in TrackedFace; of a frame that was filled: 0, the box of the landmarks, the person they
  // are of.
  float confidence = 0;
  Box box;
  int person = 0;

  // For people, such as "no face found, landmarks of frame 17 held"; empty if found.
  std::string Note() const;
};

class FaceTimeline {
 public:
  struct Frame {
    Landmarks landmarks;
    FaceRecord record;
  };

  // `immediate`: a frame without the face is filled at once from the last one with it, if there was
  // any, rather than from what may come (live).
  FaceTimeline(NoFacePolicy policy, bool immediate) : policy_(policy), immediate_(immediate) {}

  // The next frame; `cut`: it begins a scene. pts increase strictly, in any unit.
  absl::Status Add(const TrackedFace& face, bool cut, int64_t pts);
  // There are no more. kInvalidArgument: there was no frame, or the face in none.
  absl::Status Finish();

  // Takes the frames that have been filled since the last call, in order.
  std::vector<Frame> Take() { return std::exchange(filled_, {}); }

  int64_t num_frames() const { return num_frames_; }

 private:
  struct Found {
    int64_t frame = 0;
    int64_t pts = 0;
    int person = 0;
    Landmarks landmarks;
  };
  struct Missing {
    int64_t pts = 0;
    bool cut = false;
  };
  // Fills the frames of `gap_`, between last_ and `after`; either may be missing.
  void CloseGap(const Found* after);

  const NoFacePolicy policy_;
  const bool immediate_;
  int64_t num_frames_ = 0;
  std::optional<Found> last_;
  bool last_in_scene_ = false;  // last_ is of the present scene
  std::vector<Missing> gap_;    // the latest frames
  std::vector<Frame> filled_;
};

}  // namespace reenact
