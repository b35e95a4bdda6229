#include "pipeline/reenactor/face_selection.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "pipeline/media/image_codec.h"

namespace reenact {

absl::StatusOr<FaceChoice> ToFaceChoice(const FaceSelection& selection, absl::string_view field,
                                        FaceLandmarker& landmarker, int max_pixels) {
  FaceChoice choice;
  choice.index = selection.index;
  choice.x = selection.x;
  choice.y = selection.y;
  switch (selection.by) {
    case FaceSelection::By::kLargest:
      choice.by = FaceChoice::By::kLargest;
      break;
    case FaceSelection::By::kIndex:
      choice.by = FaceChoice::By::kIndex;
      break;
    case FaceSelection::By::kPosition:
      choice.by = FaceChoice::By::kPosition;
      break;
    case FaceSelection::By::kReference: {
      choice.by = FaceChoice::By::kReference;
      const auto named = [&](const absl::Status& status) {
        return absl::Status(status.code(),
                            absl::StrCat(field, ".reference_image: ", status.message()));
      };
      ImageLimits limits;
      limits.max_pixels = max_pixels;
      const auto image = DecodeImage(selection.reference_image, limits);
      if (!image.ok()) return named(image.status());
      auto reference = ReferenceOf(landmarker, *image, "the reference image");
      if (!reference.ok()) return named(reference.status());
      choice.reference = *std::move(reference);
      break;
    }
  }
  if (const absl::Status status = CheckFaceChoice(choice); !status.ok()) {
    return absl::Status(status.code(), absl::StrCat(field, ".", status.message()));
  }
  return choice;
}

}  // namespace reenact
