#include "pipeline/face/face_timeline.h"

#include <optional>

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

std::string FaceRecord::Note() const {
  switch (origin) {
    case FaceOrigin::kFound:
      return "";
    case FaceOrigin::kInterpolated:
      return absl::StrCat("no face found, landmarks interpolated between frames ", from, " and ",
                          to);
    case FaceOrigin::kHeld:
      return absl::StrCat("no face found, landmarks of frame ", from, " held");
  }
  return "";
}

absl::StatusOr<FaceTimeline> FillTimeline(absl::Span<const TrackedFrame> frames, size_t track,
                                          absl::Span<const int64_t> pts, NoFacePolicy policy) {
  const size_t count = frames.size();
  if (count == 0) return absl::InvalidArgumentError("the driving video has no frames");
  const auto found = [&](size_t i) { return frames[i].faces[track].landmarks.has_value(); };

  // Per frame the nearest ones at or before and at or after it with the face, and the scene.
  std::vector<std::optional<size_t>> before(count), after(count);
  std::vector<int> scene(count, 0);
  for (size_t i = 0; i < count; ++i) {
    if (i > 0) {
      before[i] = before[i - 1];
      scene[i] = scene[i - 1] + (frames[i].cut ? 1 : 0);
    }
    if (found(i)) before[i] = i;
  }
  for (size_t i = count; i-- > 0;) {
    if (i + 1 < count) after[i] = after[i + 1];
    if (found(i)) after[i] = i;
  }
  if (!before[count - 1].has_value()) {
    return absl::InvalidArgumentError(
        absl::StrCat("no face found in any of the ", count, " frames of the driving video"));
  }

  FaceTimeline timeline;
  timeline.landmarks.resize(count);
  timeline.records.resize(count);
  for (size_t i = 0; i < count; ++i) {
    FaceRecord& record = timeline.records[i];
    record.cut = i > 0 && frames[i].cut;
    const TrackedFace& face = frames[i].faces[track];
    if (found(i)) {
      timeline.landmarks[i] = *face.landmarks;
      record.from = record.to = static_cast<int64_t>(i);
      record.confidence = face.confidence;
      record.box = face.box;
      record.person = face.person;
      continue;
    }
    if (policy == NoFacePolicy::kFail) {
      return absl::InvalidArgumentError(
          absl::StrCat("no face found in frame ", i, " of the driving video"));
    }
    const auto in_scene = [&](const std::optional<size_t>& other) {
      return other.has_value() && scene[*other] == scene[i];
    };
    const bool has_before = in_scene(before[i]), has_after = in_scene(after[i]);
    if (policy == NoFacePolicy::kInterpolate && has_before && has_after &&
        frames[*before[i]].faces[track].person == frames[*after[i]].faces[track].person) {
      const size_t a = *before[i], b = *after[i];
      const double weight =
          static_cast<double>(pts[i] - pts[a]) / static_cast<double>(pts[b] - pts[a]);
      timeline.landmarks[i] =
          Mix(*frames[a].faces[track].landmarks, *frames[b].faces[track].landmarks, weight);
      record.origin = FaceOrigin::kInterpolated;
      record.from = static_cast<int64_t>(a);
      record.to = static_cast<int64_t>(b);
      record.person = frames[a].faces[track].person;
    } else {
      // Of this scene if there is one, else the past before the future.
      const size_t source = has_before              ? *before[i]
                            : has_after             ? *after[i]
                            : before[i].has_value() ? *before[i]
                                                    : *after[i];
      timeline.landmarks[i] = *frames[source].faces[track].landmarks;
      record.origin = FaceOrigin::kHeld;
      record.from = record.to = static_cast<int64_t>(source);
      record.person = frames[source].faces[track].person;
    }
    record.box = BoxOf(timeline.landmarks[i]);
  }
  return timeline;
}

}  // namespace reenact
