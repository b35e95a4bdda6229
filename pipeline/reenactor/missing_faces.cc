#include "pipeline/reenactor/missing_faces.h"

#include <cstddef>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace reenact {
namespace {

Landmarks Mix(const Landmarks& a, const Landmarks& b, double weight_of_b) {
  const auto w = static_cast<float>(weight_of_b);
  Landmarks mixed;
  for (size_t i = 0; i < mixed.size(); ++i) {
    mixed[i] = {a[i].x + w * (b[i].x - a[i].x), a[i].y + w * (b[i].y - a[i].y),
                a[i].z + w * (b[i].z - a[i].z)};
  }
  return mixed;
}

}  // namespace

absl::StatusOr<FilledLandmarks> FillMissingFaces(absl::Span<const std::optional<Landmarks>> found,
                                                 absl::Span<const int64_t> pts,
                                                 NoFacePolicy policy) {
  const size_t count = found.size();
  if (count == 0) return absl::InvalidArgumentError("the driving video has no frames");
  size_t first = 0;
  while (first < count && !found[first].has_value()) ++first;
  if (first == count) {
    return absl::InvalidArgumentError(
        absl::StrCat("no face found in any of the ", count, " frames of the driving video"));
  }

  FilledLandmarks filled;
  filled.landmarks.resize(count);
  for (size_t i = 0; i < count; ++i) {
    if (found[i].has_value()) {
      filled.landmarks[i] = *found[i];
      continue;
    }
    if (policy == NoFacePolicy::kFail) {
      return absl::InvalidArgumentError(
          absl::StrCat("no face found in frame ", i, " of the driving video"));
    }
    // The neighbours with a face; `count` means none.
    size_t before = i;
    while (before > 0 && !found[before].has_value()) --before;
    if (!found[before].has_value()) before = count;
    size_t after = i;
    while (after < count && !found[after].has_value()) ++after;

    std::string note;
    if (policy == NoFacePolicy::kInterpolate && before < count && after < count) {
      const double weight =
          static_cast<double>(pts[i] - pts[before]) / static_cast<double>(pts[after] - pts[before]);
      filled.landmarks[i] = Mix(*found[before], *found[after], weight);
      note = absl::StrCat("no face found, landmarks interpolated between frames ", before, " and ",
                          after);
    } else {
      const size_t source = before < count ? before : after;
      filled.landmarks[i] = *found[source];
      note = absl::StrCat("no face found, landmarks of frame ", source, " held");
    }
    filled.notes.push_back({static_cast<int64_t>(i), std::move(note)});
  }
  return filled;
}

}  // namespace reenact
