#include "pipeline/reenactor/driving.h"

#include <cstddef>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

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

Driving::Driving(const Options& options, std::unique_ptr<FaceLandmarker> landmarker,
                 DriverMotion motion)
    : options_(options),
      landmarker_(std::move(landmarker)),
      motion_(std::move(motion)),
      timeline_(options.no_face, /*immediate=*/options.live.has_value()) {
  if (!options.live.has_value()) return;
  auto live =
      std::make_unique<LiveFaceSource>(SourceOptions(), *options.live, std::move(landmarker_));
  live_ = live.get();
  source_ = std::move(live);
}

FaceSourceOptions Driving::SourceOptions() const {
  FaceSourceOptions source;
  source.max_frames = options_.max_frames;
  source.max_pixels = options_.max_pixels;
  source.faces = {options_.face};
  source.read_audio = options_.read_audio;
  return source;
}

absl::Status Driving::AddBytes(std::string_view bytes) {
  if (finished_) return absl::FailedPreconditionError("the driving media has ended already");
  if (options_.live.has_value()) {
    return absl::InvalidArgumentError("live driving takes frames, not a file");
  }
  const auto limit = static_cast<size_t>(options_.max_bytes);
  if (bytes.size() > limit || bytes_.size() > limit - bytes.size()) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the driving media is larger than ", limit, " bytes"));
  }
  bytes_.append(bytes);
  return absl::OkStatus();
}

absl::Status Driving::AddFrame(LiveFrame frame) {
  if (finished_) return absl::FailedPreconditionError("the driving media has ended already");
  if (!options_.live.has_value()) {
    return absl::InvalidArgumentError("driving that is not live is a file, not frames");
  }
  return live_->Add(std::move(frame));
}

absl::Status Driving::Finish() {
  if (finished_) return absl::FailedPreconditionError("the driving media has ended already");
  finished_ = true;
  if (options_.live.has_value() ? !live_->any() : bytes_.empty()) {
    return absl::InvalidArgumentError("no driving media was sent");
  }
  return absl::OkStatus();
}

absl::Status Driving::Open() {
  auto source = OpenFaceSource(std::exchange(bytes_, {}), SourceOptions(), std::move(landmarker_));
  if (!source.ok()) return source.status();
  source_ = *std::move(source);
  audio_ = source_->TakeAudio();
  return absl::OkStatus();
}

absl::Status Driving::Take(const FaceSource::Frame& frame) {
  const TrackedFace& face = frame.tracked.faces[0];
  undecided_.push_back({frame.pts, frame.duration, frame.arrived, {}});
  if (!crop_.has_value() && face.landmarks.has_value()) for_crop_.push_back(*face.landmarks);
  return timeline_.Add(face, frame.tracked.cut, frame.pts);
}

void Driving::MaybeCrop(bool end) {
  if (crop_.has_value() || for_crop_.empty()) return;
  if (!end && (!options_.crop_frames.has_value() || num_frames() < *options_.crop_frames)) return;
  crop_ = FaceCrop(for_crop_, info_.width, info_.height);
  for_crop_ = {};
}

void Driving::NoteFace(int64_t frame, const FaceRecord& record) {
  if (record.cut) frame_notes_.push_back({frame, "begins a new scene"});
  if (record.origin != FaceOrigin::kFound) frame_notes_.push_back({frame, record.Note()});
  if (options_.live.has_value()) return;
  frame_faces_.push_back({ToOrigin(record.origin), record.confidence, record.person, record.cut});
}

double Driving::Seconds(int64_t pts) const {
  return static_cast<double>(pts) * info_.time_base_num / info_.time_base_den;
}

void Driving::TakeDecided(std::vector<Frame>* decided) {
  for (const FaceTimeline::Frame& frame : timeline_.Take()) filled_.push_back(frame);
  if (!crop_.has_value()) return;
  std::vector<DriverMotion::Frame> frames;
  for (size_t i = 0; i < filled_.size(); ++i) {
    NoteFace(num_decided_++, filled_[i].record);
    frames.push_back({ToCrop(filled_[i].landmarks, *crop_, info_.width, info_.height),
                      Seconds(undecided_[i].pts), filled_[i].record.cut});
  }
  filled_.clear();
  std::vector<Landmarks> moved;
  if (options_.crop_frames.has_value()) {
    for (const DriverMotion::Frame& frame : frames) moved.push_back(motion_.Next(frame));
  } else {
    moved = motion_.Clip(frames);  // all there is: the crop is settled at the end
  }
  for (const Landmarks& landmarks : moved) {
    decided->push_back(undecided_.front());
    decided->back().landmarks = landmarks;
    undecided_.pop_front();
  }
}

absl::StatusOr<Driving::Event> Driving::ReadFrame(std::vector<Frame>* decided) {
  if (!options_.live.has_value() && !finished_) return Event::kNeedsInput;
  if (source_ == nullptr) {
    if (auto status = Open(); !status.ok()) return status;
  }
  auto frame = source_->Next();
  if (!frame.ok()) return frame.status();
  if (info_.width == 0) info_ = source_->info();
  decode_time_ = source_->decode_time();
  const absl::Time start = absl::Now();
  if (frame->has_value()) {
    if (auto status = Take(**frame); !status.ok()) return status;
    MaybeCrop(/*end=*/false);
    TakeDecided(decided);
    fill_time_ += absl::Now() - start;
    landmark_time_ = source_->landmark_time() + fill_time_;
    return Event::kFrame;
  }
  if (!finished_) return Event::kNeedsInput;
  if (auto status = timeline_.Finish(); !status.ok()) return status;
  MaybeCrop(/*end=*/true);
  TakeDecided(decided);
  notes_ = source_->Notes();
  source_.reset();
  live_ = nullptr;
  return Event::kEnd;
}

}  // namespace reenact
