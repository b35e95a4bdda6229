#include "pipeline/source/source_frames.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"

namespace reenact {

SourceFrames::SourceFrames(std::string bytes, std::vector<double> starts, double duration,
                           const Options& options)
    : bytes_(std::move(bytes)),
      starts_(std::move(starts)),
      duration_(duration),
      options_(options) {}

int SourceFrames::IndexAt(double seconds) const {
  if (!(duration_ > 0) || !(seconds > 0)) return 0;
  double at = std::fmod(seconds, 2 * duration_);
  // Backwards a frame is shown for as long, so its end is where it begins.
  const bool backwards = at >= duration_;
  if (backwards) at = 2 * duration_ - at;
  const auto after = backwards ? std::lower_bound(starts_.begin(), starts_.end(), at)
                               : std::upper_bound(starts_.begin(), starts_.end(), at);
  return std::max(static_cast<int>(after - starts_.begin()) - 1, 0);
}

absl::Status SourceFrames::Restart() {
  num_decoded_before_ = num_decoded();
  if (reader_ != nullptr) bytes_ = reader_->TakeFile();
  reader_.reset();
  auto reader = VideoReader::Open(std::move(bytes_), options_.limits, /*goes_back=*/true);
  if (!reader.ok()) return reader.status();
  reader_ = *std::move(reader);
  next_ = 0;
  return absl::OkStatus();
}

absl::Status SourceFrames::GoTo(int index) {
  if (index == next_) return absl::OkStatus();
  held_.clear();
  if (index < next_) {
    const auto went = reader_->GoBack(index);
    if (!went.ok()) return went.status();
    if (*went) {
      next_ = index;
      return absl::OkStatus();
    }
    if (auto status = Restart(); !status.ok()) return status;
  }
  if (auto status = reader_->Skip(index - next_); !status.ok()) return status;
  next_ = index;
  return absl::OkStatus();
}

int SourceFrames::RunStart(int index, int most) const {
  const int first = std::max(index - most + 1, 0);
  int start = first;
  // The earliest that is easily reached, if any is.
  for (int entry = reader_->EntryFrame(index); entry > first;
       entry = reader_->EntryFrame(entry - 1)) {
    start = entry;
  }
  return reader_->EntryFrame(first) == first ? first : start;
}

absl::Status SourceFrames::ReadOne() {
  auto frame = reader_->Next();
  if (!frame.ok()) return frame.status();
  if (!frame->has_value()) {
    return absl::InternalError(absl::StrCat("the source video ends before frame ", next_));
  }
  if (held_.empty()) first_ = next_;
  held_.push_back(std::move((*frame)->image));
  ++next_;
  return absl::OkStatus();
}

absl::StatusOr<const Image*> SourceFrames::Frame(int index) {
  if (index < 0 || index >= count()) {
    return absl::InternalError(absl::StrCat("the source video has no frame ", index));
  }
  const bool backwards = index < std::exchange(last_asked_, index);
  if (!Holds(index)) {
    if (reader_ == nullptr) {
      if (auto status = Restart(); !status.ok()) return status;
    }
    const VideoInfo& info = reader_->info();
    const int64_t bytes = std::max<int64_t>(int64_t{3} * info.width * info.height, 1);
    const auto most = static_cast<int>(std::clamp<int64_t>(options_.max_bytes / bytes, 1, count()));
    const int first = backwards ? RunStart(index, most) : index;
    if (auto status = GoTo(first); !status.ok()) return status;
    while (next_ <= index) {
      // Those behind are kept for the turn at the end.
      while (static_cast<int>(held_.size()) >= most) {
        held_.pop_front();
        ++first_;
      }
      if (auto status = ReadOne(); !status.ok()) return status;
    }
  }
  return &held_[static_cast<size_t>(index - first_)];
}

}  // namespace reenact
