#include "pipeline/reenactor/clip_frames.h"

#include <utility>

namespace reenact {

void ClipFrames::Append(Driving::Frame frame) {
  absl::MutexLock lock(&mu_);
  if (count_ == 0) {
    first_pts_ = frame.pts;
    first_arrived_ = frame.arrived;
  }
  if (const auto before = frames_.find(count_ - 1);
      before != frames_.end() && before->second.frame.duration == 0) {
    last_duration_ = before->second.frame.duration = frame.pts - before->second.frame.pts;
  }
  frames_.emplace(count_++, Record{.frame = std::move(frame)});
}

void ClipFrames::Finish(int64_t single_duration) {
  absl::MutexLock lock(&mu_);
  const auto last = frames_.find(count_ - 1);
  if (last == frames_.end() || last->second.frame.duration > 0) return;
  last->second.frame.duration = last_duration_ > 0 ? last_duration_ : single_duration;
}

std::optional<ClipFrames::Times> ClipFrames::times(int frame, bool needs_duration) const {
  absl::MutexLock lock(&mu_);
  const auto found = frames_.find(frame);
  if (found == frames_.end()) return std::nullopt;
  if (needs_duration && found->second.frame.duration == 0) return std::nullopt;
  const Driving::Frame& times = found->second.frame;
  return Times{times.pts, times.duration, times.arrived, found->second.skipped};
}

int ClipFrames::NextShown(int frame) const {
  absl::MutexLock lock(&mu_);
  for (auto it = frames_.lower_bound(frame); it != frames_.end() && it->second.skipped; ++it) {
    frame = it->first + 1;
  }
  return frame;
}

std::vector<Landmarks> ClipFrames::landmarks(size_t face, absl::Span<const int64_t> frames) const {
  std::vector<Landmarks> landmarks;
  landmarks.reserve(frames.size());
  absl::MutexLock lock(&mu_);
  for (const int64_t frame : frames) {
    landmarks.push_back(frames_.at(static_cast<int>(frame)).frame.faces[face]);
  }
  return landmarks;
}

void ClipFrames::Complete() {
  absl::MutexLock lock(&mu_);
  complete_ = true;
}

bool ClipFrames::complete() const {
  absl::MutexLock lock(&mu_);
  return complete_;
}

void ClipFrames::Skip(int frame) {
  absl::MutexLock lock(&mu_);
  frames_.at(frame).skipped = true;
}

void ClipFrames::Forget(int frame) {
  absl::MutexLock lock(&mu_);
  frames_.erase(frame);
}

int ClipFrames::count() const {
  absl::MutexLock lock(&mu_);
  return count_;
}

int64_t ClipFrames::first_pts() const {
  absl::MutexLock lock(&mu_);
  return first_pts_;
}

absl::Time ClipFrames::first_arrived() const {
  absl::MutexLock lock(&mu_);
  return first_arrived_;
}

}  // namespace reenact
