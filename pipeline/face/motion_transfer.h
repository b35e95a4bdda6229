// Moves one person's face as another's moves.
//
// In: the driver's landmarks of a frame and his face at rest (motion_neutral.h): of a clip that is
// there as a whole FindNeutralFace(), of a stream NeutralTracker::neutral() after each frame. Out:
// landmarks in the source's crop. Landmarks are such whose axes share one unit (head_pose.h); the
// driver's may be in any such frame, of his picture or of a crop, as long as his face at rest is in
// the same. Relative motion does not depend on where in the picture the driver is and how large.
//
// Relative motion, per frame:
//  - head: the driver's rotation since rest is applied in the head's own frame, so a source who
//    leans his head nods along its own axis; the way his head has moved from its usual place, and
//    the factor by which it has grown from its usual size, apply to the source's place and size,
//    the way in units of the head;
//  - face: the driver's displacement from rest in the head frame is added to the source's face at
//    rest, scaled by mouth's width, height of the lower face and distance of the eyes;
//  - lids: open by the same share of their own opening at rest, so every blink closes;
//  - lips: where the driver's meet, the source's meet (MotionOptions::source_expression may keep
//    them apart);
//  - irises: the driver's way from his own rest, by the eyes' widths, on top of the source's gaze.
// Driving a face by itself gives it back: a source whose frame is the driver's face at rest, at his
// usual place, follows every frame to within 5e-5 of the crop. Any other frame of the driver as the
// source gives his shape to about 1 % of the eyes' distance; two people differ by 4 to 7 %.
//
// Thread-safe after construction. Some 100 us a frame.
#pragma once

#include <optional>

#include "absl/status/statusor.h"
#include "pipeline/face/head_pose.h"
#include "pipeline/face/landmarks.h"
#include "pipeline/face/motion_neutral.h"
#include "pipeline/face/motion_options.h"

namespace reenact {

class MotionTransfer {
 public:
  // `source`: the source's face in its own crop. Without one only kAbsolute is possible.
  // kInvalidArgument: an option is out of range; `source` is missing or not a face.
  static absl::StatusOr<MotionTransfer> Create(const std::optional<Landmarks>& source,
                                               const MotionOptions& options);

  // A frame in which FitHeadPose() sees no head gives the source's own landmarks (in kAbsolute:
  // the frame as it is). Results are finite if the frame is.
  Landmarks Transfer(const Landmarks& frame, const NeutralFace& neutral) const;

  const MotionOptions& options() const { return options_; }

 private:
  struct Face {
    HeadPose pose;
    HeadShape shape;  // as in the picture
    HeadShape base;   // what the driver's displacement is added to
  };

  explicit MotionTransfer(const MotionOptions& options) : options_(options) {}

  Landmarks Move(const Face& source, const HeadPose& pose, const HeadShape& shape,
                 const NeutralFace& neutral) const;

  MotionOptions options_;
  std::optional<Face> source_;
  Landmarks source_landmarks_{};
};

}  // namespace reenact
