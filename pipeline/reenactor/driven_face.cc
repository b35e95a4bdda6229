#include "pipeline/reenactor/driven_face.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace reenact {
namespace {

FrameFace::Origin ToOrigin(FaceOrigin origin) {
  switch (origin) {
    case FaceOrigin::kFound:
      return FrameFace::Origin::kFound;
    case FaceOrigin::kInterpolated:
      return FrameFace::Origin::kInterpolated;
    case FaceOrigin::kHeld:
      break;
  }
  return FrameFace::Origin::kHeld;
}

}  // namespace

DrivenFace::DrivenFace(const Options& options, DriverMotion motion)
    : options_(options),
      motion_(std::move(motion)),
      timeline_(options.no_face, /*immediate=*/options.live) {}

absl::Status DrivenFace::Named(const absl::Status& status) const {
  if (status.ok() || options_.name.empty()) return status;
  return absl::Status(status.code(), absl::StrCat(options_.name, ": ", status.message()));
}

absl::Status DrivenFace::Add(const TrackedFace& face, bool cut, int64_t pts) {
  pts_.push_back(pts);
  if (!crop_.has_value() && face.landmarks.has_value()) for_crop_.push_back(*face.landmarks);
  return Named(timeline_.Add(face, cut, pts));
}

absl::Status DrivenFace::Finish() {
  finished_ = true;
  return Named(timeline_.Finish());
}

void DrivenFace::MaybeCrop(const VideoInfo& info) {
  if (crop_.has_value() || for_crop_.empty()) return;
  const bool enough =
      options_.crop_frames.has_value() && timeline_.num_frames() >= *options_.crop_frames;
  if (!enough && !finished_) return;
  crop_ = FaceCrop(for_crop_, info.width, info.height);
  for_crop_ = {};
}

void DrivenFace::Note(int64_t frame, const FaceRecord& record) {
  if (record.cut && options_.note_cuts) notes_.push_back({frame, "begins a new scene"});
  if (record.origin != FaceOrigin::kFound) {
    notes_.push_back({frame, options_.name.empty()
                                 ? record.Note()
                                 : absl::StrCat(options_.name, ": ", record.Note())});
  }
  if (options_.live) return;
  records_.push_back({ToOrigin(record.origin), record.confidence, record.person, record.cut});
}

std::vector<Landmarks> DrivenFace::Take(const VideoInfo& info) {
  for (const FaceTimeline::Frame& frame : timeline_.Take()) filled_.push_back(frame);
  MaybeCrop(info);
  if (!crop_.has_value()) return {};
  std::vector<DriverMotion::Frame> frames;
  for (const FaceTimeline::Frame& frame : filled_) {
    Note(num_taken_++, frame.record);
    const double seconds =
        static_cast<double>(pts_.front()) * info.time_base_num / info.time_base_den;
    frames.push_back(
        {ToCrop(frame.landmarks, *crop_, info.width, info.height), seconds, frame.record.cut});
    pts_.pop_front();
  }
  filled_.clear();
  // All there is: without crop_frames the crop is settled at the end.
  if (!options_.crop_frames.has_value()) return motion_.Clip(frames);
  std::vector<Landmarks> moved;
  moved.reserve(frames.size());
  for (const DriverMotion::Frame& frame : frames) moved.push_back(motion_.Next(frame));
  return moved;
}

}  // namespace reenact
