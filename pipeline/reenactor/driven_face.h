// One face of the driving: where it was tracked goes in, frame by frame, and what the source's face
// is to do comes out, in order: frames without the face filled (face_timeline.h), cropped, smoothed
// and put on the source's face (driver_motion.h).
//
// Thread-compatible.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "pipeline/face/crop.h"
#include "pipeline/face/face_timeline.h"
#include "pipeline/face/face_tracker.h"
#include "pipeline/face/landmarks.h"
#include "pipeline/media/video_reader.h"
#include "pipeline/reenactor/driver_motion.h"
#include "pipeline/types.h"

namespace reenact {

class DrivenFace {
 public:
  struct Options {
    NoFacePolicy no_face = NoFacePolicy::kInterpolate;
    // The driver's crop is that of so many first frames, so that frames can be used while others
    // are still to come. Empty: of the whole clip.
    std::optional<int> crop_frames;
    bool live = false;  // kInterpolate then means kHold, and there are no records()
    bool note_cuts = true;
    // Put before messages and notes, such as "driver_face"; empty: nothing.
    std::string name;
  };
  DrivenFace(const Options& options, DriverMotion motion);

  // The next frame; `cut`: it begins a scene. kInvalidArgument: no face, and NoFacePolicy::kFail.
  absl::Status Add(const TrackedFace& face, bool cut, int64_t pts);
  // There are no more. kInvalidArgument: there was no frame, or the face in none.
  absl::Status Finish();

  // Those of the next frames whose landmarks are now certain: none, one, or many at once after a
  // gap; in units of the source's crop. `info`: the driving's size and time base.
  std::vector<Landmarks> Take(const VideoInfo& info);

  int64_t num_frames() const { return timeline_.num_frames(); }
  // Of the frames taken.
  const std::vector<FrameNote>& notes() const { return notes_; }
  const std::vector<FrameFace>& records() const { return records_; }

 private:
  // Settles the crop if enough is known.
  void MaybeCrop(const VideoInfo& info);
  void Note(int64_t frame, const FaceRecord& record);
  absl::Status Named(const absl::Status& status) const;

  const Options options_;
  DriverMotion motion_;
  FaceTimeline timeline_;
  bool finished_ = false;
  std::vector<Landmarks> for_crop_;  // until it is settled
  std::optional<CropBox> crop_;
  std::deque<int64_t> pts_;                  // of frames not taken yet
  std::vector<FaceTimeline::Frame> filled_;  // of the first of those, in units of the picture
  int64_t num_taken_ = 0;
  std::vector<FrameNote> notes_;
  std::vector<FrameFace> records_;
};

}  // namespace reenact
