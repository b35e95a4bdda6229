// The landmarks of one tracked face over a whole clip: frames without it are filled from those with
// it, and every frame says where its landmarks come from. A pure function.
//
// Nothing is interpolated across a cut or from one person to another: on either side of those the
// motion has nothing to do with the other side's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
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

struct FaceTimeline {
  std::vector<Landmarks> landmarks;  // one per frame
  std::vector<FaceRecord> records;   // one per frame
};

// `frames` and `pts` have one entry per frame; pts increase strictly, in any unit. `track` is the
// index of the choice.
//  kInterpolate: linear in time between the nearest frames with the face in the same scene; held at
//    either end of a scene.
//  kHold: those of the last frame of the scene with the face; of its first one, before it.
//  kFail: kInvalidArgument naming the first frame without the face.
// In a scene without the face its last landmarks before are held, else its first ones after.
// kInvalidArgument as well if there is no frame, or the face in none.
absl::StatusOr<FaceTimeline> FillTimeline(absl::Span<const TrackedFrame> frames, size_t track,
                                          absl::Span<const int64_t> pts, NoFacePolicy policy);

}  // namespace reenact
