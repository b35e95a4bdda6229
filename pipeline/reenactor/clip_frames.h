// The frames of a job's clip on their way from preparation, which appends them, through denoising,
// which asks for landmarks, to rendering, which asks for times and forgets what it has shown.
//
// Thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "pipeline/face/landmarks.h"
#include "pipeline/reenactor/driving.h"

namespace reenact {

class ClipFrames {
 public:
  // The next frame; its pts ends the one before if that has no duration.
  void Append(Driving::Frame frame) ABSL_LOCKS_EXCLUDED(mu_);
  // There are no more. A last frame without a duration lasts as long as the one before, or, alone,
  // `single_duration`.
  void Finish(int64_t single_duration) ABSL_LOCKS_EXCLUDED(mu_);
  // Finish() has been called and whoever appended has nothing left to do.
  void Complete() ABSL_LOCKS_EXCLUDED(mu_);
  // The frame will not be generated: the one before is shown in its stead.
  void Skip(int frame) ABSL_LOCKS_EXCLUDED(mu_);

  int count() const ABSL_LOCKS_EXCLUDED(mu_);
  bool complete() const ABSL_LOCKS_EXCLUDED(mu_);

  struct Times {
    int64_t pts = 0;
    int64_t duration = 0;  // 0: not known yet
    absl::Time arrived;
    bool skipped = false;
  };
  // None: the frame is not there, or its duration is not known yet and must be.
  std::optional<Times> times(int frame, bool needs_duration) const ABSL_LOCKS_EXCLUDED(mu_);
  // The first frame from `frame` on that is not skipped.
  int NextShown(int frame) const ABSL_LOCKS_EXCLUDED(mu_);
  // Those of one of the job's faces, in the order of `frames`, which are there.
  std::vector<Landmarks> landmarks(size_t face, absl::Span<const int64_t> frames) const
      ABSL_LOCKS_EXCLUDED(mu_);
  // The frame has been shown and no row will ask for it.
  void Forget(int frame) ABSL_LOCKS_EXCLUDED(mu_);

  // Of frame 0, which is there.
  int64_t first_pts() const ABSL_LOCKS_EXCLUDED(mu_);
  absl::Time first_arrived() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct Record {
    Driving::Frame frame;
    bool skipped = false;
  };
  mutable absl::Mutex mu_;
  std::map<int, Record> frames_ ABSL_GUARDED_BY(mu_);
  int count_ ABSL_GUARDED_BY(mu_) = 0;
  bool complete_ ABSL_GUARDED_BY(mu_) = false;
  int64_t last_duration_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t first_pts_ ABSL_GUARDED_BY(mu_) = 0;
  absl::Time first_arrived_ ABSL_GUARDED_BY(mu_);
};

}  // namespace reenact
