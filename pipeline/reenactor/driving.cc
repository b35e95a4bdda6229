#include "pipeline/reenactor/driving.h"

#include <cstddef>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "pipeline/media/image_codec.h"

namespace reenact {

namespace {

FaceTracker::Options TrackerOptions(const FaceChoice& face) {
  FaceTracker::Options options;
  options.faces = {face};
  return options;
}

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
  landmarker_->Reset();
  tracker_.emplace(TrackerOptions(options.face), *landmarker_);
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
  if (last_pts_.has_value() && frame.pts <= *last_pts_) {
    return absl::InvalidArgumentError(absl::StrCat(
        "driving frame ", num_frames() + static_cast<int64_t>(live_.size()), ": pts is ", frame.pts,
        ", must be above ", *last_pts_, ", that of the frame before"));
  }
  last_pts_ = frame.pts;
  live_.push_back(std::move(frame));
  return absl::OkStatus();
}

absl::Status Driving::Finish() {
  if (finished_) return absl::FailedPreconditionError("the driving media has ended already");
  finished_ = true;
  if (options_.live.has_value() ? !last_pts_.has_value() : bytes_.empty()) {
    return absl::InvalidArgumentError("no driving media was sent");
  }
  return absl::OkStatus();
}

absl::Status Driving::Named(const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat("driving video: ", status.message()));
}

absl::Status Driving::OpenFile() {
  VideoLimits limits;
  limits.max_frames = options_.max_frames;
  limits.max_pixels = options_.max_pixels;
  auto reader = VideoReader::Open(std::move(bytes_), limits);
  bytes_.clear();
  if (!reader.ok()) return Named(reader.status());
  reader_ = *std::move(reader);
  info_ = reader_->info();
  if (!options_.read_audio) return absl::OkStatus();
  auto audio = reader_->ReadAudio();
  if (!audio.ok()) return Named(audio.status());
  if (!audio->note.empty()) notes_.push_back(audio->note);
  if (!audio->empty()) audio_ = *std::move(audio);
  return absl::OkStatus();
}

absl::StatusOr<std::optional<Driving::Picture>> Driving::NextPicture() {
  if (!options_.live.has_value()) {
    if (reader_ == nullptr) {
      if (auto status = OpenFile(); !status.ok()) return status;
    }
    auto frame = reader_->Next();
    if (!frame.ok()) return Named(frame.status());
    if (!frame->has_value()) return std::nullopt;
    return Picture{std::move((*frame)->image), (*frame)->pts, (*frame)->duration, {}};
  }
  if (live_.empty()) return std::nullopt;
  const LiveFrame frame = std::move(live_.front());
  live_.pop_front();
  ImageLimits limits;
  limits.max_pixels = options_.max_pixels;
  auto image = DecodeImage(frame.image, limits);
  if (!image.ok()) {
    return absl::Status(image.status().code(), absl::StrCat("driving frame ", num_frames(), ": ",
                                                            image.status().message()));
  }
  if (num_frames() == 0) {
    info_.width = image->width;
    info_.height = image->height;
    info_.time_base_num = options_.live->time_base_num;
    info_.time_base_den = options_.live->time_base_den;
  } else if (image->width != info_.width || image->height != info_.height) {
    return absl::InvalidArgumentError(
        absl::StrCat("driving frame ", num_frames(), " has ", image->width, "x", image->height,
                     " pixels, must have ", info_.width, "x", info_.height, " like frame 0"));
  }
  return Picture{*std::move(image), frame.pts, 0, frame.arrived};
}

absl::Status Driving::Track(const Picture& picture) {
  const auto tracked = tracker_->Next(picture.image);
  if (!tracked.ok()) {
    return absl::Status(tracked.status().code(), absl::StrCat("driving frame ", num_frames(), ": ",
                                                              tracked.status().message()));
  }
  const TrackedFace& face = tracked->faces[0];
  undecided_.push_back({picture.pts, picture.duration, picture.arrived, {}});
  if (!crop_.has_value() && face.landmarks.has_value()) for_crop_.push_back(*face.landmarks);
  return timeline_.Add(face, tracked->cut, picture.pts);
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
  const absl::Time start = absl::Now();
  auto picture = NextPicture();
  if (!picture.ok()) return picture.status();
  const absl::Time decoded = absl::Now();
  decode_time_ += decoded - start;
  if (picture->has_value()) {
    if (auto status = Track(**picture); !status.ok()) return status;
    MaybeCrop(/*end=*/false);
    TakeDecided(decided);
    landmark_time_ += absl::Now() - decoded;
    return Event::kFrame;
  }
  if (!finished_) return Event::kNeedsInput;
  if (auto status = timeline_.Finish(); !status.ok()) return status;
  MaybeCrop(/*end=*/true);
  TakeDecided(decided);
  if (reader_ != nullptr) {
    for (std::string& note : DescribeReport(reader_->info(), reader_->report(), "driving video")) {
      notes_.push_back(std::move(note));
    }
  }
  reader_.reset();
  tracker_.reset();
  landmarker_.reset();
  return Event::kEnd;
}

}  // namespace reenact
