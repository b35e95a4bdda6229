// Which of several faces is meant.
//
// Pure functions but for FindFaces(), which uses the landmarker it is given.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "pipeline/face/face_landmarker.h"
#include "pipeline/face/face_signature.h"
#include "pipeline/face/roi.h"
#include "pipeline/image.h"

namespace reenact {

struct FaceChoice {
  enum class By {
    kLargest,    // the tallest box
    kIndex,      // the index-th from the left, 0 is the first
    kPosition,   // the one nearest to a place
    kReference,  // the one most like a reference face
  };
  By by = By::kLargest;
  int index = 0;            // kIndex: 0 to 63
  double x = 0.5, y = 0.5;  // kPosition, in units of the picture: 0 to 1
  // kReference: see ReferenceOf(). Nobody is chosen who is less like it than kSamePerson.
  std::optional<FaceSignature> reference = std::nullopt;
};

// Likeness() from which two faces count as one person's.
inline constexpr double kSamePerson = 0.5;

// kInvalidArgument naming the field, its value and its range.
absl::Status CheckFaceChoice(const FaceChoice& choice);

// A face in a picture.
struct FoundFace {
  FaceLandmarker::Result result;
  Box box;        // of the landmarks, in units of the picture
  int index = 0;  // from the left, by the middle of the box
  // None: the landmarks are too odd to be compared.
  std::optional<FaceSignature> signature;
};

// All faces of a picture, from left to right; `depth` as in FaceLandmarker::Search().
absl::StatusOr<std::vector<FoundFace>> FindFaces(FaceLandmarker& landmarker, const Image& image,
                                                 int depth, int max_faces);

// The position in `faces` (of FindFaces()) of the chosen one. No value: none fits.
std::optional<size_t> ChooseFace(absl::Span<const FoundFace> faces, const FaceChoice& choice,
                                 int width, int height);

// One face per choice, none twice. Those by reference choose first, in order of likeness, then
// those by index, by position and by size.
std::vector<std::optional<size_t>> ChooseFaces(absl::Span<const FoundFace> faces,
                                               absl::Span<const FaceChoice> choices, int width,
                                               int height);

// The signature of the largest face of a picture. `what` names it in messages.
// kFailedPrecondition: there is no face.
absl::StatusOr<FaceSignature> ReferenceOf(FaceLandmarker& landmarker, const Image& image,
                                          absl::string_view what);

// What to tell a user whose picture has several faces, such as "5 faces in the source image: took
// the largest, the 3rd from the left"; empty if it has one.
std::string ChoiceNote(absl::string_view what, size_t num_faces, const FaceChoice& choice,
                       size_t chosen);

}  // namespace reenact
