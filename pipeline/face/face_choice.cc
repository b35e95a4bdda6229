#include "pipeline/face/face_choice.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>

#include "absl/strings/str_cat.h"

namespace reenact {
namespace {

constexpr int kMaxIndex = 63;
// For a single picture, where time is no matter.
constexpr int kThorough = 2;
constexpr int kManyFaces = 64;

absl::Status OutOfRange(absl::string_view field, double value, int min, int max) {
  return absl::InvalidArgumentError(
      absl::StrCat(field, " must be ", min, "..", max, ", is ", value));
}

double HeightOf(const Box& box) { return double{box.bottom} - box.top; }

// How well a face fits; higher is better. No value: not at all.
std::optional<double> Fit(const FoundFace& face, const FaceChoice& choice, int width, int height) {
  switch (choice.by) {
    case FaceChoice::By::kLargest:
      return HeightOf(face.box);
    case FaceChoice::By::kIndex:
      if (face.index != choice.index) return std::nullopt;
      return 1;
    case FaceChoice::By::kPosition: {
      // In pixels, so that both directions count alike; inside the box nothing is nearer.
      const double x = (double{face.box.left} + face.box.right) / 2 - choice.x;
      const double y = (double{face.box.top} + face.box.bottom) / 2 - choice.y;
      return -std::hypot(x * width, y * height);
    }
    case FaceChoice::By::kReference: {
      if (!face.signature.has_value() || !choice.reference.has_value()) return std::nullopt;
      const double likeness = Likeness(*face.signature, *choice.reference);
      if (likeness < kSamePerson) return std::nullopt;
      return likeness;
    }
  }
  return std::nullopt;
}

std::string Ordinal(int number) {
  const int last = number % 10;
  const bool teen = number % 100 / 10 == 1;
  const char* suffix = teen || last == 0 || last > 3 ? "th"
                       : last == 1                   ? "st"
                       : last == 2                   ? "nd"
                                                     : "rd";
  return absl::StrCat(number, suffix);
}

}  // namespace

absl::Status CheckFaceChoice(const FaceChoice& choice) {
  switch (choice.by) {
    case FaceChoice::By::kLargest:
      return absl::OkStatus();
    case FaceChoice::By::kIndex:
      if (choice.index < 0 || choice.index > kMaxIndex) {
        return OutOfRange("index", choice.index, 0, kMaxIndex);
      }
      return absl::OkStatus();
    case FaceChoice::By::kPosition:
      if (!(choice.x >= 0 && choice.x <= 1)) return OutOfRange("x", choice.x, 0, 1);
      if (!(choice.y >= 0 && choice.y <= 1)) return OutOfRange("y", choice.y, 0, 1);
      return absl::OkStatus();
    case FaceChoice::By::kReference:
      if (!choice.reference.has_value()) {
        return absl::InvalidArgumentError("a face is to be chosen by reference, but there is none");
      }
      return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "by must be largest, index, position or reference, is ", static_cast<int>(choice.by)));
}

absl::StatusOr<std::vector<FoundFace>> FindFaces(FaceLandmarker& landmarker, const Image& image,
                                                 int depth, int max_faces) {
  auto results = landmarker.Search(image, depth, max_faces);
  if (!results.ok()) return results.status();
  std::vector<FoundFace> faces;
  for (FaceLandmarker::Result& result : *results) {
    FoundFace face;
    face.result = std::move(result);
    face.box = BoxOf(face.result.landmarks);
    face.signature = SignFace(image, face.result.landmarks);
    faces.push_back(std::move(face));
  }
  std::stable_sort(faces.begin(), faces.end(), [](const FoundFace& a, const FoundFace& b) {
    return a.box.left + a.box.right < b.box.left + b.box.right;
  });
  for (size_t i = 0; i < faces.size(); ++i) faces[i].index = static_cast<int>(i);
  return faces;
}

std::optional<size_t> ChooseFace(absl::Span<const FoundFace> faces, const FaceChoice& choice,
                                 int width, int height) {
  return ChooseFaces(faces, {&choice, 1}, width, height)[0];
}

std::vector<std::optional<size_t>> ChooseFaces(absl::Span<const FoundFace> faces,
                                               absl::Span<const FaceChoice> choices, int width,
                                               int height) {
  std::vector<std::optional<size_t>> chosen(choices.size());
  std::vector<bool> taken(faces.size(), false);
  for (const FaceChoice::By by : {FaceChoice::By::kReference, FaceChoice::By::kIndex,
                                  FaceChoice::By::kPosition, FaceChoice::By::kLargest}) {
    // The best pair of choice and face first, so that of two choices with one favourite the one
    // that likes it better has it.
    while (true) {
      std::optional<double> best;
      size_t best_choice = 0, best_face = 0;
      for (size_t c = 0; c < choices.size(); ++c) {
        if (choices[c].by != by || chosen[c].has_value()) continue;
        for (size_t f = 0; f < faces.size(); ++f) {
          if (taken[f]) continue;
          const std::optional<double> fit = Fit(faces[f], choices[c], width, height);
          if (fit.has_value() && (!best.has_value() || *fit > *best)) {
            best = fit, best_choice = c, best_face = f;
          }
        }
      }
      if (!best.has_value()) break;
      chosen[best_choice] = best_face;
      taken[best_face] = true;
    }
  }
  return chosen;
}

absl::StatusOr<FaceSignature> ReferenceOf(FaceLandmarker& landmarker, const Image& image,
                                          absl::string_view what) {
  auto faces = FindFaces(landmarker, image, kThorough, kManyFaces);
  if (!faces.ok()) return faces.status();
  const auto largest = ChooseFace(*faces, {}, image.width, image.height);
  if (!largest.has_value() || !(*faces)[*largest].signature.has_value()) {
    return absl::FailedPreconditionError(absl::StrCat("no face found in ", what));
  }
  return *(*faces)[*largest].signature;
}

std::string ChoiceNote(absl::string_view what, size_t num_faces, const FaceChoice& choice,
                       size_t chosen) {
  if (num_faces < 2) return "";
  absl::string_view how;
  switch (choice.by) {
    case FaceChoice::By::kLargest:
      how = "the largest";
      break;
    case FaceChoice::By::kIndex:
      how = "by index";
      break;
    case FaceChoice::By::kPosition:
      how = "the nearest to the position given";
      break;
    case FaceChoice::By::kReference:
      how = "the most like the reference";
      break;
  }
  return absl::StrCat(num_faces, " faces in ", what, ": took ", how, ", the ",
                      Ordinal(static_cast<int>(chosen) + 1), " from the left");
}

}  // namespace reenact
