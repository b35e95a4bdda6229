#include "pipeline/reenactor/driving.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace reenact {

Driving::Driving(const Options& options, std::unique_ptr<FaceLandmarker> landmarker,
                 std::vector<Face> faces)
    : options_(options), landmarker_(std::move(landmarker)), certain_(faces.size()) {
  for (Face& face : faces) {
    choices_.push_back(face.choice);
    DrivenFace::Options how;
    how.no_face = options.no_face;
    how.crop_frames = options.crop_frames;
    how.live = options.live.has_value();
    how.note_cuts = faces_.empty();
    how.name = std::move(face.name);
    faces_.emplace_back(how, std::move(face.motion));
  }
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
  source.faces = choices_;
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
  undecided_.push_back({frame.pts, frame.duration, frame.arrived, {}});
  for (size_t i = 0; i < faces_.size(); ++i) {
    const absl::Status status = faces_[i].Add(frame.tracked.faces[i], frame.tracked.cut, frame.pts);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

void Driving::TakeDecided(std::vector<Frame>* decided) {
  size_t count = undecided_.size();
  for (size_t i = 0; i < faces_.size(); ++i) {
    for (Landmarks& landmarks : faces_[i].Take(info_)) certain_[i].push_back(landmarks);
    count = std::min(count, certain_[i].size());
  }
  for (; count > 0; --count) {
    Frame& frame = decided->emplace_back(std::move(undecided_.front()));
    undecided_.pop_front();
    for (std::deque<Landmarks>& certain : certain_) {
      frame.faces.push_back(certain.front());
      certain.pop_front();
    }
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
    TakeDecided(decided);
    fill_time_ += absl::Now() - start;
    landmark_time_ = source_->landmark_time() + fill_time_;
    return Event::kFrame;
  }
  if (!finished_) return Event::kNeedsInput;
  for (DrivenFace& face : faces_) {
    if (auto status = face.Finish(); !status.ok()) return status;
  }
  TakeDecided(decided);
  notes_ = source_->Notes();
  source_.reset();
  live_ = nullptr;
  return Event::kEnd;
}

}  // namespace reenact
