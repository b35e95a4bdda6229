#include "pipeline/reenactor/clip_frames.h"

#include <utility>

namespace reenact {

void ClipFrames::Append(Driving::Frame frame) {
  if (const auto before = frames_.find(count_ - 1);
      before != frames_.end() && before->second.frame.duration == 0) {
    last_duration_ = before->second.frame.duration = frame.pts - before->second.frame.pts;
  }
  frames_.emplace(count_++, Record{.frame = std::move(frame)});
}

void ClipFrames::Finish(int64_t single_duration) {
  const auto last = frames_.find(count_ - 1);
  if (last == frames_.end() || last->second.frame.duration > 0) return;
  last->second.frame.duration = last_duration_ > 0 ? last_duration_ : single_duration;
}

std::optional<ClipFrames::Times> ClipFrames::times(int frame) const {
  const auto found = frames_.find(frame);
  if (found == frames_.end() || found->second.frame.duration == 0) return std::nullopt;
  const Driving::Frame& times = found->second.frame;
  return Times{times.pts, times.duration, times.arrived, found->second.skipped};
}

int ClipFrames::NextShown(int frame) const {
  for (auto it = frames_.lower_bound(frame); it != frames_.end() && it->second.skipped; ++it) {
    frame = it->first + 1;
  }
  return frame;
}

std::vector<Landmarks> ClipFrames::landmarks(absl::Span<const int64_t> frames) const {
  std::vector<Landmarks> landmarks;
  landmarks.reserve(frames.size());
  for (const int64_t frame : frames) {
    landmarks.push_back(frames_.at(static_cast<int>(frame)).frame.landmarks);
  }
  return landmarks;
}

}  // namespace reenact
