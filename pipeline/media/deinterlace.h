// One picture at one time out of a frame that weaves two fields of different times. For the .cc
// files of this folder only.
#pragma once

#include "absl/status/statusor.h"
#include "pipeline/media/libav.h"

namespace reenact {

// The field that comes first in time stays as it is, as its time is the frame's. A sample of the
// other field stays where the picture rests (it and the samples above and below equal the frame
// before to within 3 of 255) and where it lies between those two; what sticks out is the comb of
// something that moves, and becomes their mean. So pictures that are only flagged as interlaced
// lose almost nothing. Looks back, never ahead: no frame is held.
//
// Thread-compatible: one thread at a time.
class Deinterlacer {
 public:
  // Frames in order. Returns whether `frame` was interlaced and has been replaced; frames that are
  // not flagged, or whose format has no lines of whole samples (palettes, floats), stay.
  // kResourceExhausted: out of memory.
  absl::StatusOr<bool> Apply(LibavPtr<AVFrame>& frame);

 private:
  LibavPtr<AVFrame> previous_;  // as decoded; null: the frame before was not interlaced
};

}  // namespace reenact
