// The landmarks of a driving clip, frame by frame as they are found, with gaps filled and in the
// clip's crop: what the networks are told of the driver.
//
// A frame is decided once its landmarks and the crop are certain. The crop is that of the first
// `crop_frames` frames (FaceCrop), so a clip that is used while it still grows has its crop early;
// with no such number it is the whole clip's. It does not change afterwards.
//
// Frames in which no face was found:
//  kInterpolate: linear in time between the nearest frames with a face; held at either end;
//  kHold: as the last frame with a face; before the first one, as that;
//  kFail: Add returns kInvalidArgument naming the frame.
//
// Thread-compatible.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "pipeline/face/crop.h"
#include "pipeline/face/landmarks.h"
#include "pipeline/types.h"

namespace reenact {

class FaceTrack {
 public:
  // Frames of `width` x `height` pixels. `crop_frames`: 1 or more; empty: all.
  FaceTrack(NoFacePolicy policy, int width, int height, std::optional<int> crop_frames);

  // The next frame's landmarks, normalised to the picture. pts increase strictly, in any unit.
  absl::Status Add(const std::optional<Landmarks>& found, int64_t pts);
  // There are no more frames. kInvalidArgument: there was none, or no face in any.
  absl::Status Finish();

  // Takes the landmarks, in units of the crop, of the frames that have been decided since the last
  // call, in order.
  std::vector<Landmarks> Take();

  int64_t num_frames() const { return num_frames_; }
  // Of the frames decided so far that had no face.
  const std::vector<FrameNote>& notes() const { return notes_; }

 private:
  // Decides the frames of `gap_`: between the last frame with a face and `after`.
  void CloseGap(const Landmarks* after, int64_t after_pts);
  void MaybeCrop(bool finished);

  const NoFacePolicy policy_;
  const int width_, height_;
  const std::optional<int> crop_frames_;

  int64_t num_frames_ = 0;
  std::vector<int64_t> gap_;       // pts of the latest frames, which had no face
  std::optional<Landmarks> last_;  // of the last frame that had one
  int64_t last_frame_ = 0, last_pts_ = 0;
  std::deque<Landmarks> filled_;     // in picture units, not yet taken
  std::vector<Landmarks> for_crop_;  // of frames with a face, until the crop is known
  std::optional<CropBox> crop_;
  std::vector<FrameNote> notes_;
};

}  // namespace reenact
