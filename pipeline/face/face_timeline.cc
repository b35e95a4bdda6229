#include "pipeline/face/face_timeline.h"

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

absl::Status FaceTimeline::Add(const TrackedFace& face, bool cut, int64_t pts) {
  const int64_t frame = num_frames_++;
  cut = cut && frame > 0;
  if (cut) {
    // What the scene before lacks, the past gives; if it had no face either, the future will.
    if (last_.has_value()) CloseGap(nullptr);
    last_in_scene_ = false;
  }
  if (!face.landmarks.has_value()) {
    if (policy_ == NoFacePolicy::kFail) {
      return absl::InvalidArgumentError(
          absl::StrCat("no face found in frame ", frame, " of the driving video"));
    }
    gap_.push_back({pts, cut});
    if (immediate_ && last_.has_value()) CloseGap(nullptr);
    return absl::OkStatus();
  }
  const Found found = {frame, pts, face.person, *face.landmarks};
  CloseGap(&found);
  FaceRecord record;
  record.from = record.to = frame;
  record.cut = cut;
  record.confidence = face.confidence;
  record.box = face.box;
  record.person = face.person;
  filled_.push_back({found.landmarks, record});
  last_ = found;
  last_in_scene_ = true;
  return absl::OkStatus();
}

absl::Status FaceTimeline::Finish() {
  if (num_frames_ == 0) return absl::InvalidArgumentError("the driving video has no frames");
  if (!last_.has_value()) {
    return absl::InvalidArgumentError(
        absl::StrCat("no face found in any of the ", num_frames_, " frames of the driving video"));
  }
  CloseGap(nullptr);
  return absl::OkStatus();
}

void FaceTimeline::CloseGap(const Found* after) {
  for (const Missing& missing : gap_) {
    Frame frame;
    FaceRecord& record = frame.record;
    record.cut = missing.cut;
    if (policy_ == NoFacePolicy::kInterpolate && last_in_scene_ && after != nullptr &&
        last_->person == after->person) {
      const double weight = static_cast<double>(missing.pts - last_->pts) /
                            static_cast<double>(after->pts - last_->pts);
      frame.landmarks = Mix(last_->landmarks, after->landmarks, weight);
      record.origin = FaceOrigin::kInterpolated;
      record.from = last_->frame;
      record.to = after->frame;
      record.person = last_->person;
    } else {
      // Of this scene if there is one, else the past before the future.
      const Found& source = last_in_scene_ || after == nullptr ? *last_ : *after;
      frame.landmarks = source.landmarks;
      record.origin = FaceOrigin::kHeld;
      record.from = record.to = source.frame;
      record.person = source.person;
    }
    record.box = BoxOf(frame.landmarks);
    filled_.push_back(frame);
  }
  gap_.clear();
}

}  // namespace reenact
