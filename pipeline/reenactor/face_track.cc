#include "pipeline/reenactor/face_track.h"

#include <cstddef>
#include <utility>

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

FaceTrack::FaceTrack(NoFacePolicy policy, int width, int height, std::optional<int> crop_frames)
    : policy_(policy), width_(width), height_(height), crop_frames_(crop_frames) {}

absl::Status FaceTrack::Add(const std::optional<Landmarks>& found, int64_t pts) {
  const int64_t frame = num_frames_++;
  if (!found.has_value()) {
    if (policy_ == NoFacePolicy::kFail) {
      return absl::InvalidArgumentError(
          absl::StrCat("no face found in frame ", frame, " of the driving video"));
    }
    gap_.push_back(pts);
    if (policy_ == NoFacePolicy::kHold && last_.has_value()) CloseGap(nullptr, 0);
  } else {
    if (!gap_.empty()) CloseGap(&*found, pts);
    last_ = found;
    last_frame_ = frame;
    last_pts_ = pts;
    filled_.push_back(*found);
    if (!crop_.has_value()) for_crop_.push_back(*found);
  }
  MaybeCrop(/*finished=*/false);
  return absl::OkStatus();
}

absl::Status FaceTrack::Finish() {
  if (num_frames_ == 0) return absl::InvalidArgumentError("the driving video has no frames");
  if (!last_.has_value()) {
    return absl::InvalidArgumentError(
        absl::StrCat("no face found in any of the ", num_frames_, " frames of the driving video"));
  }
  CloseGap(nullptr, 0);
  MaybeCrop(/*finished=*/true);
  return absl::OkStatus();
}

void FaceTrack::CloseGap(const Landmarks* after, int64_t after_pts) {
  const int64_t next = num_frames_ - (after == nullptr ? 0 : 1);
  const int64_t first = next - static_cast<int64_t>(gap_.size());
  for (size_t i = 0; i < gap_.size(); ++i) {
    std::string note = "no face found, landmarks ";
    if (last_.has_value() && after != nullptr && policy_ == NoFacePolicy::kInterpolate) {
      const double weight =
          static_cast<double>(gap_[i] - last_pts_) / static_cast<double>(after_pts - last_pts_);
      filled_.push_back(Mix(*last_, *after, weight));
      absl::StrAppend(&note, "interpolated between frames ", last_frame_, " and ", next);
    } else {
      filled_.push_back(last_.has_value() ? *last_ : *after);
      absl::StrAppend(&note, "of frame ", last_.has_value() ? last_frame_ : next, " held");
    }
    notes_.push_back({first + static_cast<int64_t>(i), std::move(note)});
  }
  gap_.clear();
}

void FaceTrack::MaybeCrop(bool finished) {
  if (crop_.has_value() || for_crop_.empty()) return;
  if (!finished && (!crop_frames_.has_value() || num_frames_ < *crop_frames_)) return;
  crop_ = FaceCrop(for_crop_, width_, height_);
  for_crop_ = {};
}

std::vector<Landmarks> FaceTrack::Take() {
  std::vector<Landmarks> taken;
  if (!crop_.has_value()) return taken;
  taken.reserve(filled_.size());
  for (const Landmarks& landmarks : filled_) {
    taken.push_back(ToCrop(landmarks, *crop_, width_, height_));
  }
  filled_.clear();
  return taken;
}

}  // namespace reenact
