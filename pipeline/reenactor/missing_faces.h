// What happens to driving frames in which no face was found. A pure function.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "pipeline/face/landmarks.h"
#include "pipeline/types.h"

namespace reenact {

struct FilledLandmarks {
  std::vector<Landmarks> landmarks;  // one per frame
  std::vector<FrameNote> notes;      // one per frame that had none
};

// `found` and `pts` have one entry per frame; pts increase strictly, in any unit.
//  kInterpolate: linear in time between the nearest frames with a face; held at either end.
//  kHold: those of the last frame with a face; of the first one, before it.
//  kFail: kInvalidArgument naming the first frame without a face.
// kInvalidArgument as well if there is no frame, or no face in any.
absl::StatusOr<FilledLandmarks> FillMissingFaces(absl::Span<const std::optional<Landmarks>> found,
                                                 absl::Span<const int64_t> pts,
                                                 NoFacePolicy policy);

}  // namespace reenact
