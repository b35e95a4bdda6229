// A request's choice of a face, made ready for those who look for faces.
#pragma once

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "pipeline/face/face_choice.h"
#include "pipeline/face/face_landmarker.h"
#include "pipeline/types.h"

namespace reenact {

// `field` names the selection in messages; `max_pixels` is the limit of a reference image.
// kInvalidArgument: a value is out of range, or the reference is not an image;
// kFailedPrecondition: it shows no face.
absl::StatusOr<FaceChoice> ToFaceChoice(const FaceSelection& selection, absl::string_view field,
                                        FaceLandmarker& landmarker, int max_pixels);

}  // namespace reenact
