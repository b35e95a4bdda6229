// The frames of a job's clip on their way from preparation, which appends them, through denoising,
// which asks for landmarks, to rendering, which asks for times and forgets what it has shown.
//
// Thread-compatible: guarded by its job.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "pipeline/face/landmarks.h"
#include "pipeline/reenactor/driving.h"

namespace reenact {

class ClipFrames {
 public:
  // The next frame; its pts ends the one before if that has no duration.
  void Append(Driving::Frame frame);
  // There are no more. A last frame without a duration lasts as long as the one before, or, alone,
  // `single_duration`.
  void Finish(int64_t single_duration);
  // The frame will not be generated: the one before is shown in its stead.
  void Skip(int frame) { frames_.at(frame).skipped = true; }

  int count() const { return count_; }

  struct Times {
    int64_t pts = 0;
    int64_t duration = 0;
    absl::Time arrived;
    bool skipped = false;
  };
  // None: the frame is not there, or its duration is not known yet.
  std::optional<Times> times(int frame) const;
  // The first frame from `frame` on that is not skipped.
  int NextShown(int frame) const;
  // In the order of `frames`, which are there.
  std::vector<Landmarks> landmarks(absl::Span<const int64_t> frames) const;
  // The frame has been shown and no row will ask for it.
  void Forget(int frame) { frames_.erase(frame); }

 private:
  struct Record {
    Driving::Frame frame;
    bool skipped = false;
  };
  std::map<int, Record> frames_;
  int count_ = 0;
  int64_t last_duration_ = 0;
};

}  // namespace reenact
